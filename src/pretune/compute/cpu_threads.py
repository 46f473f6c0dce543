"""Lanes: threads that each compute some of the rows from end to end, instead of all working on every small operation.

An operation on the few hundred tokens of a short batch takes some ten microseconds, about as long as waking a second
thread for it. With two lanes of half the rows each, the threads synchronize once per step, not a thousand times.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes:
    """`count` threads that divide `threads` compute threads among themselves; a single lane is the caller's thread."""

    def __init__(self, count: int, threads: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lane") if count > 1 else None
        if self._pool is not None:
            barrier, callers_threads = threading.Barrier(count), torch.get_num_threads()
            per_lane = max(1, threads // count)
            for begun in [self._pool.submit(_begin_lane, barrier, per_lane) for _ in range(count)]:
                begun.result()
            torch.set_num_threads(callers_threads)  # else later threads would start with a lane's number

    def map(self, do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of `do` for every item, in order; lanes record gradients if the caller does.

        Raises the error of the first item that failed, but only after every lane has finished: work that ran out of
        memory is tried again, and by then the lanes must have freed theirs.
        """
        if self._pool is None:
            return [do(item) for item in items]
        is_recording, is_inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def in_lane(item: Item) -> Result:
            with torch.inference_mode(is_inference), torch.set_grad_enabled(is_recording):
                return do(item)

        begun = [self._pool.submit(in_lane, item) for item in items]
        try:
            return [each.result() for each in begun]
        finally:
            for each in begun:
                each.cancel()
            wait(begun)


def _begin_lane(barrier: threading.Barrier, threads: int) -> None:
    torch.get_num_threads()  # a thread's first call copies the global number, so it must come first
    torch.set_num_threads(threads)  # of this thread
    barrier.wait()


def lanes_for(device: str) -> Lanes:
    """Two lanes on a CPU with at least two threads, otherwise one: a GPU has its own parallelism."""
    threads = torch.get_num_threads()
    return _lanes(2 if device == "cpu" and threads > 1 else 1, threads)


@cache
def _lanes(count: int, threads: int) -> Lanes:
    return Lanes(count, threads)


@contextmanager
def single_thread(is_wanted: bool = True) -> Iterator[None]:
    """Compute in the caller's thread alone, if wanted: for operations that take about as long as waking another."""
    threads = torch.get_num_threads()
    if not is_wanted or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _begin_again_in_child() -> None:
    """Only the forking thread survives a fork, so the lanes are created again and torch is limited to this thread."""
    _lanes.cache_clear()
    torch.set_num_threads(1)  # it would wait for the threads of its own pool, which are gone too


os.register_at_fork(after_in_child=_begin_again_in_child)
