"""Lanes: threads that each compute a part of the work from end to end, instead of all sharing every small operation.

An operation on the few hundred tokens of a short batch takes some ten microseconds, about what it costs to wake a
second thread for it. With a lane for half of the rows there is one such meeting in a step, not a thousand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes:
    """`count` threads that divide the machine's threads among themselves; with one lane the caller's own thread."""

    def __init__(self, count: int, threads: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lane") if count > 1 else None
        if self._pool is not None:
            all_there, of_caller = threading.Barrier(count), torch.get_num_threads()
            per_lane = max(1, threads // count)
            for begun in [self._pool.submit(_begin_lane, all_there, per_lane) for _ in range(count)]:
                begun.result()
            torch.set_num_threads(of_caller)  # a lane's number would be that of threads still to come, too

    def map(self, do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`do` of every item, in their order; gradients are recorded in a lane where they are in the caller.

        Raises the error of the first item that has one, but not before every lane has come to rest: what failed for
        want of memory is tried again, and then all of it must be there.
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


def _begin_lane(all_there: threading.Barrier, threads: int) -> None:
    torch.get_num_threads()  # a thread's first look takes over the number of all, so it must come before
    torch.set_num_threads(threads)  # for this thread
    all_there.wait()


def lanes_for(device: str) -> Lanes:
    """Two lanes where the processor computes with at least two threads, else one: a GPU has its own."""
    threads = torch.get_num_threads()
    return _lanes(2 if device == "cpu" and threads > 1 else 1, threads)


@cache
def _lanes(count: int, threads: int) -> Lanes:
    return Lanes(count, threads)


def _begin_again_in_child() -> None:
    """After a fork only the thread that forked lives on: the lanes are made again, and torch keeps to this thread."""
    _lanes.cache_clear()
    torch.set_num_threads(1)  # the other threads of its own pool are gone, too, and it would wait for them


os.register_at_fork(after_in_child=_begin_again_in_child)
