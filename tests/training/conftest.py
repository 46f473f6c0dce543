"""Small models and batches of random tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from pretune.data.batch import Attention, Batch
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, SequenceClassifier
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import Objective
from pretune.training.optimizer import Optimizer

CONFIG = ModelConfig(
    vocab_size=300, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16, intermediate_size=48
)


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.1, generator=rng)


@pytest.fixture
def make_language_model() -> Callable[..., LanguageModel]:
    def make(seed: int = 0) -> LanguageModel:
        model = LanguageModel(CONFIG)
        randomise(model, seed)
        return model

    return make


@pytest.fixture
def make_classifier() -> Callable[..., SequenceClassifier]:
    def make(seed: int = 0) -> SequenceClassifier:
        model = SequenceClassifier(CONFIG, 3)
        randomise(model, seed)
        return model

    return make


@pytest.fixture
def draw_masked() -> Callable[..., Batch]:
    """Draws `rows` of 12 tokens, two documents and padding in each, with `masked` labels."""

    def draw(rows: int, masked: int, seed: int = 0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        ids = torch.randint(4, 300, (rows, 12), generator=rng)
        documents = torch.tensor([[0] * 6 + [1] * 4 + [-1] * 2] * rows)
        real = (documents >= 0).flatten().nonzero()[:, 0]
        positions = real[torch.randperm(len(real), generator=rng)[:masked]].sort().values
        labels = ids.flatten()[positions]
        ids.view(-1)[positions] = 3
        attention = Attention(document_ids=documents)
        return Batch(input_ids=ids, labels=labels, positions=positions, attention=attention, num_tokens=10 * rows)

    return draw


@pytest.fixture
def draw_labelled() -> Callable[..., Batch]:
    """Draws `rows` of 8 tokens with one of three labels, with weights if requested."""

    def draw(rows: int, seed: int = 0, *, is_weighted: bool = False) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        ids = torch.randint(4, 300, (rows, 8), generator=rng)
        labels = torch.randint(0, 3, (rows,), generator=rng)
        weights = torch.rand(rows, generator=rng) + 0.1 if is_weighted else None
        attention = Attention(document_ids=torch.zeros_like(ids))
        return Batch(input_ids=ids, labels=labels, attention=attention, label_weights=weights, num_tokens=8 * rows)

    return draw


Steps = Callable[..., Iterator[StepResult]]


@pytest.fixture
def iter_steps() -> Steps:
    """Updates from step 1 at the full rate, unless `settings` say otherwise."""

    def begin(
        model: torch.nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        batches: Callable[[int], Sequence[Batch]],
        **settings: Any,
    ) -> Iterator[StepResult]:
        usual = {
            "rate": lambda _: 1.0,
            "first_step": 1,
            "clip_norm": 1.0,
            "guard": Guard(),
            "microbatch_split": MicrobatchSplit(),
        }
        return train_steps(model, objective, optimizer, batches, **{**usual, **settings})

    return begin
