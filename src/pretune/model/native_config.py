"""The fields of a EuroBERT or Llama `config.json`, to and from our configuration."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from pretune.errors import CorruptModelError, ModelError
from pretune.model.config import ModelConfig, ObjectiveName, RopeScaling

NATIVE_TYPES = ("eurobert", "llama")
OBJECTIVE_FIELD = "pretune_objective"  # transformers keeps fields that it does not know
_QUANTIZATION_FIELDS = ("quantization_config", "compression_config")  # the second in older files of compressed-tensors


def config_to_fields(config: ModelConfig) -> dict[str, Any]:
    """The fields of the geometry, all explicit, because EuroBERT has other defaults for special tokens and norms."""
    # Transformers 4, vLLM and the converter to GGUF read a stretched rope under this older name only.
    older = {} if config.rope_scaling is None else {"rope_scaling": _older_rope_fields(config.rope_scaling)}
    return {
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
        "use_cache": config.objective == "causal",  # in transformers, for generation
        "rope_parameters": {"rope_theta": config.rope_theta, **_rope_fields(config.rope_scaling)},
        "rope_theta": config.rope_theta,
        **older,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "mask_token_id": config.mask_token_id,
        "tie_word_embeddings": config.tie_word_embeddings,
        "classifier_pooling": "mean",
        "dtype": "float32",
    }


def generation_fields(config: ModelConfig, stop_ids: Collection[int]) -> dict[str, Any]:
    """The settings of transformers for generation, with all tokens that end a text."""
    return {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(stop_ids),
        "pad_token_id": config.pad_token_id,
    }


def config_from_fields(fields: dict[str, Any], path: Path) -> ModelConfig:
    """Our config from the fields of a EuroBERT or Llama config; raises ModelError for unsupported settings."""
    if fields.get("model_type") not in NATIVE_TYPES:
        raise ModelError(
            f"{path} describes a model of type {fields.get('model_type')!r}; expected one of {', '.join(NATIVE_TYPES)}."
        )
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise CorruptModelError(f"{path} has {rope!r} as rope_parameters; expected an object, so restore the file.")
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
        vocab_size, eos = int(fields["vocab_size"]), _first_id(fields.get("eos_token_id"), 2)
        pad = _first_id(fields.get("pad_token_id"), eos)
        return ModelConfig(
            vocab_size=vocab_size,
            hidden_size=hidden,
            num_layers=int(fields["num_hidden_layers"]),
            num_heads=heads,
            num_kv_heads=int(fields.get("num_key_value_heads") or heads),
            head_dim=int(fields.get("head_dim") or hidden // heads),
            intermediate_size=int(fields["intermediate_size"]),
            max_seq_len=int(fields.get("max_position_embeddings", 512)),
            rope_theta=float(rope.get("rope_theta", fields.get("rope_theta", 10_000.0))),
            norm_eps=float(fields["rms_norm_eps"]),
            pad_token_id=pad if 0 <= pad < vocab_size else eos,  # some have -1 for none
            bos_token_id=_first_id(fields.get("bos_token_id"), 1),
            eos_token_id=eos,
            mask_token_id=_first_id(fields.get("mask_token_id"), -1),  # Llama has none
            tie_word_embeddings=bool(fields.get("tie_word_embeddings", False)),
            rope_scaling=None if rope_type == "default" else _read_rope_scaling(rope),
            objective=_read_objective(fields, path),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise CorruptModelError(
            f"{path} lacks a field or has an invalid value ({error!r}); restore the file."
        ) from error


def describe_quantization(fields: dict[str, Any]) -> str | None:
    """What the fields of a `config.json` say of quantised weights; None if nothing. It may be left over from a model
    that was merged or converted: only its weights show whether it holds."""
    name = next((name for name in _QUANTIZATION_FIELDS if fields.get(name)), None)
    if name is None:
        return None
    method = fields[name].get("quant_method") if isinstance(fields[name], dict) else None
    return name if method is None else f"{name}: {method}"


def _read_objective(fields: dict[str, Any], path: Path) -> ObjectiveName:
    """What the model was trained to predict: by our own field, or else as transformers uses the architecture."""
    found = fields.get(OBJECTIVE_FIELD, "causal" if fields["model_type"] == "llama" else "masked")
    if found not in ("masked", "causal", "hybrid"):
        raise CorruptModelError(f"{path} has {OBJECTIVE_FIELD} {found!r}; expected masked, causal or hybrid.")
    return cast(ObjectiveName, found)


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


def _older_rope_fields(scaling: RopeScaling) -> dict[str, Any]:
    if scaling.kind == "linear":  # transformers before 4.43 accepts these two keys only; llama3 is newer
        return {"type": "linear", "factor": scaling.factor}
    return _rope_fields(scaling)


def _first_id(value: Any, default: int) -> int:
    if isinstance(value, list):
        value = value[0] if value else None
    return default if value is None else int(value)
