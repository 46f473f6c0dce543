"""The one training loop: a generator that makes updates from batches and returns control after each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pretune.compute.device import in_fixed_order
from pretune.data.batch import Batch
from pretune.training.guard import Guard, Refusal
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import LossSum, Objective
from pretune.training.optimizer import Optimizer
from pretune.training.parallel import Parallel, alone


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of one update. `loss` is per label; if there is a `refusal`, the update was skipped."""

    step: int
    loss: float
    accuracy: float
    grad_norm: float
    rate: float
    num_labels: int
    num_tokens: int
    refusal: Refusal | None = None

    def describe_refusal(self) -> dict[str, Any]:
        """The fields of a `skipped_update` event."""
        assert self.refusal is not None
        return {"step": self.step, "reason": self.refusal.reason, "sentence": self.refusal.sentence}


def train_steps(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batches: Callable[[int], Sequence[Batch]],
    *,
    rate: Callable[[int], float],
    first_step: int,
    clip_norm: float,
    guard: Guard,
    microbatch_split: MicrobatchSplit,
    parallel: Parallel | None = None,
) -> Iterator[StepResult]:
    """Update the model step after step, without end; the caller decides when to stop.

    `batches(step)` returns this process's micro-batches of update number `step` (from 1); they are moved to the model's
    device. The gradient is that of the summed loss divided by the labels of the whole step, so dividing a step into
    other micro-batches, or among other processes, changes nothing but rounding (a mean of means is wrong by 15 % for
    masked prediction at four rows). The results are those of the whole step, so all processes agree whether `guard`
    refuses an update, which is then skipped. A single process that runs out of memory repeats the step with a finer
    `microbatch_split`. Raises OutOfResourcesError if a single row is too large, and ShortOfMemoryError if one of
    several processes runs out of memory: all of them use a finer split in the next attempt.
    """
    parallel = parallel or alone(model)
    step = first_step
    while True:
        micro_batches = batches(step)
        counts = [total_weight(micro_batches), *_counts(micro_batches)]
        weight, num_labels, num_tokens = parallel.sum(counts, f"the beginning of step {step:,}")
        sums = accumulate(objective, micro_batches, weight, parallel, microbatch_split)
        found = read_back(*sums, parallel.clip(clip_norm))
        loss, correct, norms = parallel.sum(found, f"the end of step {step:,}")
        # Every process has the norm of the whole gradient; their mean makes it the same number in all of them.
        loss, grad_norm = loss / parallel.gradient_scale, norms / parallel.ranks.size
        refusal = guard.judge(step, loss, grad_norm)
        if refusal is None:
            optimizer.step(rate(step))
        clear_gradients(parallel)
        yield StepResult(
            step=step,
            loss=loss,
            accuracy=correct / num_labels if num_labels else 0.0,
            grad_norm=grad_norm,
            rate=rate(step),
            num_labels=int(num_labels),
            num_tokens=int(num_tokens),
            refusal=refusal,
        )
        step += 1


def accumulate(
    objective: Objective,
    micro_batches: Sequence[Batch],
    weight: float,
    parallel: Parallel,
    microbatch_split: MicrobatchSplit,
) -> tuple[Tensor, Tensor]:
    """This process's loss and number of correct predictions in a step whose labels have this `weight`.

    Its gradient is added to the `grad` of the parameters. A single process splits its batches further if they do not
    fit; several could not agree on it during a pass.
    """
    while True:
        batches = [piece for batch in micro_batches for piece in batch.cut(microbatch_split.count)]
        try:
            sums = []
            for index, batch in enumerate(batches):
                is_last = index == len(batches) - 1
                with parallel.accumulating(is_last=is_last), in_fixed_order(parallel.device):
                    sums.append(backward(objective, batch.to(parallel.device), weight / parallel.gradient_scale))
            losses, corrects = zip(*sums, strict=True)
            return sum(losses[1:], losses[0]), sum(corrects[1:], corrects[0])
        except (RuntimeError, MemoryError) as error:
            microbatch_split.double(micro_batches, error)
            if parallel.ranks.size > 1:
                microbatch_split.leave(parallel.ranks, error)
        clear_gradients(parallel)  # only now: the error references the activations that did not fit


def read_back(*values: Tensor) -> list[float]:
    """Numbers from the device, all at once: the only place in a step where the CPU waits for a GPU."""
    return cast(list[float], torch.stack([value.double() for value in values]).tolist()) if values else []


