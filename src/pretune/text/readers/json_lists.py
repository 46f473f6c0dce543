"""The elements of a JSON list one at a time, with the lines they begin on; the list is never in memory as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pretune.errors import InputDataError
from pretune.text.reading_report import shorten

LONGEST_ELEMENT = 1 << 24  # characters
_LIST = re.compile(r'\s*\[\s*["{]')
_LIST_OF_OBJECTS = re.compile(r'\s*\[\s*\{\s*"')
_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER = (" ", "\t", "\n", "\r", ",", "]")
_DECODER = json.JSONDecoder()


def begins_list(head: str) -> bool:
    """Whether a text begins as a JSON list of objects or strings does."""
    return _LIST.match(head) is not None


def begins_list_of_objects(head: str) -> bool:
    """Whether a text begins as a JSON list of objects does."""
    return _LIST_OF_OBJECTS.match(head) is not None


def iter_list(blocks: Iterable[str], name: str) -> Iterator[tuple[int, Any]]:
    """The elements of a list with their lines, counted from 1.

    Raises InputDataError if the text is not a list or stops being one, and for an element of more than 16 million
    characters: without its end, the beginning of the next one is unknown.
    """
    reader = _Reader(blocks, name)
    reader.expect("[")
    if reader.next_is("]"):
        return
    while True:
        line = reader.line
        yield line, reader.value()
        if not reader.next_is(","):
            break
    reader.expect("]")
    if reader.character():
        raise reader.failure("something follows the end of the list")


class _Reader:
    def __init__(self, blocks: Iterable[str], name: str) -> None:
        self.name = name
        self._blocks = iter(blocks)
        self._text, self._at = "", 0
        self._line, self._counted = 1, 0  # the line at position `_counted`

    @property
    def line(self) -> int:
        """The line of the next character that is not white space."""
        self.character()
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def character(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(1):
                return ""

    def next_is(self, character: str) -> bool:
        """Whether the next character is this one; if so, it is consumed."""
        is_next = self.character() == character
        self._at += is_next
        return is_next

    def expect(self, character: str) -> None:
        """Consume this character. Raises InputDataError if another one follows."""
        if not self.next_is(character):
            raise self.failure(f"expected {character!r}")

    def value(self) -> Any:
        """The next value."""
        self.character()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.failure("lists or objects are nested too deeply") from None
            except json.JSONDecodeError as error:
                problem, place = f"it is not valid JSON ({error.msg})", error.pos - self._at
            else:
                # A number may continue in the next block.
                if not isinstance(value, int | float) or self._text[end : end + 1] in _AFTER:
                    self._at = end
                    return value
                problem, place = "the list has no end", end - self._at
            size = len(self._text) - self._at
            if size > LONGEST_ELEMENT:
                raise self.failure(f"there is an element of more than {LONGEST_ELEMENT:,} characters")
            if not self._read(max(size, 1)):  # twice as much each time, so that a long element is not parsed too often
                self._at += place
                raise self.failure(problem)

    def failure(self, problem: str) -> InputDataError:
        """The error for a text that is not a list from here on."""
        line = self.line
        found = shorten(self._text[self._at : self._at + 200], 60)
        return InputDataError(
            f"{self.name}, line {line}: {problem}, found {found!r}; expected a JSON list of objects, so repair the "
            "file, or write one JSON object per line."
        )

    def _read(self, size: int) -> bool:
        """Read at least `size` more characters, or all that are left; return whether there were any."""
        self._line += self._text.count("\n", self._counted, self._at)
        pieces, read = [self._text[self._at :]], 0
        for block in self._blocks:
            pieces.append(block)
            read += len(block)
            if read >= size:
                break
        self._text, self._at, self._counted = "".join(pieces), 0, 0
        return read > 0
