"""An objective that computes the parts of a batch at the same time, forward and backward, each in a CPU lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pretune.compute.cpu_threads import Lanes, lanes_for
from pretune.compute.device import Compute
from pretune.data.batch import Batch
from pretune.training.objective import LossSum, Objective


def in_lanes(objective: Objective, model: nn.Module, compute: Compute) -> Objective:
    """`objective` in as many lanes as the device has. It is returned unchanged if it is compiled, since compiled code
    uses all threads by itself, or if there are several processes, which exchange gradients during a backward pass."""
    if compute.is_compiled or compute.processes > 1:
        return objective
    return ThreadedObjective(objective, model, lanes_for(compute.device))


class ThreadedObjective:
    """The same sums and gradients as `objective`, up to rounding, with a part of the rows in every lane.

    Gradients are added in the order of the parts, so it does not matter which lane finishes first.
    """

    def __init__(self, objective: Objective, model: nn.Module, lanes: Lanes) -> None:
        self.objective, self.lanes = objective, lanes
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self, batch: Batch) -> LossSum:
        batches = batch.cut(self.lanes.count)
        if len(batches) == 1:
            return self.objective(batch)
        if not torch.is_grad_enabled():
            return _add([_Part(sums=sums, gradients=()) for sums in self.lanes.map(self.objective, batches)])
        parts = self.lanes.map(self._differentiate, batches)
        added = _add(parts)
        loss: Tensor = _WithGradients.apply(added.loss, [part.gradients for part in parts], *self.parameters)
        return LossSum(loss=loss, weight=added.weight, correct=added.correct, count=added.count)

    def _differentiate(self, batch: Batch) -> _Part:
        sums = self.objective(batch)
        gradients = torch.autograd.grad(sums.trained, self.parameters)
        sums = LossSum(loss=sums.loss.detach(), weight=sums.weight, correct=sums.correct, count=sums.count)
        return _Part(sums=sums, gradients=gradients)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The result of one lane: sums over its rows, and their gradient by parameter."""

    sums: LossSum
    gradients: Sequence[Tensor]


def _add(parts: Sequence[_Part]) -> LossSum:
    sums = [part.sums for part in parts]
    losses = [each.losses for each in sums if each.losses is not None]
    is_correct = [each.is_correct for each in sums if each.is_correct is not None]
    return LossSum(
        loss=torch.stack([each.loss for each in sums]).sum(),
        weight=sum(each.weight for each in sums),
        correct=torch.stack([each.correct for each in sums]).sum(),
        count=sum(each.count for each in sums),
        losses=torch.cat(losses) if losses else None,
        is_correct=torch.cat(is_correct) if is_correct else None,
    )


class _WithGradients(torch.autograd.Function):
    """A loss whose gradients are already known: the backward pass adds those of the parts and scales them."""

    @staticmethod
    def forward(context: Any, loss: Tensor, gradients: list[Sequence[Tensor]], *_parameters: Tensor) -> Tensor:
        context.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(context: Any, *scales: Tensor) -> Any:
        (first, *others), context.gradients = (
            context.gradients,
            None,
        )  # dropped here, so that they become `.grad` without a copy
        for total, *more in zip(first, *others, strict=True):
            for gradient in more:
                total.add_(gradient)
            total.mul_(scales[0])
        return None, None, *first
