"""An encoder of transformers has the attention of its architecture, and gives its attention weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretune.model.folder import load_model_folder
from pretune.model.foreign_encoder import ForeignEncoder


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
