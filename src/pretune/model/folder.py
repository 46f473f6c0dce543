"""Model folders: models are saved in transformers' format and loaded from it. Only this module knows its names.

A bidirectional model has the keys of EuroBERT, a causal one those of Llama, which are the same. In memory, the
projections for query, key and value are one matrix, and so are gate and up. Encoders of other types go through
`foreign_folder`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.model.config import ForeignConfig, ModelConfig, RopeScaling
from pretune.model.foreign_encoder import ForeignEncoder
from pretune.model.foreign_folder import (
    describe_foreign_head,
    load_foreign_encoder,
    read_foreign_config,
    to_foreign_folder,
)
from pretune.model.transformer import EncoderModel, LanguageModel, SequenceClassifier
from pretune.model.weights import WEIGHTS_NAME, has_weights, read_weights, weights_file
from pretune.runtime.atomic import commit_folder, verify_folder, write_json

CONFIG_NAME = "config.json"
LABELS_NAME = "labels.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"  # of older foreign tokenizers

_MODEL_TYPES = ("eurobert", "llama")
_RENAMED = {
    "attention_norm": "input_layernorm",
    "out_proj": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "down_proj": "mlp.down_proj",
}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")

Model = LanguageModel | SequenceClassifier | EncoderModel


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """The content of a model folder; `label_names` and `columns` are of a classifier only.

    `notice` is a sentence about a head in the folder that was left aside.
    """

    path: Path
    model: Model
    config: ModelConfig
    label_names: tuple[str, ...] | None
    tokenizer_path: Path
    columns: Mapping[str, str] = field(
        default_factory=dict
    )  # text_column and label_column of the training file, if known
    notice: str | None = None


def save_model_folder(
    folder: Path,
    model: Model,
    tokenizer_folder: Path,
    label_names: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    write_more: Callable[[Path], None] | None = None,
    **facts: Any,
) -> None:
    """Commit a model as a folder that transformers can load and that is sufficient for predictions.

    `write_more` may add files to the folder before it is committed (a checkpoint's `training_state/`); `facts` are JSON
    values for its manifest. A classifier needs its label names; `columns` are those of its training file, by which
    predictions find the text in new files. An existing folder is replaced.
    Raises OutOfResourcesError if the disk is full; the previous folder stays.
    """
    is_classifier = isinstance(model, SequenceClassifier)
    if is_classifier != (label_names is not None) or (label_names and len(label_names) != _num_classes(model)):
        raise ValueError(f"{type(model).__name__} and label names {label_names!r} do not fit together")

    def write(partial: Path) -> None:
        tensors, fields = _to_transformers(model, label_names)
        save_file(tensors, partial / WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(partial / CONFIG_NAME, fields)
        for name in (TOKENIZER_NAME, SPECIAL_TOKENS_NAME):
            if name == TOKENIZER_NAME or (Path(tokenizer_folder) / name).is_file():
                shutil.copyfile(Path(tokenizer_folder) / name, partial / name)
        settings = _read_tokenizer_settings(Path(tokenizer_folder))
        settings["model_max_length"] = model.config.max_seq_len
        if is_classifier:  # a typed "[MASK]" is plain text to a classifier, also in transformers
            settings["split_special_tokens"] = True
        write_json(partial / TOKENIZER_CONFIG_NAME, settings)
        if label_names is not None:
            write_json(partial / LABELS_NAME, {"names": list(label_names), **(columns or {})})
        if write_more is not None:
            write_more(partial)

    commit_folder(folder, write, **facts)


def load_model_folder(folder: Path) -> LoadedModel:
    """The model, in fp32, from a folder written by pretune, or by transformers.

    EuroBERT and Llama become our own transformer, other encoders stay those of transformers. Raises ModelNotFoundError
    if there is no model, CorruptModelError naming the file if one is missing, truncated, changed, or of another
    version, and ModelError if the architecture is not supported or the weights are a pickle.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise ModelNotFoundError(f"{folder} {found}; expected a model folder with {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if not (folder / CONFIG_NAME).is_file() and not has_weights(folder):
        raise ModelNotFoundError(
            f"{folder} contains no model: it has neither {CONFIG_NAME} nor {WEIGHTS_NAME}; name a checkpoint folder."
        )
    verify_folder(folder)
    fields = _read_json(folder / CONFIG_NAME)
    weights_file(folder)  # for its errors, before anything is read
    loaded = _load_native if fields.get("model_type") in _MODEL_TYPES else _load_foreign
    return loaded(folder, fields)


def _load_native(folder: Path, fields: dict[str, Any]) -> LoadedModel:
    """Our own transformer with the head that it was saved with, or without any if that head was trained elsewhere."""
    config = from_transformers_config(fields, folder / CONFIG_NAME)
    tensors = read_weights(folder)
    is_bare = "embed_tokens.weight" in tensors  # published without any head
    if is_bare:
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    label_names, notice = None, None
    try:
        state = from_transformers_state(tensors, config)
        model: Model
        if is_bare:
            model = EncoderModel(config)
        elif "classifier.weight" in tensors or "score.weight" in tensors:
            if (head := _own_head(tensors, fields, folder)) is not None:
                state |= head
                label_names = _read_label_names(folder, fields)
                model = SequenceClassifier(config, len(label_names))
            else:
                model, notice = EncoderModel(config), _describe_other_head(folder)
        else:
            tied = config.tie_word_embeddings
            state["lm_head.weight"] = tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]
            model = LanguageModel(config)
        model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = f"tensor {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CorruptModelError(
            f"{weights_file(folder)} does not match {CONFIG_NAME} ({reason}); restore both from the same copy."
        ) from error
    return LoadedModel(
        path=folder,
        model=model.eval(),
        config=config,
        label_names=label_names,
        tokenizer_path=folder,
        columns=_read_columns(folder),
        notice=notice,
    )


