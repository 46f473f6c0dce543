"""Model folders: models are saved in transformers' format and loaded from it. Only this module knows its names.

A bidirectional model has the keys of EuroBERT, a causal one those of Llama, which are the same. In memory, the
projections for query, key and value are one matrix, and so are gate and up.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, SequenceClassifier, TaskModel, TokenClassifier
from pretune.runtime.atomic import commit_folder, verify_folder, write_json
from pretune.text.labels.labelling import Labelling

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
LABELS_NAME = "labels.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"

_MODEL_TYPES = ("eurobert", "llama")
_RENAMED = {
    "attention_norm": "input_layernorm",
    "out_proj": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "down_proj": "mlp.down_proj",
}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")

Model = LanguageModel | SequenceClassifier | TokenClassifier
_PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """The content of a model folder; `labelling` is of a model that was fine-tuned for a task only."""

    path: Path
    model: Model
    config: ModelConfig
    labelling: Labelling | None
    tokenizer_path: Path

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the labels of a fine-tuned model."""
        return None if self.labelling is None else self.labelling.names


def save_model_folder(
    folder: Path,
    model: Model,
    tokenizer_folder: Path,
    labels: Labelling | Sequence[str] | None = None,
    *,
    write_more: Callable[[Path], None] | None = None,
    **facts: Any,
) -> None:
    """Commit a model as a folder that transformers can load and that is sufficient for predictions.

    `write_more` may add files to the folder before it is committed (a checkpoint's `training_state/`); `facts` are JSON
    values for its manifest. A fine-tuned model needs its `labels`: what its outputs mean, or the names of the classes.
    An existing folder is replaced. Raises OutOfResourcesError if the disk is full; the previous folder stays.
    """
    labelling = labels if isinstance(labels, Labelling | None) else Labelling(names=tuple(labels))
    is_fine_tuned = isinstance(model, TaskModel)
    if is_fine_tuned != (labelling is not None) or (labelling and len(labelling.outputs) != _num_outputs(model)):
        raise ValueError(f"{type(model).__name__} and the labels {labelling!r} do not fit together")

    def write(partial: Path) -> None:
        save_file(to_transformers_state(model), partial / WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(partial / CONFIG_NAME, to_transformers_config(model, labelling))
        shutil.copyfile(Path(tokenizer_folder) / TOKENIZER_NAME, partial / TOKENIZER_NAME)
        settings = _read_json(Path(tokenizer_folder) / TOKENIZER_CONFIG_NAME)
        settings["model_max_length"] = model.config.max_seq_len
        if is_fine_tuned:  # a typed "[MASK]" is plain text to a classifier, also in transformers
            settings["split_special_tokens"] = True
        write_json(partial / TOKENIZER_CONFIG_NAME, settings)
        if labelling is not None:
            write_json(partial / LABELS_NAME, labelling.to_dict())
        if write_more is not None:
            write_more(partial)

    commit_folder(folder, write, **facts)


def load_model_folder(folder: Path) -> LoadedModel:
    """The model, in fp32, from a folder written by pretune, or by transformers with a EuroBERT or Llama model.

    Raises ModelNotFoundError if there is no model, CorruptModelError naming the file if one is missing, truncated,
    changed, or of another version, and ModelError if the architecture is not supported.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise ModelNotFoundError(f"{folder} {found}; expected a model folder with {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if not (folder / CONFIG_NAME).is_file() and not (folder / WEIGHTS_NAME).is_file():
        raise ModelNotFoundError(
            f"{folder} contains no model: it has neither {CONFIG_NAME} nor {WEIGHTS_NAME}; name a checkpoint folder."
        )
    verify_folder(folder)
    fields = _read_json(folder / CONFIG_NAME)
    config = from_transformers_config(fields, folder / CONFIG_NAME)
    tensors = _read_weights(folder)
    labelling = _read_labelling(folder, fields) if "classifier.weight" in tensors else None
    model = _build_model(config, tensors, fields, folder, labelling)
    return LoadedModel(path=folder, model=model.eval(), config=config, labelling=labelling, tokenizer_path=folder)


def has_native_head(num_classes: int, hidden_size: int) -> bool:
    """Whether transformers' text classifier can express our linear head, which takes two hidden units per class."""
    return 2 * num_classes <= hidden_size


def describe_native_head(model: TaskModel) -> str | None:
    """A notice if transformers' `text-classification` pipeline cannot express this head; otherwise None."""
    classes, hidden = _num_outputs(model), model.config.hidden_size
    if isinstance(model, TokenClassifier) or has_native_head(classes, hidden):
        return None
    return (
        f"{classes} classes are too many for transformers' text-classification pipeline at hidden size {hidden} (at "
        f"most {hidden // 2}). Transformers loads this folder as a token classifier; the mean of its logits over the "
        "tokens is the same result. pretune itself predicts as usual."
    )


def to_transformers_state(model: Model) -> dict[str, Tensor]:
    """The weights under transformers' keys, in fp32 on the CPU; without a tied `lm_head.weight`, like transformers."""
    config, ours = model.config, model.state_dict()
    q_rows, kv_rows = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    theirs = {
        "model.embed_tokens.weight": ours["transformer.embed_tokens.weight"],
        "model.norm.weight": ours["transformer.final_norm.weight"],
    }
    for layer in range(config.num_layers):
        block, prefix = f"transformer.blocks.{layer}", f"model.layers.{layer}"
        for name, renamed in _RENAMED.items():
            theirs[f"{prefix}.{renamed}.weight"] = ours[f"{block}.{name}.weight"]
        parts = ours[f"{block}.qkv_proj.weight"].split([q_rows, kv_rows, kv_rows])
        theirs |= {f"{prefix}.{name}.weight": part for name, part in zip(_QKV, parts, strict=True)}
        parts = ours[f"{block}.gate_up_proj.weight"].chunk(2)
        theirs |= {f"{prefix}.{name}.weight": part for name, part in zip(_GATE_UP, parts, strict=True)}
    if isinstance(model, TokenClassifier):  # EuroBERT's token classifier is this linear layer
        theirs |= {name: ours[name] for name in ("classifier.weight", "classifier.bias")}
    elif isinstance(model, SequenceClassifier):
        theirs |= _to_transformers_head(ours["classifier.weight"], ours["classifier.bias"])
    elif not config.tie_word_embeddings:
        theirs["lm_head.weight"] = ours["lm_head.weight"]
    # Cloned, so that views of one matrix do not share memory in the file.
    return {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in theirs.items()}


def from_transformers_state(tensors: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The weights under our keys, without a classification head. Raises KeyError naming a missing tensor."""
    ours = {
        "transformer.embed_tokens.weight": tensors["model.embed_tokens.weight"],
        "transformer.final_norm.weight": tensors["model.norm.weight"],
    }
    for layer in range(config.num_layers):
        block, prefix = f"transformer.blocks.{layer}", f"model.layers.{layer}"
        for name, renamed in _RENAMED.items():
            ours[f"{block}.{name}.weight"] = tensors[f"{prefix}.{renamed}.weight"]
        ours[f"{block}.qkv_proj.weight"] = torch.cat([tensors[f"{prefix}.{name}.weight"] for name in _QKV])
        ours[f"{block}.gate_up_proj.weight"] = torch.cat([tensors[f"{prefix}.{name}.weight"] for name in _GATE_UP])
    return ours


def to_transformers_config(model: Model, labelling: Labelling | None) -> dict[str, Any]:
    """The fields of `config.json`, all explicit, because EuroBERT has other defaults for special tokens and norms."""
    config = model.config
    fields: dict[str, Any] = {
        "model_type": "eurobert",
        "architectures": [_architecture(model)],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_seq_len,
        "initializer_range": 0.02,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "use_cache": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "mask_token_id": config.mask_token_id,
        "tie_word_embeddings": config.tie_word_embeddings,
        "classifier_pooling": "mean",
        "dtype": "float32",
    }
    if labelling is not None:
        names = labelling.outputs
        fields |= {
            "num_labels": len(names),
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
        }
        if labelling.task in _PROBLEM_TYPES:
            fields["problem_type"] = _PROBLEM_TYPES[labelling.task]
    return fields


def from_transformers_config(fields: dict[str, Any], path: Path) -> ModelConfig:
    """Our config from the fields of a EuroBERT or Llama config; raises ModelError for unsupported settings."""
    if fields.get("model_type") not in _MODEL_TYPES:
        raise ModelError(
            f"{path} describes a model of type {fields.get('model_type')!r}; expected one of {', '.join(_MODEL_TYPES)}."
        )
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    foreign = {
        "hidden_act": (fields.get("hidden_act", "silu"), "silu"),
        "attention_bias": (fields.get("attention_bias", False), False),
        "mlp_bias": (fields.get("mlp_bias", False), False),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
    }
    for name, (found, expected) in foreign.items():
        if found != expected:
            raise ModelError(f"{path} has {name} {found!r}; only {expected!r} is supported.")
    try:
        heads, hidden = int(fields["num_attention_heads"]), int(fields["hidden_size"])
        eos = _first_id(fields.get("eos_token_id"), 2)
        return ModelConfig(
            vocab_size=int(fields["vocab_size"]),
            hidden_size=hidden,
            num_layers=int(fields["num_hidden_layers"]),
            num_heads=heads,
            num_kv_heads=int(fields.get("num_key_value_heads") or heads),
            head_dim=int(fields.get("head_dim") or hidden // heads),
            intermediate_size=int(fields["intermediate_size"]),
            max_seq_len=int(fields.get("max_position_embeddings", 512)),
            rope_theta=float(rope.get("rope_theta", fields.get("rope_theta", 10_000.0))),
            norm_eps=float(fields["rms_norm_eps"]),
            pad_token_id=_first_id(fields.get("pad_token_id"), eos),
            bos_token_id=_first_id(fields.get("bos_token_id"), 1),
            eos_token_id=eos,
            mask_token_id=_first_id(fields.get("mask_token_id"), -1),  # Llama has none
            tie_word_embeddings=bool(fields.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CorruptModelError(
            f"{path} lacks a field or has an invalid value ({error!r}); restore the file."
        ) from error


def _architecture(model: Model) -> str:
    if isinstance(model, LanguageModel):
        return "EuroBertForMaskedLM"
    is_native = isinstance(model, SequenceClassifier) and has_native_head(_num_outputs(model), model.config.hidden_size)
    return "EuroBertForSequenceClassification" if is_native else "EuroBertForTokenClassification"


def _num_outputs(model: Model) -> int:
    return model.classifier.out_features if isinstance(model, TaskModel) else 0


def _to_transformers_head(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A linear layer as EuroBERT's dense, GELU, classifier: GELU(x) - GELU(-x) = x, so [W; -W; 0], [I, -I, 0].

    If there are too many classes, the plain layer, which EuroBERT's token classifier applies at every position.
    """
    classes, hidden = weight.shape
    if not has_native_head(classes, hidden):
        return {"classifier.weight": weight, "classifier.bias": bias}
    rest = weight.new_zeros(hidden - 2 * classes, hidden)
    eye = torch.eye(classes, device=weight.device)
    return {
        "dense.weight": torch.cat([weight, -weight, rest]),
        "dense.bias": weight.new_zeros(hidden),
        "classifier.weight": torch.cat([eye, -eye, weight.new_zeros(classes, hidden - 2 * classes)], dim=1),
        "classifier.bias": bias,
    }


def _from_transformers_head(tensors: dict[str, Tensor], fields: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """The original linear layer, bit for bit. Raises ModelError for a head trained as dense, GELU, classifier."""
    weight, bias = tensors["classifier.weight"], tensors["classifier.bias"]
    if "dense.weight" not in tensors:
        return {"classifier.weight": weight, "classifier.bias": bias}
    ours = tensors["dense.weight"][: weight.shape[0]]
    if has_native_head(*weight.shape) and fields.get("classifier_pooling") == "mean":
        expected = _to_transformers_head(ours, bias)
        if all(torch.equal(tensors[name], tensor) for name, tensor in expected.items()):
            return {"classifier.weight": ours.clone(), "classifier.bias": bias}
    raise ModelError(
        f"{folder / WEIGHTS_NAME} has a classification head with a hidden layer, trained elsewhere; expected the "
        "linear head that pretune writes. Fine-tune a language model instead."
    )


def _build_model(
    config: ModelConfig,
    tensors: dict[str, Tensor],
    fields: dict[str, Any],
    folder: Path,
    labelling: Labelling | None,
) -> Model:
    try:
        state = from_transformers_state(tensors, config)
        model: Model
        if labelling is not None and labelling.task == "tokens":
            state |= {name: tensors[name] for name in ("classifier.weight", "classifier.bias")}
            model = TokenClassifier(config, len(labelling.outputs))
        elif labelling is not None:
            state |= _from_transformers_head(tensors, fields, folder)
            model = SequenceClassifier(config, len(labelling.outputs))
        else:
            tied = config.tie_word_embeddings
            state["lm_head.weight"] = tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]
            model = LanguageModel(config)
        model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = f"tensor {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CorruptModelError(
            f"{folder / WEIGHTS_NAME} does not match {CONFIG_NAME} ({reason}); restore both from the same copy."
        ) from error
    return model


def _read_labelling(folder: Path, fields: dict[str, Any]) -> Labelling:
    if (folder / LABELS_NAME).is_file():
        try:
            return Labelling.from_dict(_read_json(folder / LABELS_NAME))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptModelError(f"{folder / LABELS_NAME} has no list of names; restore it from a copy.") from error
    if "EuroBertForTokenClassification" in (fields.get("architectures") or []):
        raise ModelError(f"{folder} labels tokens, not texts; expected a text classifier or a language model.")
    id2label = fields.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers omits the two default names
    return Labelling(names=tuple(str(id2label[key]) for key in sorted(id2label, key=int)))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    file = folder / WEIGHTS_NAME
    if not file.is_file():
        raise CorruptModelError(f"{file} is missing; restore it from a copy.")
    try:
        return {name: tensor.float() for name, tensor in load_file(file).items()}
    except (SafetensorError, ValueError) as error:
        raise CorruptModelError(f"{file} is truncated or damaged ({error}); restore it from a copy.") from error


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise CorruptModelError(f"{file} is missing; restore it from a copy.")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{file} is not valid JSON ({error}); restore it from a copy.") from error
    if not isinstance(value, dict):
        raise CorruptModelError(f"{file} is not a JSON object; restore it from a copy.")
    return value


def _first_id(value: Any, default: int) -> int:
    if isinstance(value, list):
        value = value[0] if value else None
    return default if value is None else int(value)
