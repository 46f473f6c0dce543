"""Messages as they are typed, pasted and piped; a real terminal is a pty."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pretune.cli.message_reader import MessageReader

PASTE = "\x1b[200~first line\nsecond line\n\nlast line\x1b[201~"
ECHO = """
import fcntl, json, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C in the terminal reaches this process
from pretune.cli.message_reader import reader_of_stdin
if {without_readline}:
    sys.modules["readline"] = None
reader = reader_of_stdin(is_prompt_on_stderr=False)
while True:
    try:
        message = reader.read()
    except KeyboardInterrupt:
        message = "CTRL-C"
    print("GOT" + json.dumps(message) + "END", flush=True)
    if message is None:
        break
"""


def read_all(text: str) -> list[str | None]:
    reader = MessageReader(io.StringIO(text))
    messages: list[str | None] = []
    while (message := reader.read()) is not None:
        messages.append(message)
    return messages


def test_a_pipe_has_a_message_on_each_line() -> None:
    assert read_all("Hello \r\n\nI cough.") == ["Hello", "", "I cough."]


@pytest.mark.parametrize(
    "text", ['"""\nI cough.\n\nAt night.\n"""\n', '"""I cough.\n\nAt night."""\n', '  """ I cough.\n\nAt night.']
)
def test_a_block_is_one_message(text: str) -> None:
    assert read_all(text) == ["I cough.\n\nAt night."]


def test_what_follows_a_block_is_the_next_message() -> None:
    assert read_all('"""\na\n"""\nb\n""" c """\n') == ["a", "b", "c"]


class Terminal:
    """The user's end of a terminal in which the reader runs."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.seen = descriptor, ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.descriptor], [], [], 0.2)[0]:
                self.seen += os.read(self.descriptor, 4096).decode()

    def next_message(self) -> str | None:
        self.wait_for("END")
        got, _, self.seen = self.seen.partition("GOT")[2].partition("END")
        message: str | None = json.loads(got)
        return message


@contextmanager
def terminal(*, without_readline: bool) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO.format(without_readline=without_readline)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    try:
        found = Terminal(ours)
        found.wait_for("> ")
        yield found
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_bracketed_paste_is_one_message() -> None:
    with terminal(without_readline=False) as found:
        found.type(PASTE + "\r")
        assert found.next_message() == "first line\nsecond line\n\nlast line"
        found.type("typed\r")
        assert found.next_message() == "typed"


def test_lines_that_arrive_at_once_are_one_message_without_readline() -> None:
    with terminal(without_readline=True) as found:
        found.type("first line\nsecond line\n\nlast line\n")
        assert found.next_message() == "first line\nsecond line\n\nlast line"
        found.type("typed\n")
        assert found.next_message() == "typed"
        found.type('"""\n')
        found.wait_for("... ")
        found.type("a\n")
        found.wait_for("a\r\n... ")
        found.type('"""\n')
        assert found.next_message() == "a"


def test_ctrl_c_and_ctrl_d_at_the_prompt() -> None:
    with terminal(without_readline=False) as found:
        found.type("half a mess")
        found.wait_for("half a mess")
        time.sleep(0.1)  # a signal that arrives while the line is drawn is noticed with the next key only
        found.type("\x03")
        assert found.next_message() == "CTRL-C"
        found.wait_for("> ")
        found.type("\x04")
        assert found.next_message() is None
