"""A file as text in blocks: decompressed, decoded, with line feeds as line ends; never in memory as a whole."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from pretune.errors import InputDataError
from pretune.text.raw.charset import (
    ESCAPE,
    ESCAPED_BYTE,
    MAX_BROKEN_FRACTION,
    UTF8,
    Encoding,
    count_broken,
    count_controls,
    declared_encoding,
    detect_encoding,
    first_beyond_ascii,
    has_too_many_controls,
    is_certainly_utf8,
    mark_broken,
)
from pretune.text.raw.compression import BLOCK_BYTES, STDIN, ByteStream, open_bytes
from pretune.text.reading_report import Findings

__all__ = ["BLOCK_BYTES", "STDIN", "TextStream"]

LONGEST_LINE = 1 << 24  # characters; a longer line is split

_MAGIC = (
    (b"%PDF", "a PDF", "give it as a file that ends in .pdf"),
    (b"PK\x03\x04", "a zip archive (or a docx, xlsx or epub)", "unpack it, or save it as text or csv first"),
    (b"\x89PNG", "an image", "give a text file"),
    (b"\xff\xd8\xff", "an image", "give a text file"),
    (b"GIF8", "an image", "give a text file"),
    (b"\x7fELF", "a program", "give a text file"),
    (b"SQLite format 3", "a database", "export it as csv first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "a rar archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Office document in the old binary format", "save it as docx, text or csv first"),
    (b"{\\rtf", "a document in rich text format", "save it as docx or text first"),
)
_TAR_MAGIC_AT = 257
_LONE_RETURN = re.compile("\r(?!\n)")


class TextStream:
    """A file, stdin for "-", or an opened byte stream, read once from beginning to end as text.

    The encoding is detected unless it is given. Bytes that are invalid in it become U+FFFD and are counted. Raises
    InputDataError if the path is missing, unreadable, binary or a damaged archive, or if these are more than 1 % of its
    bytes. `option` names the user's option for the encoding of the file, if the command has one.
    """

    def __init__(
        self,
        source: str | Path | ByteStream,
        findings: Findings | None = None,
        *,
        name: str | None = None,
        encoding: str | None = None,
        option: str | None = None,
        first_line: int = 1,
    ) -> None:
        self._bytes = source if isinstance(source, ByteStream) else open_bytes(source, name)
        self.name = self._bytes.name
        self.findings = findings if findings is not None else Findings()
        self.first_line = first_line  # the number of the first line, if the stream starts inside a file
        self.bytes_read = 0
        self.broken_bytes = 0
        self.compression = self._bytes.compression
        self._head = self._bytes.head
        self._given = encoding
        self._advice = "convert it to UTF-8" if option is None else f"give its encoding with {option}"
        self._encoding = detect_encoding(self._head, encoding)
        self._heeds_declaration = False
        try:
            self._refuse_binary()
        except InputDataError:
            self.close()
            raise

    @property
    def encoding(self) -> str:
        """The codec's name."""
        return self._encoding.name

    @property
    def is_guess(self) -> bool:
        """Whether the encoding was guessed: not given, marked, declared, or proved by being valid UTF-8."""
        return self._encoding.is_guess

    @property
    def has_mark(self) -> bool:
        """Whether it begins with a byte order mark."""
        return self._encoding.bom_bytes > 0

    @property
    def is_empty(self) -> bool:
        """Whether it contains only white space; False if it is longer than a block."""
        return not self._head[self._encoding.bom_bytes :].strip() and len(self._head) < BLOCK_BYTES

    def peek(self) -> str:
        """The first block as text, without its last line, which may be incomplete; the stream does not advance."""
        data = self._head[self._encoding.bom_bytes :]
        text = data.decode(self.encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
        whole_lines = text[: text.rfind("\n") + 1]
        return whole_lines if whole_lines and len(self._head) >= BLOCK_BYTES else text

    def blocks(self, *, keep_crlf: bool = False) -> Iterator[str]:
        """The text, block by block, with every line end as a line feed, or except CRLF."""
        newlines = _LoneReturns() if keep_crlf else io.IncrementalNewlineDecoder(None, translate=True)
        raw = self._bytes.blocks()
        first = next(raw, b"")[self._encoding.bom_bytes :]
        try:
            for text in self._decode(chain([first], raw)):
                yield newlines.decode(text)
            yield newlines.decode("", final=True)
        finally:
            self.close()
        self._refuse_broken()
        if self.broken_bytes:  # counted only now, since a file that is refused is not repaired
            self.findings.broken_bytes += self.broken_bytes
            self.findings.files_with_broken_bytes.append(self.name)

    def lines(self, *, keep_crlf: bool = False) -> Iterator[str]:
        """The lines without their ends; only LF, CR and CRLF end a line. With `keep_crlf`, the CR of a CRLF stays."""
        for _, line in self.numbered_lines(keep_crlf=keep_crlf):
            yield line

    def numbered_lines(self, *, keep_crlf: bool = False) -> Iterator[tuple[int, str]]:
        """The lines with their numbers; one of more than 16 million characters is split, each piece with its number."""
        number, size = self.first_line, 0
        rest: list[str] = []  # an unfinished line; joined once, since it may be as long as the file
        for block in self.blocks(keep_crlf=keep_crlf):
            rest.append(block)
            size += len(block)
            if "\n" in block:
                *lines, last = "".join(rest).split("\n")
                yield from enumerate(lines, number)
                number += len(lines)
                rest, size = [last], len(last)
            if size > LONGEST_LINE:
                line = "".join(rest)
                while len(line) > LONGEST_LINE:
                    yield number, line[:LONGEST_LINE]
                    line = line[LONGEST_LINE:]
                rest, size = [line], len(line)
        if size:
            yield number, "".join(rest)

    def close(self) -> None:
        """Close the file early; at its end it closes by itself."""
        self._bytes.close()

    def use_declared_charset(self) -> None:
        """Use the encoding that a page declares, if none is given and it is not UTF-8."""
        if self._given is not None or self._encoding.bom_bytes or self.encoding == "utf-16-le":
            return
        self._heeds_declaration = True
        # A few bytes are too little to guess an encoding from, but not to believe the page.
        if self.encoding == UTF8.name and is_certainly_utf8(self._head):
            return
        declared = declared_encoding(self._head)
        if declared is not None:
            self._encoding = Encoding(declared)

    def _decode(self, raw: Iterator[bytes]) -> Iterator[str]:
        if self._encoding == UTF8 and self._given is None:
            # ASCII fits most encodings, so the decision waits for the first block with other bytes.
            for block in raw:
                if not block.isascii():
                    raw = chain([block], raw)
                    self._detect_late(block)
                    break
                self._count(len(block))
                yield block.decode("ascii")
        if self.encoding == "utf-8":
            yield from self._decode_utf8(raw)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)(ESCAPE)
        for block in raw:
            self._count(len(block))
            text = decoder.decode(block)
            yield self._repair(text) if ESCAPED_BYTE in text else text  # the search for all of them takes longer
        yield self._repair(decoder.decode(b"", final=True))

    def _detect_late(self, block: bytes) -> None:
        """Detect the encoding from the first block beyond ASCII, which may come after the head."""
        if self._heeds_declaration and not is_certainly_utf8(block):
            declared = declared_encoding(self._head, block[first_beyond_ascii(block) :])
            if declared is not None:
                self._encoding = Encoding(declared)
                return
        late = detect_encoding(block)
        if late.is_guess and b"\0" not in block:
            self._encoding = late
            self.findings.warnings.append(
                f"{self.name} is ASCII for its first {self.bytes_read:,} bytes and probably {late.name.upper()} from "
                f"there on; if that is wrong, {self._advice}."
            )

    def _decode_utf8(self, raw: Iterator[bytes]) -> Iterator[str]:
        rest = b""
        for block in raw:
            self._count(len(block))
            text, used = self._decode_utf8_block(rest + block, is_last=False)
            rest = (rest + block)[used:]
            yield text
        yield self._decode_utf8_block(rest, is_last=True)[0]

    def _decode_utf8_block(self, data: bytes, *, is_last: bool) -> tuple[str, int]:
        try:
            return codecs.utf_8_decode(data, "strict", is_last)
        except UnicodeDecodeError:
            text, used = codecs.utf_8_decode(data, "surrogateescape", is_last)
        return self._repair(text), used

    def _repair(self, text: str) -> str:
        """The text with the escaped bytes replaced, which are counted."""
        self._count_broken(count_broken(text))
        return mark_broken(text)

    def _count(self, num_bytes: int) -> None:
        self.bytes_read += num_bytes
        self.findings.bytes_read += num_bytes

    def _count_broken(self, num_bytes: int) -> None:
        self.broken_bytes += num_bytes
        if self.bytes_read > 4 * BLOCK_BYTES:
            self._refuse_broken()

    def _refuse_broken(self) -> None:
        if self.broken_bytes > MAX_BROKEN_FRACTION * self.bytes_read:
            raise InputDataError(
                f"{self.name} is not {self.encoding.upper()}: {self.broken_bytes:,} of its first {self.bytes_read:,} "
                f"bytes ({self.broken_bytes / self.bytes_read:.1%}, at most {MAX_BROKEN_FRACTION:.0%} is repaired) are "
                f"broken; {self._advice}, or repair it."
            )

    def _refuse_binary(self) -> None:
        head = self._head
        for magic, what, advice in _MAGIC:
            if head.startswith(magic):
                raise InputDataError(f"{self.name} is {what}, not text; {advice}.")
        if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
            raise InputDataError(f"{self.name} is a tar archive, not text; unpack it and give the folder.")
        if self.encoding.startswith(("utf-16", "utf-32", "iso2022", "hz")):
            return
        if has_too_many_controls(head):
            raise InputDataError(
                f"{self.name} is not text: {count_controls(head) / len(head):.0%} of its first bytes are control "
                f"characters; expected text. If its encoding was not recognised, {self._advice}."
            )


class _LoneReturns:
    """Replaces each carriage return that is a line end on its own by a line feed; those of CRLF stay."""

    def __init__(self) -> None:
        self._rest = ""

    def decode(self, text: str, final: bool = False) -> str:
        """The next piece of the text; a carriage return at its end waits for the next one."""
        text = self._rest + text
        self._rest = "\r" if text.endswith("\r") and not final else ""
        text = text.removesuffix(self._rest)
        return text if text.count("\r") == text.count("\r\n") else _LONE_RETURN.sub("\n", text)
