"""Dividing a step into micro-batches changes nothing, and an update that is not finite is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretune.data.batch import Attention, Batch
from pretune.data.prefetch import feed
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, SequenceClassifier, initialize
from pretune.tasks.registry import task_named
from pretune.training import loop
from pretune.training.checkpoint import TrainingState
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, evaluate_rows, total_weight, train_steps, warm_up
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TaskObjective, TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig

ON_NO_DEVICE = ModelConfig(
    vocab_size=300, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48
)


class Recorder(Optimizer):
    """Records the gradients that it gets, and updates nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, OptimizerConfig(kind="adamw", matrix_rate=1.0, other_rate=1.0, weight_decay=0.0))
        self.model, self.gradients = model, {}
        self.rates: list[float] = []

    def step(self, rate: float) -> None:
        self.gradients = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        self.rates.append(rate)


def one_step(model: nn.Module, objective: Any, batches: list[Batch], clip_norm: float = 1e9) -> tuple[StepResult, Any]:
    recorder = Recorder(model)
    steps = train_steps(
        model,
        objective,
        recorder,
        lambda step: batches,
        rate=lambda step: 0.5,
        first_step=1,
        clip_norm=clip_norm,
        guard=Guard(),
        microbatch_split=MicrobatchSplit(),
    )
    return next(steps), recorder.gradients


def join(batches: list[Batch]) -> Batch:
    ids = torch.cat([b.input_ids for b in batches])
    documents = torch.cat([b.attention.document_ids for b in batches])
    starts, start = [], 0
    for batch in batches:
        starts.append(start)
        start += batch.input_ids.numel()
    positions = None
    if batches[0].positions is not None:
        positions = torch.cat([b.positions + s for b, s in zip(batches, starts, strict=True)])  # type: ignore[operator]
    weights = None
    if batches[0].label_weights is not None:
        weights = torch.cat([b.label_weights for b in batches])  # type: ignore[misc]
    return Batch(
        input_ids=ids,
        labels=torch.cat([b.labels for b in batches]),
        positions=positions,
        label_weights=weights,
        attention=Attention(document_ids=documents),
        num_tokens=sum(b.num_tokens for b in batches),
    )


def assert_same(one: tuple[StepResult, Any], two: tuple[StepResult, Any]) -> None:
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, two[1][name], atol=1e-6, rtol=1e-5)
    assert one[0].loss == pytest.approx(two[0].loss, abs=1e-5)
    assert one[0].grad_norm == pytest.approx(two[0].grad_norm, abs=1e-5)
    assert replace(one[0], loss=0.0, grad_norm=0.0) == replace(two[0], loss=0.0, grad_norm=0.0)


def test_accumulating_unequal_label_counts_is_one_batch(make_language_model: Any, draw_masked: Any) -> None:
    model = make_language_model()
    objective = TokenObjective(model, torch.float32, compiled=False)
    parts = [draw_masked(1, 1, seed=0), draw_masked(3, 20, seed=1), draw_masked(2, 5, seed=2)]
    accumulated, whole = one_step(model, objective, parts), one_step(model, objective, [join(parts)])
    assert_same(accumulated, whole)
    assert accumulated[0].num_labels == 26
    assert accumulated[0].num_tokens == 60


@pytest.mark.parametrize("is_weighted", [False, True])
def test_accumulating_weighted_labels_is_one_batch(make_classifier: Any, draw_labelled: Any, is_weighted: bool) -> None:
    model = make_classifier()
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    parts = [draw_labelled(n, seed=n, is_weighted=is_weighted) for n in (1, 5, 2)]
    accumulated, whole = one_step(model, objective, parts), one_step(model, objective, [join(parts)])
    assert_same(accumulated, whole)
    joined = join(parts)
    losses = nn.functional.cross_entropy(objective.logits(joined), joined.labels, reduction="none")
    weights = joined.label_weights if is_weighted else torch.ones(8)
    assert accumulated[0].loss == pytest.approx(float((losses * weights).sum().detach() / weights.sum()), abs=1e-5)
    assert total_weight(parts) == pytest.approx(float(weights.sum()), abs=1e-5)


def test_a_mean_of_means_would_be_wrong_here(make_language_model: Any, draw_masked: Any) -> None:
    model = make_language_model()
    objective = TokenObjective(model, torch.float32, compiled=False)
    parts = [draw_masked(1, 1, seed=0), draw_masked(3, 20, seed=1)]
    whole = one_step(model, objective, [join(parts)])[0].loss
    assert abs(sum(one_step(model, objective, [part])[0].loss for part in parts) / 2 - whole) > 0.01


