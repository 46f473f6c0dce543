"""Where a GPU stands idle between the operations of an update: marks in its stream, read when all is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pretune.compute.ranks import Ranks
from pretune.data.batch import Batch
from pretune.data.prefetch import feed
from pretune.model.transformer import LanguageModel
from pretune.runtime.launch import Launch
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import LossSum, TokenObjective
from pretune.training.optimizer import Optimizer
from pretune.training.parallel import Parallel


class Marks:
    """Moments of a GPU's stream, by name; on a processor, of the clock.

    A GPU passes a mark when all that was asked before is done, so the time from one mark to the next, with nothing
    asked for in between, is time in which it stood idle.
    """

    def __init__(self, device: str) -> None:
        self.is_gpu = device == "cuda"
        self._set: list[tuple[str, torch.cuda.Event | float]] = []

    def set(self, name: str) -> None:
        if not self.is_gpu:
            self._set.append((name, time.perf_counter()))
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._set.append((name, event))

    def forget(self) -> None:
        self._set = []

    def wait(self) -> None:
        """Until the GPU has done all that was asked for."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def shares(self, elapsed: float) -> dict[str, float]:
        """Of `elapsed` seconds: what passed from each update to the first operation of the next (the feed), and from
        each gradient to its update (the verdict). `wait` comes before."""
        found = {"feed_share": 0.0, "verdict_share": 0.0}
        pairs = {("updated", "begun"): "feed_share", ("gradient", "judged"): "verdict_share"}
        for (before, start), (after, end) in zip(self._set, self._set[1:], strict=False):
            if name := pairs.get((before, after)):
                found[name] += _seconds(start, end) / elapsed
        return found


def _seconds(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float) and isinstance(end, float)
        return end - start
    return float(start.elapsed_time(end)) / 1000


class _Marked(Parallel):
    """A process that is alone, with a mark where its gradient is there."""

    def __init__(self, model: LanguageModel, marks: Marks) -> None:
        super().__init__(model, Ranks(Launch()))
        self.marks = marks

    def clip(self, max_norm: float) -> Tensor:
        norm = super().clip(max_norm)
        self.marks.set("gradient")
        return norm


def marked_steps(
    model: LanguageModel,
    objective: TokenObjective,
    optimizer: Optimizer,
    batches: Callable[[int], Sequence[Batch]],
    marks: Marks,
) -> Iterator[StepResult]:
    """The product's own steps, with marks where one begins, has its gradient, is judged and is made."""
    update, device = optimizer.step, next(model.parameters()).device.type
    is_begun = False

    def marked_objective(batch: Batch) -> LossSum:
        nonlocal is_begun
        if not is_begun:
            marks.set("begun")
            is_begun = True
        return objective(batch)

    def marked_update(rate: float) -> None:
        nonlocal is_begun
        marks.set("judged")
        update(rate)
        marks.set("updated")
        is_begun = False

    optimizer.step = marked_update  # type: ignore[method-assign]
    return train_steps(
        model,
        marked_objective,
        optimizer,
        feed(batches, device),
        rate=lambda step: min(1.0, step / 50),
        first_step=1,
        clip_norm=1.0,
        guard=Guard(),
        microbatch_split=MicrobatchSplit(),
        parallel=_Marked(model, marks),
    )


def busy_seconds(steps: Iterator[StepResult], count: int, device: str) -> dict[str, float]:
    """Seconds of an update that each operation takes where it computes, the longest first."""
    activities = {ProfilerActivity.CPU, ProfilerActivity.CUDA} if device == "cuda" else {ProfilerActivity.CPU}
    with profile(activities=activities) as recorded:
        for _ in range(count):
            next(steps)
        if device == "cuda":
            torch.cuda.synchronize()
    kind = DeviceType.CUDA if device == "cuda" else DeviceType.CPU
    found = {
        each.key: (each.self_device_time_total if device == "cuda" else each.self_cpu_time_total) / 1e6 / count
        for each in recorded.key_averages()
        if each.device_type == kind and not each.is_user_annotation  # which spans operations that count already
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))
