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
        assert self._reads(text, seconds=60), self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def press_ctrl_c(self, answer: str) -> str:
        """Type Ctrl-C at a prompt and wait for the answer. A signal that arrives while readline draws the line is
        noticed with the next signal only, and the two count as one: so where nothing comes of it, it is typed again."""
        for _ in range(6):
            time.sleep(0.1)  # by then the line has been drawn, unless the machine is busy
            self.type("\x03")
            if self._reads(answer, seconds=5):
                break
        return self.wait_for(answer)

    def _reads(self, text: str, *, seconds: float) -> bool:
        """Whether a text comes within some seconds."""
        deadline = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < deadline:
            if select.select([self.descriptor], [], [], 0.2)[0]:
                self.seen += os.read(self.descriptor, 4096).decode()
        return text in self.seen


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
