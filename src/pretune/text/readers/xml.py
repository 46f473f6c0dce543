"""The text of XML: its pairs of question and answer, or the text of all elements as lines.

XML is read as a stream, and nothing that it declares is expanded or fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.entities import html5
from xml.parsers import expat

from pretune.errors import InputDataError
from pretune.text.reading_report import shorten

LONGEST_PIECE = 1 << 20  # characters; the text of a longer element is split
_PAIR, _PAIR_TEXTS = "qapair", ("question", "answer")  # as in MedQuAD, in upper or lower case
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_PAIRS = re.compile(r"<(?:[\w.-]+:)?QAPair[\s/>]", re.IGNORECASE)


def has_pairs(head: str) -> bool:
    """Whether the beginning of a file contains a pair of question and answer."""
    return _PAIRS.search(head) is not None


def iter_pairs(blocks: Iterable[str], name: str) -> Iterator[tuple[str, int]]:
    """Each question with its answer on the lines below, and the line where it begins; all other text is left out.

    Raises InputDataError if the text is not well-formed XML or declares an entity.
    """
    reader = _Reader(name, only=_PAIR_TEXTS)
    for tag, text, line in reader.read(blocks):
        if tag == _PAIR:
            yield text, line


def iter_lines(blocks: Iterable[str], name: str) -> Iterator[str]:
    """The text of each element as lines, without tags, attributes and comments. Raises InputDataError likewise."""
    for _, text, _ in _Reader(name, only=None).read(blocks):
        yield from text.split("\n")


class _Reader:
    """Closed elements as (tag, text, line); with `only`, each pair as one element with the text of these tags."""

    def __init__(self, name: str, only: tuple[str, ...] | None) -> None:
        self._name, self._only = name, only
        self._closed: list[tuple[str, str, int]] = []
        self._pieces: list[str] = []
        self._size = self._line = self._depth = 0
        self._parser = expat.ParserCreate(encoding="utf-8")
        self._parser.buffer_text = True
        self._parser.EntityDeclHandler = self._refuse_entity
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.SkippedEntityHandler = self._undeclared

    def read(self, blocks: Iterable[str]) -> Iterator[tuple[str, str, int]]:
        """Parse the blocks of a text and yield the elements that they complete."""
        try:
            for block in blocks:
                yield from self._feed(_NOT_IN_XML.sub(" ", block), is_last=False)
            yield from self._feed("", is_last=True)
        except expat.ExpatError as error:
            raise InputDataError(
                f"{self._name} is not well-formed XML ({shorten(str(error), 100)}); correct it, or read it as plain "
                "text with --format txt."
            ) from error

    def _feed(self, block: str, *, is_last: bool) -> Iterator[tuple[str, str, int]]:
        self._parser.Parse(block.encode("utf-8", "replace"), is_last)
        closed, self._closed = self._closed, []
        yield from closed

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise InputDataError(
            f"{self._name} declares the entity {shorten(name, 40)!r}, which is not expanded, since nested "
            "entities can fill any memory; replace it in the file, or read it as plain text with --format txt."
        )

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        tag = _local_name(tag)
        if self._only is None:
            self._close(tag)
        elif tag in self._only:
            self._depth += 1
            if not self._pieces:
                self._line = self._parser.CurrentLineNumber

    def _end(self, tag: str) -> None:
        tag = _local_name(tag)
        if self._only is None or tag == _PAIR:
            self._close(tag)
        elif tag in self._only:
            self._depth -= 1
            self._pieces.append("\n")

    def _characters(self, text: str) -> None:
        if self._only is not None and not self._depth:
            return
        self._pieces.append(text)
        self._size += len(text)
        if self._size > LONGEST_PIECE:
            self._close(_PAIR)

    def _undeclared(self, name: str, is_parameter: int) -> None:
        """Read an entity that only a DTD outside the file declares as that of HTML, or else leave the reference."""
        if not is_parameter:
            self._characters(html5.get(f"{name};", f"&{name};"))

    def _close(self, tag: str) -> None:
        text = "".join(self._pieces).strip()
        self._pieces, self._size = [], 0
        if text:
            self._closed.append((tag, text, self._line))


def _local_name(tag: str) -> str:
    """A tag without its namespace's prefix, in lower case."""
    return tag.rpartition(":")[2].lower()
