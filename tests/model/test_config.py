"""Presets are consistent geometries, each larger than the one before."""

from __future__ import annotations

import dataclasses

import pytest

from pretune.model import cost
from pretune.model.config import PRESETS, name_shape, tiny, with_special_tokens


@pytest.mark.parametrize("name", PRESETS)
def test_heads_fill_the_hidden_size(name: str) -> None:
    config = PRESETS[name](8192)
    assert config.num_heads * config.head_dim == config.hidden_size
    assert config.num_kv_heads == config.num_heads
    assert config.intermediate_size % 16 == 0
    assert config.vocab_size == 8192


def test_each_preset_is_larger_than_the_one_before() -> None:
    sizes = [(config.num_layers, config.hidden_size) for config in (preset(100) for preset in PRESETS.values())]
    assert sizes == [(2, 128), (2, 256), (4, 256), (8, 384), (8, 512), (12, 768)]
    parameters = [cost.count_parameters(preset(32_768)) for preset in PRESETS.values()]
    assert parameters == sorted(parameters)
    assert 100e6 < parameters[-1] < 115e6


def test_a_shape_has_the_name_of_its_preset_or_its_layers_and_width() -> None:
    for name, preset in PRESETS.items():
        assert name_shape(dataclasses.replace(preset(50_000), max_seq_len=8192, rope_theta=250_000.0)) == name
    assert name_shape(dataclasses.replace(tiny(100), num_layers=3)) == "3x128"
    assert name_shape(dataclasses.replace(tiny(100), intermediate_size=512)) == "2x128"


def test_special_tokens_are_all_that_changes() -> None:
    config = with_special_tokens(tiny(100), pad=9, bos=8, eos=7, mask=6)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id, config.mask_token_id) == (9, 8, 7, 6)
    assert with_special_tokens(config, pad=0, bos=1, eos=2, mask=3) == tiny(100)


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny(100).hidden_size = 1  # type: ignore[misc]
