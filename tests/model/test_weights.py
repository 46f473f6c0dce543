"""Weights come from one safetensors file or from several; a pickle is refused, and damage named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretune.errors import CorruptModelError, ModelError
from pretune.model.weights import has_weights, read_weights, weights_file

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Two files, one of them in 16 bits, and their index."""
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name, file in names.items():
        save_file({name: torch.ones(3, dtype=torch.bfloat16 if name == "a" else torch.float32)}, tmp_path / file)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": names}))
    return tmp_path


def test_several_files_are_read_in_single_precision(sharded: Path) -> None:
    tensors = read_weights(sharded)
    assert set(tensors) == {"a", "b"}
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert weights_file(sharded).name == INDEX


def test_with_a_prefix_nothing_else_is_read(tmp_path: Path) -> None:
    """All weights of an encoder were read and copied for the two tensors of its head."""
    tensors = {"classifier.weight": torch.ones(2, 3), "encoder.weight": torch.ones(3, 3).to(torch.int8)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert list(read_weights(tmp_path, "classifier.")) == ["classifier.weight"]
    with pytest.raises(ModelError, match=r"encoder\.weight has numbers of type int8"):  # once it is read
        read_weights(tmp_path)


def test_a_missing_shard_is_named(sharded: Path) -> None:
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CorruptModelError, match=r"00002-of-00002\.safetensors is missing, which model\.safetensors"):
        read_weights(sharded)


@pytest.mark.parametrize(
    "index", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": 3}']
)
def test_a_damaged_index_is_named(sharded: Path, index: str) -> None:
    (sharded / INDEX).write_text(index)
    with pytest.raises(CorruptModelError, match=r"index\.json is damaged"):
        read_weights(sharded)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    assert has_weights(tmp_path)
    with pytest.raises(ModelError, match=r"only as a pickle .* convert it once: python -c .*save_pretrained") as raised:
        read_weights(tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"architectures": ["BertForMaskedLM"]}', "BertForMaskedLM"),
        ('{"architectures": ["x; evil()"]}', "AutoModel"),
        ('{"architectures": []}', "AutoModel"),
        ('{"architectures": null}', "AutoModel"),
        ("{", "AutoModel"),
        (None, "AutoModel"),
    ],
)
def test_the_conversion_keeps_the_head(tmp_path: Path, config: str | None, expected: str) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=rf"t\.{expected}\.from_pretrained"):
        read_weights(tmp_path)


def test_one_file_is_enough_even_beside_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert read_weights(tmp_path)["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.uint8])
def test_quantised_weights_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    save_file({name: torch.ones(2, 2).to(dtype), f"{name}_scale": torch.ones(2)}, tmp_path / "model.safetensors")
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(ModelError, match=rf"quantised weights \({name} has numbers of type {kind}\)") as raised:
        read_weights(tmp_path)
    assert "Take the model that it was quantised from" in str(raised.value)


def test_a_buffer_of_integers_is_no_quantised_weight(tmp_path: Path) -> None:
    save_file({"embeddings.position_ids": torch.arange(3)}, tmp_path / "model.safetensors")
    assert read_weights(tmp_path)["embeddings.position_ids"].tolist() == [0.0, 1.0, 2.0]


def test_no_weights_are_named(tmp_path: Path) -> None:
    assert not has_weights(tmp_path)
    with pytest.raises(CorruptModelError, match=r"model\.safetensors is missing"):
        weights_file(tmp_path)
