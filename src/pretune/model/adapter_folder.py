"""Adapter folders: the corrections of a model (LoRA) without the model, in PEFT's format, and back into a model.

PEFT reads `adapter_config.json` and `adapter_model.safetensors`. The manifest has the hash of the base's weights, since
the corrections are meaningless for any other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError, UsageError
from pretune.model.added_tokens import with_added_tokens
from pretune.model.base_folder import CORRECTED_NAME, corrected_folder, tokenizer_folder_of
from pretune.model.config import ModelConfig
from pretune.model.folder import LoadedModel, load_model_folder
from pretune.model.lora import TARGETS, LoraConfig, add_lora, lora_layers, merged
from pretune.model.transformer import LanguageModel
from pretune.model.weights import ADAPTER_CONFIG_NAME, ADAPTER_WEIGHTS_NAME
from pretune.runtime.atomic import commit_folder, verify_folder, write_json
from pretune.runtime.json_text import parse_json
from pretune.text.tokenizer.tokenizer import copy_tokenizer

_PREFIX = "base_model.model."
_MODULES = {
    name: f"{'mlp' if name in ('gate_proj', 'up_proj', 'down_proj') else 'self_attn'}.{name}" for name in TARGETS
}
_ROWS = "token_adapter.trainable_tokens_delta"  # despite its name: the rows themselves, not their changes
_OF_EMBEDDING, _OF_HEAD = f"{_PREFIX}model.embed_tokens.", f"{_PREFIX}lm_head."
_EMBEDDING, _HEAD = f"{_OF_EMBEDDING}{_ROWS}", f"{_OF_HEAD}{_ROWS}"
_NOT_LORA = (
    "use_dora", "use_rslora", "use_qalora", "use_bdlora", "modules_to_save", "rank_pattern", "alpha_pattern",
    "layers_to_transform", "layer_replication", "lora_bias", "target_parameters", "alora_invocation_tokens",
    "arrow_config", "kasa_config",
)  # fmt: skip
# Of other values of init_lora_weights, such as pissa, PEFT changes the base as well.
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "mica", "orthogonal")


def hash_weights(model: LanguageModel) -> str:
    """The sha256 of all weights and their names: the same for a copy in another folder or file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_adapter_folder(
    folder: Path,
    model: LanguageModel,
    tokenizer_folder: Path,
    config: LoraConfig,
    *,
    base: Path,
    base_hash: str,
    added: Sequence[int] = (),
) -> None:
    """Commit the corrections of a model, and its rows for the tokens that were `added` to its base.

    `base` is the model folder that was corrected, and `base_hash` the hash of its weights.
    """
    untied = not model.config.tie_word_embeddings
    rows: Any = {"embed_tokens": list(added), "lm_head": list(added)} if untied else list(added)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        CORRECTED_NAME: str(base),
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(config.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "trainable_token_indices": rows if added else None,
    }

    def write(partial: Path) -> None:
        save_file(_to_peft(model, added), partial / ADAPTER_WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(partial / ADAPTER_CONFIG_NAME, fields)
        copy_tokenizer(tokenizer_folder, partial)

    commit_folder(folder, write, base={"path": str(base), "weights_sha256": base_hash})


def load_adapter_folder(folder: Path) -> LoadedModel:
    """The base that an adapter folder names, with the corrections added to its weights.

    Raises ModelNotFoundError if that base is not there, ModelError if it is another one than was corrected or if the
    adapter is of a kind that is not supported, CorruptModelError for a damaged file.
    """
    folder = Path(folder)
    fields = _read_fields(folder)
    base = corrected_folder(folder)
    if base is None:
        named = fields.get(CORRECTED_NAME) or "no model"
        raise ModelNotFoundError(
            f"{folder} is an adapter for {named}, which does not exist; restore that model (if it is in the cache, "
            "give its GGUF file to any command, which converts it again), or write its present place as "
            f"{CORRECTED_NAME} into {folder / ADAPTER_CONFIG_NAME}."
        )
    loaded = load_model_folder(base)
    if not isinstance(loaded.model, LanguageModel):
        raise ModelError(f"{folder} is an adapter for {base}, which is no language model of the shape of Llama.")
    model = apply_adapter(folder, loaded.model)
    return LoadedModel(
        path=folder,
        model=model,
        config=model.config,
        labelling=None,
        tokenizer_path=tokenizer_folder_of(folder) or loaded.tokenizer_path,
    )


def apply_adapter(folder: Path, base: LanguageModel) -> LanguageModel:
    """A base with the corrections of an adapter folder added to its weights.

    Raises ModelError if the adapter was made for another base, CorruptModelError if a file is damaged.
    """
    # Who moves the base writes its new place into that file; which model it must be is in the manifest.
    fields, manifest = _read_fields(folder), verify_folder(folder, editable=(ADAPTER_CONFIG_NAME,))
    made_for = (manifest or {}).get("base")
    if made_for is not None and made_for["weights_sha256"] != (found := hash_weights(base)):
        raise ModelError(
            f"{folder} is an adapter for another model: it was made for weights with the hash "
            f"{made_for['weights_sha256'][:12]} ({made_for['path']}), and those of the given base have {found[:12]}; "
            "give the base that it was trained on."
        )
    config = _lora_of(fields, folder)
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS_NAME)
    except (SafetensorError, OSError) as error:
        raise CorruptModelError(
            f"{folder / ADAPTER_WEIGHTS_NAME} is missing or damaged ({error}); restore it from a copy."
        ) from error
    try:
        trained = _trained_tokens(fields, base.config)
        ids = [i for each in trained.values() for i in each]
        model = with_added_tokens(base, (), max(ids, default=-1) + 1, seed=0)  # rows of no listed token stay
        corrected = merged(model)  # a copy: the base keeps its weights
        add_lora(corrected, config, seed=0)
        _from_peft(corrected, tensors, trained)
    except (UsageError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"tensor {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
        raise ModelError(f"{folder} does not fit the model that it is applied to ({reason}).") from error
    return merged(corrected)


def _read_fields(folder: Path) -> dict[str, Any]:
    file = folder / ADAPTER_CONFIG_NAME
    try:
        fields = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise CorruptModelError(f"{file} is missing or damaged ({error}); restore it from a copy.") from error
    return fields


def _lora_of(fields: dict[str, Any], folder: Path) -> LoraConfig:
    named = fields.get("target_modules") or []
    named = named if isinstance(named, list) else [named]
    # With its path, if all matrices of one name are meant; a string is a pattern.
    targets = {str(name).split(".")[-1] for name in named}
    kind, used = fields.get("peft_type"), [name for name in _NOT_LORA if fields.get(name)]
    if (start := fields.get("init_lora_weights")) not in _PLAIN_STARTS:
        used.append(f"init_lora_weights {start}")
    unknown = sorted(targets - set(TARGETS))
    if kind != "LORA" or used or unknown or not targets or fields.get("bias", "none") != "none":
        found = f"peft_type {kind}" if kind != "LORA" else ", ".join(used + unknown) or "target_modules or bias"
        raise ModelError(
            f"{folder} is an adapter of a kind that is not supported ({found}); expected plain LoRA on "
            f"{', '.join(TARGETS)}. PEFT can merge it into its base: model.merge_and_unload().save_pretrained(DIR)."
        )
    try:
        rank, alpha = int(fields["r"]), float(fields["lora_alpha"])
        if rank < 1 or not math.isfinite(alpha):
            raise ValueError(f"{rank} and {alpha}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        file = folder / ADAPTER_CONFIG_NAME
        raise CorruptModelError(
            f"{file} has no usable r and lora_alpha ({error!r}); restore it from a copy."
        ) from error
    return LoraConfig(
        rank=rank,
        alpha=alpha,
        targets=tuple(name for name in TARGETS if name in targets),
    )


def _trained_tokens(fields: dict[str, Any], base: ModelConfig) -> dict[str, list[int]]:
    """The ids of the tokens whose rows an adapter has, by the name of their tensor and in the order of its rows.

    A list is of the embedding, as in PEFT; a head of its own then keeps the rows of the base.
    """
    given = fields.get("trainable_token_indices") or []
    named = given if isinstance(given, dict) else {"embed_tokens": given}
    of = {name.split(".")[-1]: ids for name, ids in named.items()}  # PEFT takes a name with its path, too
    if unknown := sorted(set(of) - {"embed_tokens", "lm_head"}):
        raise ValueError(f"it has token rows of {', '.join(unknown)}; expected those of embed_tokens and lm_head")
    size, most = base.vocab_size, base.vocab_size + max(map(len, of.values()), default=0)
    if wrong := [i for ids in of.values() for i in ids if not isinstance(i, int) or not 0 <= i < most]:
        raise ValueError(f"it has a row for token {wrong[0]}, but the model has {size:,} tokens")
    of_embedding, of_head = list(of.get("embed_tokens", [])), list(of.get("lm_head", []))
    if base.tie_word_embeddings:
        if "lm_head" in of and of_head != of_embedding:
            raise ValueError("its lm_head has other token rows than its embedding, but this model has one matrix")
        return {_EMBEDDING: of_embedding}
    for name, ids, others in (("lm_head", of_head, of_embedding), ("embed_tokens", of_embedding, of_head)):
        if lacking := sorted(i for i in set(others) - set(ids) if i >= base.vocab_size):
            raise ValueError(f"neither it nor the model has rows of {name} for tokens {', '.join(map(str, lacking))}")
    return {_EMBEDDING: of_embedding, _HEAD: of_head}


def _to_peft(model: LanguageModel, added: Sequence[int]) -> dict[str, Tensor]:
    """The corrections under PEFT's names, in fp32 on the CPU."""
    found: dict[str, Tensor] = {}
    for name, layer in lora_layers(model).items():
        for part, a, b in layer.factors():
            stem = _stem(name, part.name)
            found |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
    if added:
        found[_EMBEDDING] = model.transformer.embed_tokens.weight[list(added)]
        if not model.config.tie_word_embeddings:
            found[_HEAD] = model.lm_head.weight[list(added)]
    return {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in found.items()}


@torch.no_grad()
def _from_peft(model: LanguageModel, tensors: dict[str, Tensor], trained: dict[str, list[int]]) -> None:
    """Copy corrections into a model that has some of the same shapes. Raises KeyError naming a missing tensor, and
    ValueError for one that has no place in the model: without it, the weights would be wrong."""
    tables, known = {_EMBEDDING: model.transformer.embed_tokens.weight, _HEAD: model.lm_head.weight}, set[str]()
    for name, layer in lora_layers(model).items():
        for part, a, b in layer.factors():
            stem = _stem(name, part.name)
            for factor, target in ((f"{stem}.lora_A.weight", a), (f"{stem}.lora_B.weight", b)):
                target.copy_(_of_shape(tensors[factor], target))
                known.add(factor)
    for name, ids in trained.items():
        if ids:
            tables[name][ids] = _of_shape(tensors[name], tables[name][ids])
    if any(trained.values()):  # beside rows, PEFT saves the whole matrix if it had to grow, and a tied one twice
        known |= {name for name in tensors if name.startswith((_OF_EMBEDDING, _OF_HEAD))}
    if unknown := sorted(set(tensors) - known):
        raise ValueError(f"its tensor {unknown[0]} has no place in it")


def _of_shape(found: Tensor, expected: Tensor) -> Tensor:
    if found.shape != expected.shape:  # copy_ would repeat a smaller one
        raise ValueError(f"found a matrix of {tuple(found.shape)}, expected {tuple(expected.shape)}")
    return found.float()


def _stem(layer_name: str, part: str) -> str:
    """PEFT's name of a matrix, from the name of our layer: transformer.blocks.3.qkv_proj and q_proj."""
    number = layer_name.split(".")[2]
    return f"{_PREFIX}model.layers.{number}.{_MODULES[part]}"
