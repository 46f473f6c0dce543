"""Batches made one step ahead by a thread, so that a GPU does not wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pretune.data.batch import Batch

Batches = Callable[[int], Sequence[Batch]]


def feed(batches: Batches, device: str) -> Batches:
    """The same batches: for a GPU made a step ahead, in pinned memory; as they are where the processor trains, whose
    cores have no time to spare."""
    return Prefetcher(batches, device) if device == "cuda" else batches


class Prefetcher:
    """While one step is computed, a thread makes the batches of the next.

    `batches` must be a function of the step alone for as long as this is asked: what is ahead is not made again.
    """

    def __init__(self, batches: Batches, device: str) -> None:
        self._batches, self._device = batches, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead", initializer=_use_gpu_of(device))
        self._step: int | None = None
        self._made: Future[list[Batch]] | None = None

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step, and the order to make those of the next. Raises what making them raised."""
        if self._made is None or self._step != step:
            self._made = self._pool.submit(self._make, step)  # after what is ahead: one at a time
        found = self._made.result()
        self._step, self._made = step + 1, self._pool.submit(self._make, step + 1)
        return found

    def _make(self, step: int) -> list[Batch]:
        return [batch.ready_for(self._device) for batch in self._batches(step)]


def _use_gpu_of(device: str) -> Callable[[], None]:
    """What makes a new thread use the same GPU as the present one: each thread begins with the first."""
    if device != "cuda" or not torch.cuda.is_available():
        return lambda: None
    number = torch.cuda.current_device()
    return lambda: torch.cuda.set_device(number)
