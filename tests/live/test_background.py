"""Work is done in its order, its errors are raised where it was asked for, and nobody waits for it at the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pretune.live.background import BackgroundThread


def test_work_is_done_in_order_by_one_thread() -> None:
    thread = BackgroundThread("test")
    names: list[tuple[int, str]] = []

    async def ask() -> list[int]:
        def work(number: int) -> int:
            names.append((number, threading.current_thread().name))
            return number

        return await asyncio.gather(*(thread.do(lambda number=number: work(number)) for number in range(5)))

    assert asyncio.run(ask()) == list(range(5))
    assert names == [(number, "test") for number in range(5)]


def test_an_error_is_raised_where_it_was_asked_for() -> None:
    thread = BackgroundThread("test")

    async def ask() -> int:
        with pytest.raises(ZeroDivisionError):
            await thread.do(lambda: 1 // 0)
        return await thread.do(lambda: 1)

    assert asyncio.run(ask()) == 1


def test_nobody_waits_for_work_at_the_end() -> None:
    thread = BackgroundThread("test")
    may_end, has_begun = threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        may_end.wait(60)

    async def ask() -> None:
        asking = asyncio.create_task(thread.do(work))
        while not has_begun.is_set():
            await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(ask())  # returns while the work goes on
    assert thread.is_busy
    may_end.set()


def test_work_whose_asker_is_gone_is_left_out() -> None:
    thread = BackgroundThread("test")
    may_go_on, done = threading.Event(), []

    async def ask() -> None:
        first = asyncio.create_task(thread.do(lambda: may_go_on.wait(60)))
        second = asyncio.create_task(thread.do(lambda: done.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        may_go_on.set()
        await first
        await thread.do(lambda: done.append("third"))

    asyncio.run(ask())
    assert done == ["third"]
