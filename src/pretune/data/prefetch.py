"""Batches made one step ahead in a thread, so that a GPU does not wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pretune.data.batch import Batch

Batches = Callable[[int], Sequence[Batch]]


def feed(batches: Batches, device: str) -> Batches:
    """The same batches: for a GPU made one step ahead, in pinned memory; unchanged for a CPU, which has no idle
    cores while it trains."""
    return Prefetcher(batches, device) if device == "cuda" else batches


class Prefetcher:
    """A thread makes the batches of the next step during the present one.

    `batches` must be a function of the step alone while this object is used: prefetched batches are not made again.
    """

    def __init__(self, batches: Batches, device: str) -> None:
        self._batches, self._device = batches, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch", initializer=_use_gpu_of(device))
        self._step: int | None = None
        self._made: Future[list[Batch]] | None = None

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step; starts making those of the next. Raises any error of making them."""
        if self._made is None or self._step != step:
            self._made = self._pool.submit(self._make, step)  # after any prefetched step: one at a time
        found = self._made.result()
        self._step, self._made = step + 1, self._pool.submit(self._make, step + 1)
        return found

    def _make(self, step: int) -> list[Batch]:
        return [batch.ready_for(self._device) for batch in self._batches(step)]


def _use_gpu_of(device: str) -> Callable[[], None]:
    """An initializer that makes a new thread use this thread's GPU; by default each thread uses the first."""
    if device != "cuda" or not torch.cuda.is_available():
        return lambda: None
    number = torch.cuda.current_device()
    return lambda: torch.cuda.set_device(number)
