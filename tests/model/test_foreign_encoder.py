"""An encoder of transformers has the attention of its architecture, and gives its weights and states."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.model.folder import load_model_folder
from pretune.model.foreign_encoder import ForeignEncoder, build_encoder
from pretune.model.foreign_folder import token_classifier_of


def loaded_encoder(folder: Path) -> ForeignEncoder:
    encoder = load_model_folder(folder).model.transformer
    assert isinstance(encoder, ForeignEncoder)
    return encoder


@pytest.mark.parametrize(("kind", "expected"), [("bert", "sdpa"), ("mpnet", "eager")])
def test_attention_is_fused_on_a_gpu_where_the_architecture_has_it(
    public_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str, expected: str
) -> None:
    folder, row = public_model(kind), torch.tensor([[5, 6, 7, 8]])
    weights = loaded_encoder(folder).attention_weights(row, torch.zeros_like(row))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    encoder = loaded_encoder(folder)
    assert encoder.encoder.config._attn_implementation == expected
    found = encoder.attention_weights(row, torch.zeros_like(row))
    assert len(found) == len(weights) == 2
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, weights, strict=True))
    assert encoder.encoder.config._attn_implementation == expected  # as before the weights were asked for


@pytest.mark.parametrize("mark", ["", "_"])
def test_a_config_does_not_choose_a_program_for_the_attention(
    public_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str
) -> None:
    """transformers loads one from the Hub and runs it."""
    shutil.copytree(public_model("bert"), tmp_path / "model")
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    fields |= {f"{mark}{part}_implementation": "kernels-community/x" for part in ("attn", "experts")}
    (tmp_path / "model" / "config.json").write_text(json.dumps(fields))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    encoder = loaded_encoder(tmp_path / "model")
    assert encoder.encoder.config._attn_implementation == "sdpa"
    assert build_encoder(encoder.config).config._attn_implementation == "sdpa"
    assert token_classifier_of(encoder.config, 2) is not None


# The layers of the three in the middle begin with a norm; that of DeBERTa's encoder is of relative places.
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {}),
    ("roberta-prelayernorm", {}),
    ("megatron-bert", {}),
    ("xlm-roberta-xl", {}),
    ("deberta-v2", {"relative_attention": True, "norm_rel_ebd": "layer_norm"}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_state_is_what_an_encoder_that_ends_there_gives(
    public_model: Callable[..., Path], kind: str, options: dict[str, Any]
) -> None:
    folder, row = public_model(kind, **options), torch.tensor([[5, 6, 7, 8]])
    states = loaded_encoder(folder).states(row, torch.zeros_like(row))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with torch.no_grad():
        expected = loaded_encoder(folder)(row, torch.zeros_like(row))
    assert torch.allclose(states[1], expected, atol=1e-5)
