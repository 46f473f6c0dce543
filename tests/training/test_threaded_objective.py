"""Rows in two lanes give the same sums and gradients as rows in one, and the same bits every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.compute.cpu_threads import Lanes
from pretune.compute.device import choose_compute
from pretune.data.batch import Attention, Batch
from pretune.model.folder import load_model_folder
from pretune.model.transformer import SequenceClassifier
from pretune.tasks.registry import task_named
from pretune.training.objective import TaskObjective, TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.threaded_objective import ThreadedObjective, in_lanes

LANES = Lanes(2, 2)


def draw_labeled(rows: int, seed: int = 0, *, is_weighted: bool = False) -> Batch:
    """Rows of 3 to 12 tokens with one of three labels."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 13, (rows, 1), generator=rng)
    is_real = torch.arange(12)[None] < lengths
    return Batch(
        input_ids=torch.randint(4, 300, (rows, 12), generator=rng) * is_real,
        labels=torch.randint(0, 3, (rows,), generator=rng),
        attention=Attention(document_ids=torch.where(is_real, 0, -1)),
        label_weights=torch.rand(rows, generator=rng) if is_weighted else None,
        num_tokens=int(is_real.sum()),
    )


def gradients(model: Any, objective: Any, batch: Batch) -> tuple[Any, dict[str, torch.Tensor]]:
    model.zero_grad()
    sums = objective(batch)
    (sums.loss / sums.weight).backward()
    return sums, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 7, 32])
def test_sums_and_gradients_are_those_of_one_lane(make_classifier: Any, rows: int, is_weighted: bool) -> None:
    model, batch = make_classifier(), draw_labeled(rows, is_weighted=is_weighted)
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    one, expected = gradients(model, objective, batch)
    two, found = gradients(model, ThreadedObjective(objective, model, LANES), batch)
    assert two.weight == pytest.approx(one.weight, rel=1e-6)
    assert (int(two.correct), two.count) == (int(one.correct), one.count)
    torch.testing.assert_close(two.loss, one.loss, rtol=1e-5, atol=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


def test_compiled_code_and_several_processes_use_no_lanes(make_language_model: Any) -> None:
    model = make_language_model()
    objective = TokenObjective(model, torch.float32, compiled=False)
    compute = replace(choose_compute(compile="off"), device="cpu")
    assert isinstance(in_lanes(objective, model, compute), ThreadedObjective)
    assert in_lanes(objective, model, replace(compute, is_compiled=True)) is objective
    assert in_lanes(objective, model, replace(compute, processes=2)) is objective


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_masked_prediction_can_be_cut_too(
    make_language_model: Any, draw_masked: Callable[..., Batch], dtype: torch.dtype, rounding: float
) -> None:
    model, batch = make_language_model(), draw_masked(8, 20)
    objective = TokenObjective(model, dtype, compiled=False)
    _, expected = gradients(model, objective, batch)
    _, found = gradients(model, ThreadedObjective(objective, model, LANES), batch)
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm() / gradient.norm()) < rounding, name


def test_training_is_the_same_every_time(make_classifier: Any, iter_steps: Any) -> None:
    def train() -> dict[str, torch.Tensor]:
        model = make_classifier()
        objective = ThreadedObjective(
            TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False), model, LANES
        )
        config = OptimizerConfig(kind="adamw", matrix_rate=1e-2, other_rate=1e-2, weight_decay=0.0)
        steps = iter_steps(
            model, objective, Optimizer(model, config), lambda step: [draw_labeled(16, step), draw_labeled(5, -step)]
        )
        for _ in islice(steps, 6):
            pass
        return model.state_dict()

    first, second = train(), train()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_gradients_nothing_is_recorded(make_classifier: Any) -> None:
    model, batches = make_classifier(), [draw_labeled(9, seed) for seed in range(3)]
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    threaded = ThreadedObjective(objective, model, LANES)
    with torch.no_grad():
        for batch in batches:
            found, expected = threaded(batch), objective(batch)
            assert not found.loss.requires_grad
            assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-6)
            assert (int(found.correct), found.count) == (int(expected.correct), expected.count)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("kind", "options"), [("squeezebert", {"embedding_size": 32}), ("longformer", {"attention_window": 8})]
)
def test_weights_that_no_prediction_depends_on_need_no_gradient(
    public_model: Callable[..., Path], kind: str, options: dict[str, Any]
) -> None:
    loaded = load_model_folder(public_model(kind, **options))
    model = SequenceClassifier(loaded.config, 3, loaded.model.transformer)
    batch = draw_labeled(4)
    batch = replace(batch, input_ids=batch.input_ids % 40)
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    ThreadedObjective(objective, model, LANES)(batch).loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without and all("pooler." in name or "_global." in name for name in without)
