"""A stretched rope is written under the name of transformers 5 and under the one that older loaders read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretune.model.config import PRESETS, RopeScaling
from pretune.model.native_config import config_from_fields, config_to_fields, describe_quantization

CONFIG = replace(PRESETS["tiny"](100), rope_theta=500.0)
LINEAR = RopeScaling(kind="linear", factor=4.0)
LLAMA3 = RopeScaling(kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_seq_len=16)
OLDER: list[tuple[RopeScaling, dict[str, Any]]] = [
    (LINEAR, {"type": "linear", "factor": 4.0}),
    (
        LLAMA3,
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
]


def test_a_plain_rope_has_no_older_field() -> None:
    assert "rope_scaling" not in config_to_fields(CONFIG)


@pytest.mark.parametrize(("scaling", "older"), OLDER)
@pytest.mark.parametrize("left_out", [None, "rope_parameters", "rope_scaling"])
def test_a_stretched_rope_is_read_by_either_name(
    scaling: RopeScaling, older: dict[str, Any], left_out: str | None
) -> None:
    config = replace(CONFIG, rope_scaling=scaling)
    fields: dict[str, Any] = {"model_type": "eurobert", **config_to_fields(config)}
    assert (fields["rope_scaling"], fields["rope_theta"]) == (older, 500.0)
    fields.pop(left_out, None)
    assert config_from_fields(fields, Path("config.json")) == config


@pytest.mark.parametrize(("scaling", "older"), OLDER)
@pytest.mark.parametrize("kind", ["LlamaConfig", "EuroBertConfig"])
def test_transformers_accepts_both_names_together(scaling: RopeScaling, older: dict[str, Any], kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    fields = config_to_fields(replace(CONFIG, rope_scaling=scaling))
    read = getattr(transformers, kind).from_dict(fields).rope_parameters
    assert read == {**older, "rope_type": scaling.kind, "rope_theta": 500.0}


@pytest.mark.parametrize("name", ["quantization_config", "compression_config"])
def test_what_the_fields_say_of_quantised_weights(name: str) -> None:
    fields: dict[str, Any] = {"model_type": "llama", **config_to_fields(CONFIG)}
    quantized = {**fields, name: {"quant_method": "fp8", "activation_scheme": "static"}}
    assert describe_quantization(quantized) == f"{name}: fp8"
    assert describe_quantization({**fields, name: {"bits": 4}}) == name
    assert describe_quantization({**fields, name: None}) is None
    assert config_from_fields(quantized, Path("config.json")).vocab_size == 100  # only the weights show if it holds


@pytest.mark.parametrize(("pad", "expected"), [(5, 5), (0, 0), (-1, 2), (100, 2), (None, 2), ([], 2)])
def test_a_padding_id_outside_of_the_vocabulary_is_that_of_the_end(pad: Any, expected: int) -> None:
    fields: dict[str, Any] = {"model_type": "llama", **config_to_fields(CONFIG), "pad_token_id": pad, "eos_token_id": 2}
    assert config_from_fields(fields, Path("config.json")).pad_token_id == expected