def _load_foreign(folder: Path, fields: dict[str, Any]) -> LoadedModel:
    """An encoder of transformers. Only a head that pretune trained is used: it is the one with a `labels.json`."""
    config = read_foreign_config(folder, fields)
    encoder = load_foreign_encoder(folder, config)
    model: Model = EncoderModel(config, encoder)
    label_names, notice = None, None
    if (folder / LABELS_NAME).is_file():
        label_names = _read_label_names(folder, fields)
        classifier = SequenceClassifier(config, len(label_names), encoder)
        head = {name: tensor for name, tensor in read_weights(folder).items() if name.startswith("classifier.")}
        try:
            classifier.classifier.load_state_dict({name.split(".")[-1]: tensor for name, tensor in head.items()})
        except RuntimeError as error:
            raise CorruptModelError(
                f"{folder / WEIGHTS_NAME} does not match {LABELS_NAME} ({' '.join(str(error).split())[:160]}); restore "
                "both from the same copy."
            ) from error
        model = classifier
    elif any("For" in name and "MaskedLM" not in name for name in fields.get("architectures") or []):
        notice = _describe_other_head(folder)
    return LoadedModel(
        path=folder,
        model=model.eval(),
        config=config,
        label_names=label_names,
        tokenizer_path=folder,
        columns=_read_columns(folder),
        notice=notice,
    )


def _describe_other_head(folder: Path) -> str:
    return (
        f"{folder} has a head that was trained elsewhere and is not the linear layer over the mean that pretune "
        "writes; as a base for fine-tuning it starts without that head."
    )


def has_native_head(num_classes: int, hidden_size: int) -> bool:
    """Whether transformers' text classifier can express our linear head, which takes two hidden units per class."""
    return 2 * num_classes <= hidden_size


def describe_native_head(model: SequenceClassifier) -> str | None:
    """A notice if transformers' `text-classification` pipeline cannot express this head; otherwise None."""
    classes, hidden = _num_classes(model), model.config.hidden_size
    if isinstance(model.config, ForeignConfig):
        return describe_foreign_head(model.config, classes)
    if has_native_head(classes, hidden):
        return None
    return (
        f"{classes} classes are too many for transformers' text-classification pipeline at hidden size {hidden} (at "
        f"most {hidden // 2}). Transformers loads this folder as a token classifier; the mean of its logits over the "
        "tokens is the same result. pretune itself predicts as usual."
    )


