"""One model trained by several processes (DDP): each has a full copy and computes its slice of every step's rows.

The gradient, its norm and the counts are those of the whole step, so a step is the same for any number of processes up
to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from pretune.compute.ranks import ALONE, Ranks
from pretune.data.batch import Batch
from pretune.training.objective import LossSum, Objective

# The fields of a LossSum, in a form that DDP hooks accept.
Parts = tuple[Tensor, float, Tensor, int, Tensor | None, Tensor | None, Tensor | None]


class Parallel:
    """The exchange between the processes, `ranks`, that train a model; there may be only one."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self.model, self.ranks = model, ranks
        self.parameters = dict(model.named_parameters())
        self.gradient_scale = ranks.size  # DDP averages gradients over the processes; a step needs their sum
        self._ddp: nn.parallel.DistributedDataParallel | None = None

    def wrap(self, objective: Objective) -> Objective:
        """The objective with the hooks that exchange gradients between the processes."""
        if self.ranks.size == 1:
            return objective
        self._ddp = nn.parallel.DistributedDataParallel(
            _Sums(self.model, objective),
            device_ids=[self.ranks.local_rank] if self.device == "cuda" else None,
            gradient_as_bucket_view=True,
            broadcast_buffers=False,  # buffers do not change, and processes evaluate unequal numbers of batches
        )
        ddp = self._ddp

        def wrapped(batch: Batch) -> LossSum:
            loss, weight, correct, count, losses, is_correct, second = ddp(batch)
            return LossSum(
                loss=loss,
                weight=weight,
                correct=correct,
                count=count,
                losses=losses,
                is_correct=is_correct,
                second=second,
            )

        return wrapped

    def accumulating(self, *, is_last: bool) -> AbstractContextManager[None]:
        """A context for the passes of one micro-batch: gradients are exchanged after the last one of a step only."""
        if self._ddp is not None and not is_last:
            return self._ddp.no_sync()
        return nullcontext()

    @property
    def device(self) -> str:
        """The type of the device that the parameters are on."""
        return next(iter(self.parameters.values())).device.type

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradient to at most this norm; returns the norm before."""
        return nn.utils.clip_grad_norm_(self.parameters.values(), max_norm)

    def sum(self, values: Sequence[float], place: str) -> list[float]:
        """Each value summed over all processes."""
        return self.ranks.sum(values, place)

    def own(self, batches: Sequence[Batch]) -> Iterator[tuple[int, Batch]]:
        """The batches that this process evaluates, with their numbers."""
        for number in range(self.ranks.rank, len(batches), self.ranks.size):
            yield number, batches[number]

    def spread(self, write: Callable[[nn.Module], None]) -> None:
        """Call `write` on the model in the first process only, then copy its weights to all processes."""
        if self.ranks.is_first:
            write(self.model)
        self.spread_tensors(self.parameters)

    @torch.no_grad()
    def spread_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the first process's values of these tensors to every process."""
        if self.ranks.size == 1:
            return
        for tensor in tensors.values():
            tensor.copy_(self.ranks.broadcast(tensor.detach().cpu().clone()))


def alone(model: nn.Module) -> Parallel:
    """A model trained by this process alone."""
    return Parallel(model, ALONE)


class _Sums(nn.Module):
    """An objective as a module, as DDP requires."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Parts:
        sums = self.objective(batch)
        return sums.loss, sums.weight, sums.correct, sums.count, sums.losses, sums.is_correct, sums.second
