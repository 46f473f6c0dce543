"""The text of Word documents, a line per paragraph, streamed from the XML inside; document types are refused."""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from pretune.errors import InputDataError
from pretune.text.raw.archives import iter_zip, open_zip
from pretune.text.raw.compression import ByteStream
from pretune.text.reading_report import shorten

LONGEST_LINE = 1 << 20  # characters; a longer paragraph is split
_PARTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")
_WORD = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",  # the strict variant
)
_FALLBACK = "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"  # repeats the text before it
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def docx_lines(stream: ByteStream) -> Iterator[str]:
    """The lines of a document and its notes; deleted text, comments, headers and footers are left out.

    Raises InputDataError if the document is damaged or encrypted, or if it declares a document type: Word never does,
    and entities that expand without end need one.
    """
    with open_zip(stream) as archive:
        parts = [member for member in iter_zip(archive, stream.name) if member.name in _PARTS]
        for member in sorted(parts, key=lambda member: _PARTS.index(member.name)):
            reader = _WordReader(stream.name)
            try:
                for block in member.open():
                    yield from reader.feed(block)
                yield from reader.feed(b"", is_last=True)
            except expat.ExpatError as error:
                raise InputDataError(
                    f"{stream.name} is a damaged Word document ({shorten(str(error), 100)}); open it and save it again."
                ) from error


class _WordReader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: list[str] = []
        self._in_text = self._in_fallback = self._in_cell = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_document_type
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, block: bytes, *, is_last: bool = False) -> Iterator[str]:
        """Parse a block and yield the lines that it completes."""
        self._parser.Parse(block, is_last)
        if is_last:
            self._pieces.append("\n")
        lines = "".join(self._pieces).split("\n")
        self._pieces = [lines.pop()] if len(lines[-1]) <= LONGEST_LINE else []
        yield from (line.rstrip() for line in lines)

    def _refuse_document_type(self, *_: object) -> None:
        raise InputDataError(f"{self._name} is not a valid docx: it declares a document type; save it again in Word.")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if name == _FALLBACK:
            self._in_fallback += 1
        namespace, _, tag = name.rpartition(" ")
        if namespace not in _WORD or self._in_fallback:
            return
        if tag == "t":
            self._in_text += 1
        elif tag == "tc":
            self._in_cell += 1
        elif tag in _BREAKS:
            self._pieces.append(_BREAKS[tag])

    def _end(self, name: str) -> None:
        if name == _FALLBACK:
            self._in_fallback -= 1
        namespace, _, tag = name.rpartition(" ")
        if namespace not in _WORD or self._in_fallback:
            return
        if tag == "t":
            self._in_text -= 1
        elif tag == "tc":
            self._in_cell -= 1
        elif tag == "tr" or (tag == "p" and not self._in_cell):
            self._pieces.append("\n")
        elif tag == "p":
            self._pieces.append(" ")  # a row of a table is a line

    def _characters(self, text: str) -> None:
        if self._in_text and not self._in_fallback:
            self._pieces.append(text)
