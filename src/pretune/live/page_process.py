"""The live page beside a run of the same command: started before it, kept after it until Ctrl-C."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_SECONDS_TO_END = 3.0


class PageProcess:
    """The live server in a process of its own; see `pretune.live.child`."""

    def __init__(self, run: Path) -> None:
        self._process = subprocess.Popen(
            # -P: with -m alone, a secrets.py or queue.py in the working folder is imported in place of Python's own.
            [sys.executable, "-P", "-m", "pretune.live.child", str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # None if the server cannot start; its reason is on stderr, and the run goes on without it.
        self.address: str | None = self._process.stdout.readline().strip() or None

    def wait(self) -> None:
        """Return when the server ends, or on Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self._process.wait()

    def stop(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.terminate()  # also if a process that the run started holds the other end of its input
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def page_process(run: Path) -> Iterator[PageProcess]:
    """Within this block, the run's page is live; its server ends with the block, however that ends."""
    page = PageProcess(run)
    try:
        yield page
    finally:
        page.stop()
