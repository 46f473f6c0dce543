"""From what a user types, pastes or pipes to whole messages: a pasted text of several lines is one message."""

from __future__ import annotations

import select
import sys
from typing import TextIO

BLOCK = '"""'  # a line that begins with it opens a block of lines, and the next one that ends with it closes the block
_PASTED_SECONDS = 0.05  # lines that follow within this time were pasted, and not typed
PROMPT, PROMPT_IN_BLOCK = "> ", "... "


class MessageReader:
    """Reads messages from a terminal, with line editing, or line by line from a pipe.

    Three ways lead to a message of several lines: a terminal that marks pasted text (bracketed paste, which GNU
    readline reads), any other terminal by the speed at which the lines arrive, and a block between two lines of three
    quotation marks, which also works in a pipe. Raises KeyboardInterrupt for Ctrl-C.
    """

    def __init__(self, stream: TextIO, *, prompt_to: TextIO | None = None) -> None:
        """`prompt_to` gets the prompt if the stream is a terminal; without it, the prompt goes where Python's `input`
        writes it, and lines can be edited."""
        self.stream, self.prompt_to = stream, prompt_to
        self.is_terminal = stream.isatty()
        if self.is_terminal and prompt_to is None:
            _load_line_editing()

    def read(self) -> str | None:
        """The next message without blanks around it, which may be empty; None at the end of the input."""
        line = self._read_line(PROMPT)
        if line is None:
            return None
        if line.lstrip().startswith(BLOCK):
            return self._read_block(line.lstrip().removeprefix(BLOCK))
        lines = [line]
        while self.is_terminal and self._has_more():
            following = self._read_line("")
            if following is None:
                break
            lines.append(following)
        return "\n".join(lines).strip()

    def _read_block(self, first: str) -> str:
        """The lines up to the one that ends with the quotation marks, or up to the end of the input."""
        lines, line = [], first
        while not line.rstrip().endswith(BLOCK):
            lines.append(line)
            following = self._read_line(PROMPT_IN_BLOCK)
            if following is None:
                return "\n".join(lines).strip()
            line = following
        lines.append(line.rstrip().removesuffix(BLOCK))
        return "\n".join(lines).strip()

    def _read_line(self, prompt: str) -> str | None:
        if self.is_terminal and self.prompt_to is None:
            try:
                return input(prompt)
            except EOFError:
                return None
        if self.is_terminal and self.prompt_to is not None:
            self.prompt_to.write(prompt)
            self.prompt_to.flush()
        line = self.stream.readline()
        return line.rstrip("\r\n") if line else None

    def _has_more(self) -> bool:
        try:
            return bool(select.select([self.stream], [], [], _PASTED_SECONDS)[0])
        except (OSError, ValueError):  # a stream without a descriptor
            return False


def _load_line_editing() -> None:
    """Let `input` edit lines and, with GNU readline, take a pasted text as one line. Python may be built without."""
    try:
        import readline
    except ImportError:
        return
    readline.set_auto_history(True)
    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind("set enable-bracketed-paste on")


def reader_of_stdin(*, is_prompt_on_stderr: bool) -> MessageReader:
    """The reader of standard input; the prompt goes to standard error if standard output is for results alone."""
    return MessageReader(sys.stdin, prompt_to=sys.stderr if is_prompt_on_stderr else None)