def clear_gradients(parallel: Parallel) -> None:
    for parameter in parallel.parameters.values():
        parameter.grad = None


def total_weight(micro_batches: Sequence[Batch]) -> float:
    """The labels of some micro-batches, or the sum of their weights: the divisor of their summed loss."""
    return sum(batch.weight for batch in micro_batches)


def _counts(micro_batches: Sequence[Batch]) -> tuple[float, float]:
    """Number of labels and of real tokens in some micro-batches."""
    return (
        float(sum(len(batch.labels) for batch in micro_batches)),
        float(sum(batch.num_tokens for batch in micro_batches)),
    )


def backward(objective: Objective, batch: Batch, weight: float) -> tuple[Tensor, Tensor]:
    """Add one micro-batch to the gradient; returns what it adds to the loss and its number of correct predictions."""
    sums = objective(batch)
    (sums.trained / weight).backward()
    return sums.loss.detach() / weight, sums.correct.detach()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss per label, accuracy and number of labels; and for each row, (R,), its summed losses, its correct predictions
    and its labels."""

    loss: float
    accuracy: float
    count: int
    row_losses: npt.NDArray[np.float64]
    row_corrects: npt.NDArray[np.int64]
    row_counts: npt.NDArray[np.int64]


def warm_up(objective: Objective, batches: Sequence[Batch]) -> None:
    """Compute the losses of some batches, without gradients, and wait for them: what is compiled or allocated for the
    first evaluation is there afterwards."""
    read_back(*(sums.loss for sums in _measure(objective, batches, None).values()))


def evaluate_rows(objective: Objective, batches: Sequence[Batch], parallel: Parallel | None = None) -> Evaluation:
    """Loss per label, accuracy and number of labels over some batches of token predictions, which the processes of
    `parallel` divide among themselves, with the losses, hits and labels of each row, in order."""
    found = _measure(objective, batches, parallel)
    loss, accuracy, count = _total(found, parallel)
    place = 0
    labels = [_count_by_row(batch, None) for batch in batches]
    sums = np.zeros((2, sum(map(len, labels))))  # losses and correct predictions of each row
    for number, (batch, of_row) in enumerate(zip(batches, labels, strict=True)):
        if number in found:
            for total, values in zip(sums, (found[number].losses, found[number].is_correct), strict=True):
                assert values is not None
                total[place : place + len(of_row)] = _count_by_row(batch, values.double().cpu().numpy())
        place += len(of_row)
    if parallel is not None:
        sums = np.array(parallel.sum(sums.ravel().tolist(), "the rows of an evaluation")).reshape(sums.shape)
    return Evaluation(
        loss=loss,
        accuracy=accuracy,
        count=count,
        row_losses=sums[0],
        row_corrects=sums[1].astype(np.int64),
        row_counts=np.concatenate(labels).astype(np.int64),
    )


def _count_by_row(batch: Batch, values: npt.NDArray[np.float64] | None) -> npt.NDArray[Any]:
    """The number of labels of each row, or the sum of their values."""
    assert batch.positions is not None
    num_rows, seq_len = batch.input_ids.shape
    return np.bincount(batch.positions.cpu().numpy() // seq_len, weights=values, minlength=num_rows)


@torch.no_grad()
def _measure(objective: Objective, batches: Sequence[Batch], parallel: Parallel | None) -> dict[int, LossSum]:
    """The sums of this process's batches, by batch number."""
    own = enumerate(batches) if parallel is None else parallel.own(batches)
    return {number: objective(batch) for number, batch in own}


def _total(of_batches: dict[int, LossSum], parallel: Parallel | None) -> tuple[float, float, int]:
    found = list(of_batches.values())
    losses = read_back(*(sums.loss for sums in found))
    corrects = read_back(*(sums.correct for sums in found))
    totals = [0.0, 0.0, 0.0, 0.0]
    for sums, loss, correct in zip(found, losses, corrects, strict=True):
        of_batch = (loss, sums.weight, correct, float(sums.count))
        totals = [total + value for total, value in zip(totals, of_batch, strict=True)]
    if parallel is not None:
        totals = parallel.sum(totals, "an evaluation")
    loss, weight, correct, count = totals
    return loss / weight, correct / count, int(count)
