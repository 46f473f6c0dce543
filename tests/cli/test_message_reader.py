"""Messages as they are typed, pasted and piped; a real terminal is a pty."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

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


@pytest.fixture
def echo(open_terminal: Any) -> Callable[[bool], AbstractContextManager[Any]]:
    """The reader in a terminal, which prints what it reads."""

    @contextmanager
    def opened(has_readline: bool) -> Iterator[Any]:
        with open_terminal([sys.executable, "-c", ECHO.format(without_readline=not has_readline)]) as terminal:
            terminal.wait_for("> ")
            yield terminal

    return opened


def next_message(terminal: Any) -> str | None:
    message: str | None = json.loads(terminal.wait_for("END").partition("GOT")[2])
    return message


def test_bracketed_paste_is_one_message(echo: Any) -> None:
    readline = pytest.importorskip("readline")
    if "libedit" in (readline.__doc__ or ""):
        pytest.skip("libedit, which is readline here, does not read bracketed paste")
    with echo(True) as found:
        found.type(PASTE + "\r")
        assert next_message(found) == "first line\nsecond line\n\nlast line"
        found.type("typed\r")
        assert next_message(found) == "typed"


def test_lines_that_arrive_at_once_are_one_message_without_readline(echo: Any) -> None:
    with echo(False) as found:
        found.type("first line\nsecond line\n\nlast line\n")
        assert next_message(found) == "first line\nsecond line\n\nlast line"
        found.type("typed\n")
        assert next_message(found) == "typed"
        found.type('"""\n')
        found.wait_for("... ")
        found.type("a\n")
        found.wait_for("a\r\n... ")
        found.type('"""\n')
        assert next_message(found) == "a"


def test_ctrl_c_and_ctrl_d_at_the_prompt(echo: Any) -> None:
    with echo(True) as found:
        found.type("half a mess")
        found.wait_for("half a mess")
        assert found.press_ctrl_c("END").partition("GOT")[2] == '"CTRL-C"'
        found.wait_for("> ")
        found.type("\x04")
        assert next_message(found) is None
