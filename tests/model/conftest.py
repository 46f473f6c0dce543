"""What tests of corrected and grown models share: a small causal model with weights that are all at work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel

MakeModel = Callable[..., LanguageModel]


@pytest.fixture
def make_model() -> MakeModel:
    """A function: a model of 50 tokens, the same at every call; a head of its own if it is not `tied`."""

    def make(*, tied: bool = True) -> LanguageModel:
        config = ModelConfig(
            vocab_size=50,
            hidden_size=64,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            head_dim=16,
            intermediate_size=96,
            objective="causal",
            tie_word_embeddings=tied,
        )
        model, rng = LanguageModel(config), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.1, generator=rng)
        return model

    return make


@pytest.fixture
def logits_of() -> Callable[..., Tensor]:
    """A function: the causal logits (2, 6, V) of a model, for some rows if none are given."""

    def run(model: LanguageModel, ids: Tensor | None = None) -> Tensor:
        ids = torch.arange(12).reshape(2, 6) if ids is None else ids
        with torch.no_grad():
            logits: Tensor = model(ids, torch.zeros_like(ids), is_causal=torch.ones(len(ids), dtype=torch.bool))
        return logits

    return run
