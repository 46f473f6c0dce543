"""A real terminal, which is a pty, with a program in it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest


class Terminal:
    """The user's end of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.seen = descriptor, ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until a text has come, forget all up to its end, and return what came before it."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.descriptor], [], [], 0.2)[0]:
                self.seen += os.read(self.descriptor, 4096).decode()
        before, _, self.seen = self.seen.partition(text)
        return before


OpenTerminal = Callable[[Sequence[str]], AbstractContextManager[Terminal]]


@contextmanager
def terminal(command: Sequence[str]) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def open_terminal() -> OpenTerminal:
    """Run a command in a terminal."""
    return terminal
