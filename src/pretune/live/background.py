"""Work beside the event loop of the server, in a thread that does not keep the process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class BackgroundThread:
    """One thread that does one piece of work after another.

    It is a daemon, unlike those of asyncio's executor, for whose work the end of a program waits: Ctrl-C must end the
    server while a long text is being traced. One thread for all work also keeps torch's team of threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_busy = False

    async def do(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, after the work that was given before; its exception is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def deliver(result: Any, error: BaseException | None) -> None:
            if future.done():
                return  # the request was cancelled: its browser is gone
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def run() -> None:
            result, error = None, None
            if future.cancelled():
                return
            try:
                result = work()
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(deliver, result, error)
            except RuntimeError:
                return  # the server has ended meanwhile

        self._start()
        self._work.put(run)
        return await future

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while True:
            run = self._work.get()
            self.is_busy = True
            run()
            self.is_busy = False