def _to_transformers(model: Model, label_names: Sequence[str] | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config fields as transformers knows them."""
    if isinstance(model, SequenceClassifier) and isinstance(model.transformer, ForeignEncoder):
        head = {f"classifier.{name}": tensor for name, tensor in model.classifier.state_dict().items()}
        return to_foreign_folder(model.transformer, head, label_names or ())
    return to_transformers_state(model), to_transformers_config(model, label_names)


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
    if isinstance(model, SequenceClassifier):
        theirs |= _to_transformers_head(ours["classifier.weight"], ours["classifier.bias"])
    elif isinstance(model, LanguageModel) and not config.tie_word_embeddings:
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


def to_transformers_config(model: Model, label_names: Sequence[str] | None) -> dict[str, Any]:
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
        "rope_parameters": {"rope_theta": config.rope_theta, **_rope_fields(config.rope_scaling)},
        "rope_theta": config.rope_theta,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "mask_token_id": config.mask_token_id,
        "tie_word_embeddings": config.tie_word_embeddings,
        "classifier_pooling": "mean",
        "dtype": "float32",
    }
    if label_names is not None:
        fields |= {
            "num_labels": len(label_names),
            "id2label": {str(index): name for index, name in enumerate(label_names)},
            "label2id": {name: index for index, name in enumerate(label_names)},
            "problem_type": "single_label_classification",
        }
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
    }
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type not in ("default", "linear", "llama3"):
        raise ModelError(f"{path} has rope_type {rope_type!r}; only 'default', 'linear' and 'llama3' are supported.")
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
            rope_scaling=None if rope_type == "default" else _read_rope_scaling(rope),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CorruptModelError(
            f"{path} lacks a field or has an invalid value ({error!r}); restore the file."
        ) from error


def _read_rope_scaling(rope: dict[str, Any]) -> RopeScaling:
    if rope.get("rope_type", rope.get("type")) == "linear":
        return RopeScaling(kind="linear", factor=float(rope["factor"]))
    return RopeScaling(
        kind="llama3",
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_seq_len=int(rope["original_max_position_embeddings"]),
    )


def _rope_fields(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    fields: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "llama3":
        fields |= {
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_seq_len,
        }
    return fields


def _architecture(model: Model) -> str:
    if isinstance(model, LanguageModel):
        return "EuroBertForMaskedLM"
    is_native = has_native_head(_num_classes(model), model.config.hidden_size)
    return "EuroBertForSequenceClassification" if is_native else "EuroBertForTokenClassification"


def _num_classes(model: Model) -> int:
    return model.classifier.out_features if isinstance(model, SequenceClassifier) else 0


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


def _own_head(tensors: dict[str, Tensor], fields: dict[str, Any], folder: Path) -> dict[str, Tensor] | None:
    """The linear layer that pretune wrote, bit for bit; None for a head that was trained elsewhere."""
    if "score.weight" in tensors:  # of a Llama that reads the last token
        return None
    weight, bias = tensors["classifier.weight"], tensors["classifier.bias"]
    if "dense.weight" not in tensors:
        labels_tokens = "EuroBertForTokenClassification" in (fields.get("architectures") or [])
        is_other = labels_tokens and not (folder / LABELS_NAME).is_file()
        return None if is_other else {"classifier.weight": weight, "classifier.bias": bias}
    ours = tensors["dense.weight"][: weight.shape[0]]
    if has_native_head(*weight.shape) and fields.get("classifier_pooling") == "mean":
        expected = _to_transformers_head(ours, bias)
        if all(torch.equal(tensors[name], tensor) for name, tensor in expected.items()):
            return {"classifier.weight": ours.clone(), "classifier.bias": bias}
    return None


def _read_label_names(folder: Path, fields: dict[str, Any]) -> tuple[str, ...]:
    if (folder / LABELS_NAME).is_file():
        names = _read_json(folder / LABELS_NAME).get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CorruptModelError(f"{folder / LABELS_NAME} has no list of names; restore it from a copy.")
        return tuple(names)
    id2label = fields.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers omits the two default names
    return tuple(str(id2label[key]) for key in sorted(id2label, key=int))


def _read_columns(folder: Path) -> dict[str, str]:
    found = _read_json(folder / LABELS_NAME) if (folder / LABELS_NAME).is_file() else {}
    return {name: found[name] for name in ("text_column", "label_column") if isinstance(found.get(name), str)}


def _read_tokenizer_settings(folder: Path) -> dict[str, Any]:
    """The settings of a tokenizer for transformers; a foreign folder may lack them."""
    if (folder / TOKENIZER_CONFIG_NAME).is_file():
        return _read_json(folder / TOKENIZER_CONFIG_NAME)
    return {"tokenizer_class": "PreTrainedTokenizerFast"}


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