def test_large_gradients_are_clipped_and_their_full_norm_is_reported(
    make_language_model: Any, draw_masked: Any
) -> None:
    model = make_language_model()
    objective = TokenObjective(model, torch.float32, compiled=False)
    result, gradients = one_step(model, objective, [draw_masked(2, 9)], clip_norm=0.01)
    norm = torch.sqrt(sum((g.square().sum() for g in gradients.values()), torch.tensor(0.0)))
    assert result.grad_norm > 0.1
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_steps_and_rates_follow_each_other(make_language_model: Any, draw_masked: Any, iter_steps: Any) -> None:
    model = make_language_model()
    asked: list[int] = []

    def batches(step: int) -> list[Batch]:
        asked.append(step)
        return [draw_masked(1, 3, seed=step)]

    recorder = Recorder(model)
    steps = iter_steps(
        model,
        TokenObjective(model, torch.float32, compiled=False),
        recorder,
        batches,
        rate=lambda step: step / 10,
        first_step=4,
    )
    found = list(islice(steps, 3))
    assert [result.step for result in found] == asked == [4, 5, 6]
    assert [result.rate for result in found] == recorder.rates == [0.4, 0.5, 0.6]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_update_that_is_not_finite_is_refused(
    make_language_model: Any, draw_masked: Any, kind: str, bad: float, iter_steps: Any
) -> None:
    model = make_language_model()
    optimizer = Optimizer(model, OptimizerConfig(kind=kind, matrix_rate=0.02, other_rate=1e-3, weight_decay=0.1))
    objective = TokenObjective(model, torch.float32, compiled=False)
    factors = {2: bad}

    def broken(batch: Batch) -> Any:
        sums = objective(batch)
        return replace(sums, loss=sums.loss * factors.get(batch.num_tokens, 1.0))

    def batches(step: int) -> list[Batch]:
        return [draw_masked(1, 3, seed=step), replace(draw_masked(1, 3, seed=9), num_tokens=step)]

    steps = iter_steps(model, broken, optimizer, batches)
    assert next(steps).refusal is None
    before = {name: p.clone() for name, p in model.named_parameters()}
    state = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    refused = next(steps)
    assert refused.refusal is not None
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in optimizer.state_tensors().items())
    assert refused.describe_refusal()["step"] == 2
    after = next(steps)
    assert after.refusal is None
    assert all(p.isfinite().all() for p in model.parameters())
    assert not torch.equal(model.lm_head.weight, before["transformer.embed_tokens.weight"])


def test_a_refused_update_leaves_the_means_finite() -> None:
    state = TrainingState()
    state.count(1.0, 0.5, 10, 100)
    state.count(float("nan"), 0.0, 10, 100, is_refused=True)
    state.count(2.0, 1.0, 30, 100)
    assert (state.step, state.tokens) == (3, 300)
    assert state.take_means() == (pytest.approx(1.75), pytest.approx(0.875))
    assert state.take_means() == (None, None)


