"""The one training loop: a generator that owns what is easy to get wrong and hands control back after every update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pretune.data.batch import Batch
from pretune.training.objective import Objective
from pretune.training.optimizer import Optimizer
from pretune.training.parallel import Parallel, alone


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one update did. `loss` is per label; `is_skipped` where the update was refused as not finite."""

    step: int
    loss: float
    accuracy: float
    grad_norm: float
    rate: float
    num_labels: int
    num_tokens: int
    is_skipped: bool

    def describe_skip(self) -> dict[str, Any]:
        """The fields of a `skipped_update` event."""
        sentence = f"The gradient of step {self.step:,} was not finite, so the weights were left as they were."
        return {"step": self.step, "reason": "not finite", "sentence": sentence}


def train_steps(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batches: Callable[[int], Sequence[Batch]],
    *,
    rate: Callable[[int], float],
    first_step: int,
    clip_norm: float,
    parallel: Parallel | None = None,
) -> Iterator[StepResult]:
    """Update the model step after step, without end; the caller decides when to stop.

    `batches(step)` gives the micro-batches of update number `step` (from 1), of which each process of `parallel` does
    its own. The gradient is that of the summed loss divided by the labels of all of them, so cutting a step into other
    micro-batches, or among other processes, changes nothing but rounding (a mean of means is wrong by 15 % for masked
    prediction at four rows). An update that is not finite is refused. The results are those of the whole step.
    """
    parallel = parallel or alone(model)
    step = first_step
    while True:
        micro_batches = batches(step)
        counts = [total_weight(micro_batches), *_counts(micro_batches)]
        weight, num_labels, num_tokens = parallel.sum(counts, f"the beginning of step {step:,}")
        sums = []
        for index, batch in enumerate(micro_batches):
            with parallel.accumulating(is_last=index == len(micro_batches) - 1):
                sums.append(backward(objective, batch, weight / parallel.gradient_scale))
        grad_norm = parallel.clip(clip_norm)
        is_finite = grad_norm == grad_norm and grad_norm != float("inf")
        if is_finite:
            optimizer.step(rate(step))
        for parameter in parallel.parameters.values():
            parameter.grad = None
        loss, correct = parallel.sum([float(sum(v)) for v in zip(*sums, strict=True)], f"the end of step {step:,}")
        yield StepResult(
            step=step,
            loss=loss / parallel.gradient_scale,
            accuracy=correct / num_labels,
            grad_norm=grad_norm,
            rate=rate(step),
            num_labels=int(num_labels),
            num_tokens=int(num_tokens),
            is_skipped=not is_finite,
        )
        step += 1


def total_weight(micro_batches: Sequence[Batch]) -> float:
    """The labels of a whole step: what its summed loss is divided by."""
    return sum(
        float(len(batch.labels)) if batch.label_weights is None else float(batch.label_weights.sum())
        for batch in micro_batches
    )


def _counts(micro_batches: Sequence[Batch]) -> tuple[float, float]:
    """Labels and real tokens of some micro-batches."""
    return (
        float(sum(len(batch.labels) for batch in micro_batches)),
        float(sum(batch.num_tokens for batch in micro_batches)),
    )


def backward(objective: Objective, batch: Batch, weight: float) -> tuple[Tensor, Tensor]:
    """Add one micro-batch's share to the gradient; returns its share of the loss and its number of right answers."""
    sums = objective(batch)
    loss = sums.loss / weight
    loss.backward()
    return loss.detach(), sums.correct.detach()


@torch.no_grad()
def evaluate(
    objective: Objective, batches: Sequence[Batch], parallel: Parallel | None = None
) -> tuple[float, float, int]:
    """Loss per label, share of right answers, and number of labels, over batches that never change; the processes of
    `parallel` share them."""
    loss, weight, correct, count = 0.0, 0.0, 0, 0
    for batch, is_counted in parallel.deal(batches) if parallel else ((batch, True) for batch in batches):
        sums = objective(batch)
        if is_counted:
            loss, weight = loss + float(sums.loss), weight + sums.weight
            correct, count = correct + int(sums.correct), count + sums.count
    if parallel is not None:
        loss, weight, *counts = parallel.sum([loss, weight, float(correct), float(count)], "an evaluation")
        correct, count = map(int, counts)
    return loss / weight, correct / count, count
