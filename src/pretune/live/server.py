"""The live server: a port on loopback, an address with a token, and an end as soon as it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from pretune.errors import UsageError
from pretune.live.app import LivePage
from pretune.live.follow import RunFollower
from pretune.live.models import ModelsOfRun
from pretune.live.safety import new_token
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import to_json

HOST = "127.0.0.1"
USUAL_PORTS = range(8650, 8660)  # tried first, so that an address and a tunnel stay the same from day to day
SECONDS_TO_END = 1  # for answers that are under way when the server stops


class LiveServer:
    """A server for one run. It listens from the moment it is made; `serve` answers until `stop`."""

    def __init__(self, run: Path, *, port: int | None = None, token: str | None = None) -> None:
        """Raises UsageError if the port cannot be used."""
        self._socket = listen(port)
        self.port: int = self._socket.getsockname()[1]
        self.page = LivePage(RunFollower(run, trace_as_json), ModelsOfRun(run), token or new_token())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = threading.Event()

    @property
    def address(self) -> str:
        """What to open in a browser. The token is in the fragment, which browsers send to nobody."""
        return f"http://{HOST}:{self.port}/#token={self.page.token}"

    def serve(self) -> None:
        """Answer until `stop` is called; in the main thread, Ctrl-C and SIGTERM call it."""
        try:
            asyncio.run(self._serve())
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End `serve` at once, open streams included; callable from any thread."""
        self._is_stopped.set()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self.page.stopping.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._is_stopped.is_set():
            self.page.stopping.set()
        config = uvicorn.Config(
            self.page.app(),
            http="h11",
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
        server = _Server(config)
        with self._stopped_by_signals():
            answering = asyncio.create_task(server.serve(sockets=[self._socket]))
            stopping = asyncio.create_task(self.page.stopping.wait())
            await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            logging.getLogger("uvicorn.error").disabled = True  # it would report the streams that are cut off
            try:
                server.should_exit = True
                await answering
            finally:
                logging.getLogger("uvicorn.error").disabled = False
                stopping.cancel()

    @contextlib.contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
        before = {number: signal.getsignal(number) for number in numbers}
        for number in before:
            signal.signal(number, lambda _number, _frame: self.stop())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals: it would wait for open streams, and raise the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def trace_as_json(run: Path) -> dict[str, Any]:
    """The trace of a run as it is now, as JSON values."""
    content: dict[str, Any] = to_json(build_run_trace(run))
    return content


def listen(port: int | None) -> socket.socket:
    """A socket on loopback: at the given port, or at a free one. Raises UsageError if the port cannot be used."""
    if port is None:
        return next(found for each in (*USUAL_PORTS, 0) if (found := _try_to_listen(each)) is not None)
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is {port}; expected a number up to 65535.")
    try:
        return _listen(port)
    except OSError as error:
        problem = (
            "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({os.strerror(error.errno or 0)})"
        )
        with listen(None) as free:
            other = free.getsockname()[1]
        raise UsageError(f"Port {port} {problem}; give --port {other}, which is free, or omit --port.") from error


def _try_to_listen(port: int) -> socket.socket | None:
    try:
        return _listen(port)
    except OSError:
        return None


def _listen(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port is free again as soon as its server ends
        found.bind((HOST, port))
        found.listen()
    except OSError:
        found.close()
        raise
    return found


def open_in_browser(address: str) -> bool:
    """Open the page in the user's browser, if there is a screen; a text browser would take over the terminal."""
    has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or os.uname().sysname == "Darwin"
    return has_screen and webbrowser.open(address)


def watch(run: Path, *, port: int | None, announce: Callable[[LiveServer], None]) -> bool:
    """Serve the page of a run until Ctrl-C; `announce` is called once, before the first answer.

    Returns whether a text is still being traced, so that a normal end of the process would wait for it.
    """
    server = LiveServer(run, port=port)
    announce(server)
    server.serve()
    return server.page.thread.is_busy