def test_evaluation_is_per_label_whatever_the_batches(make_language_model: Any, draw_masked: Any) -> None:
    model = make_language_model()
    objective = TokenObjective(model, torch.float32, compiled=False)
    parts = [draw_masked(1, 2, seed=0), draw_masked(3, 20, seed=1)]
    found, whole = evaluate_rows(objective, parts), evaluate_rows(objective, [join(parts)])
    assert (found.loss, found.accuracy, found.count) == (pytest.approx(whole.loss, abs=1e-5), whole.accuracy, 22)
    rows = [row for part in parts for row in part.cut(len(part.input_ids))]
    assert found.row_counts.tolist() == [len(row.labels) for row in rows]
    with torch.no_grad():
        alone = [objective(row) if len(row.labels) else None for row in rows]
    losses = [0.0 if sums is None else float(sums.loss) for sums in alone]
    assert found.row_losses == pytest.approx(losses, abs=1e-4)
    assert found.row_corrects.tolist() == [0 if sums is None else int(sums.correct) for sums in alone]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_evaluation_waits_for_the_device_at_its_end(monkeypatch: pytest.MonkeyPatch, draw_masked: Any) -> None:
    model = LanguageModel(ON_NO_DEVICE).to("meta")
    objective = TokenObjective(model, torch.float32, compiled=False)
    num_read = []

    def read_back(*values: torch.Tensor) -> list[float]:
        num_read.append(len(values))
        return [1.0] * len(values)

    monkeypatch.setattr(loop, "read_back", read_back)
    batches = [draw_masked(2, 5, seed).to("meta") for seed in range(3)]
    assert loop._total(loop._measure(objective, batches, None), None) == (3 / 15, 3 / 15, 15)
    warm_up(objective, batches)
    assert num_read == [3, 3, 3]


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_step_waits_for_the_device_once(
    kind: str, pieces: int, monkeypatch: pytest.MonkeyPatch, draw_masked: Any, iter_steps: Any
) -> None:
    """On meta tensors every read of a value fails, except in the one place that reads them back."""
    model, read = LanguageModel(ON_NO_DEVICE).to("meta"), list[tuple[Tensor, ...]]()

    def read_back(*values: Tensor) -> list[float]:
        read.append(values)
        return [1.0] * len(values)

    monkeypatch.setattr(loop, "read_back", read_back)
    config = OptimizerConfig(kind=kind, matrix_rate=0.1, other_rate=0.1, weight_decay=0.1, precision="bf16")
    steps = iter_steps(
        model,
        TokenObjective(model, torch.bfloat16, compiled=False),
        Optimizer(model, config),
        lambda _: [draw_masked(4, 9, 0), draw_masked(4, 9, 1)],
        microbatch_split=MicrobatchSplit(count=pieces),
    )
    assert [result.refusal for result in islice(steps, 3)] == [None] * 3
    assert [[value.device.type for value in values] for values in read] == [["meta"] * 3] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_the_cpu_waits_for_a_gpu_in_one_place(
    kind: str, monkeypatch: pytest.MonkeyPatch, draw_masked: Any, iter_steps: Any
) -> None:
    """Torch raises an error on any other wait, in steps with prefetched batches; and steps repeat exactly."""
    real = loop.read_back

    def read_back(*values: Tensor) -> list[float]:
        torch.cuda.set_sync_debug_mode("default")
        found = real(*values)
        torch.cuda.set_sync_debug_mode("error")
        return found

    losses = []
    for _ in range(2):
        model = LanguageModel(ON_NO_DEVICE)
        initialize(model, 0)
        model.to("cuda")
        config = OptimizerConfig(kind=kind, matrix_rate=0.02, other_rate=1e-2, weight_decay=0.1, precision="bf16")
        steps = iter_steps(
            model,
            TokenObjective(model, torch.bfloat16, compiled=False),
            Optimizer(model, config),
            feed(lambda step: [draw_masked(4, 9, step), draw_masked(4, 9, -step)], "cuda"),
        )
        next(steps)  # the first one loads kernels
        with monkeypatch.context() as patch:
            patch.setattr(loop, "read_back", read_back)
            torch.cuda.set_sync_debug_mode("error")
            try:
                losses.append([result.loss for result in islice(steps, 20)])
            finally:
                torch.cuda.set_sync_debug_mode("default")
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_a_weighted_step_waits_for_the_device_once(
    monkeypatch: pytest.MonkeyPatch, draw_labelled: Any, iter_steps: Any
) -> None:
    model = SequenceClassifier(ON_NO_DEVICE, 3).to("meta")
    monkeypatch.setattr(loop, "read_back", lambda *values: [1.0] * len(values))
    batch = draw_labelled(5, is_weighted=True)
    steps = iter_steps(
        model,
        TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False),
        Optimizer(model, OptimizerConfig(kind="adamw", matrix_rate=0.1, other_rate=0.1, weight_decay=0.1)),
        lambda _: [batch],
    )
    assert next(steps).num_labels == 5
    assert batch.to("meta").weight == batch.weight == pytest.approx(float(batch.label_weights.sum()))


def test_training_learns(make_language_model: Callable[[], Any], draw_masked: Any, iter_steps: Any) -> None:
    model, batch = make_language_model(), draw_masked(4, 12)
    objective = TokenObjective(model, torch.float32, compiled=False)
    optimizer = Optimizer(model, OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=1e-2, weight_decay=0.0))
    steps = iter_steps(model, objective, optimizer, lambda _: [batch])
    losses = [result.loss for result in islice(steps, 25)]
    assert losses[-1] < 0.2 * losses[0]
