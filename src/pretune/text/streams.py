"""One file as text: decompressed, decoded, line ends unified, in blocks; nothing is loaded whole."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import zstandard

from pretune.errors import InputDataError
from pretune.text.findings import Findings

BLOCK_BYTES = 1 << 18
LONGEST_LINE = 1 << 24  # characters; a longer line is cut there
MAX_BROKEN_SHARE = 0.01
MAX_CONTROL_SHARE = 0.02  # of the first bytes; beyond that a file is no text
FEW_CONTROLS = 8  # which do not make a short text binary
STDIN = "-"

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOMS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC = (
    (b"%PDF", "a PDF", "convert it to text first"),
    (b"PK\x03\x04", "a zip archive (or a docx, xlsx or epub)", "unpack it, or save it as text or csv first"),
    (b"\x89PNG", "an image", "give text"),
    (b"\xff\xd8\xff", "an image", "give text"),
    (b"GIF8", "an image", "give text"),
    (b"\x7fELF", "a program", "give text"),
    (b"SQLite format 3", "a database", "export it as csv first"),
    (b"BZh", "compressed with bzip2", "unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Office document", "save it as text or csv first"),
)
_TAR_MAGIC_AT = 257
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+")
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=[\"']([\w.:-]+)", re.I
)


class TextStream:
    """A file, or stdin for "-", read once from beginning to end.

    Broken UTF-8 becomes U+FFFD and is counted. Raises InputDataError where the path is missing, unreadable, binary, a
    damaged archive, or more than 1 % of its bytes are no valid UTF-8.
    """

    def __init__(self, path: str | Path, findings: Findings | None = None, *, name: str | None = None) -> None:
        self.path = path
        self.name = name or ("stdin" if str(path) == STDIN else str(path))
        self.findings = findings if findings is not None else Findings()
        self.bytes_read = 0
        self.broken_bytes = 0
        self._file = _read_blocks(path, self.name)
        first = next(self._file, b"")
        self.compression = "gz" if first.startswith(_GZIP) else "zst" if first.startswith(_ZSTD) else None
        self._raw = _with_first(first, self._file)
        if self.compression:
            self._raw = _decompress(self._raw, self.compression, self.name)
        self._head = self._read_head()
        _refuse_binary(self._head, self.name)
        self.encoding, self._bom_bytes = _detect_encoding(self._head)

    @property
    def is_empty(self) -> bool:
        """Nothing in it besides white space, as far as its first block tells."""
        return not self._head[self._bom_bytes :].strip() and len(self._head) < BLOCK_BYTES

    def peek(self) -> str:
        """The first block as text, without its last, possibly incomplete line; does not move the stream."""
        data = self._head[self._bom_bytes :]
        text = data.decode(self.encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
        whole_lines = text[: text.rfind("\n") + 1]
        return whole_lines if whole_lines and len(self._head) >= BLOCK_BYTES else text

    def blocks(self) -> Iterator[str]:
        """The text, block by block, with every line end as a line feed."""
        newlines = io.IncrementalNewlineDecoder(None, translate=True)
        try:
            for text in self._decode(_with_first(self._head[self._bom_bytes :], self._raw)):
                yield newlines.decode(text)
            yield newlines.decode("", final=True)
        finally:
            self.close()
        self._refuse_broken()
        if self.broken_bytes:
            self.findings.files_with_broken_bytes.append(self.name)

    def lines(self) -> Iterator[str]:
        """The lines without their ends; only what a line feed, a carriage return or both end is a line."""
        rest = ""
        for block in self.blocks():
            lines = (rest + block).split("\n")
            rest = lines.pop()
            yield from lines
            while len(rest) > LONGEST_LINE:
                yield rest[:LONGEST_LINE]
                rest = rest[LONGEST_LINE:]
        if rest:
            yield rest

    def close(self) -> None:
        """Close the file before its end; at the end it closes itself."""
        self._file.close()

    def use_declared_charset(self) -> None:
        """Follow an HTML page's own word on its encoding, where it is not UTF-8 and names another."""
        if self._bom_bytes or _is_utf8(self._head):
            return
        found = _CHARSET.search(self._head)
        if found:
            name = (found[1] or found[2]).decode("ascii").lower()
            name = "cp1252" if name in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii") else name
            try:
                self.encoding = codecs.lookup(name).name
            except LookupError:
                return

    def _read_head(self) -> bytes:
        head = b""
        for block in self._raw:
            head += block
            if len(head) >= BLOCK_BYTES:
                break
        return head

    def _decode(self, raw: Iterator[bytes]) -> Iterator[str]:
        if self.encoding == "utf-8":
            yield from self._decode_utf8(raw)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        for block in raw:
            self._count(len(block))
            text = decoder.decode(block)
            self._count_broken(text.count("\ufffd"))
            yield text
        yield decoder.decode(b"", final=True)

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
        self._count_broken(sum(len(match[0]) for match in _ESCAPED_BYTES.finditer(text)))
        return _ESCAPED_BYTES.sub("\ufffd", text), used

    def _count(self, num_bytes: int) -> None:
        self.bytes_read += num_bytes
        self.findings.bytes_read += num_bytes

    def _count_broken(self, num_bytes: int) -> None:
        self.broken_bytes += num_bytes
        self.findings.broken_bytes += num_bytes
        if self.bytes_read > 4 * BLOCK_BYTES:
            self._refuse_broken()

    def _refuse_broken(self) -> None:
        if self.broken_bytes > MAX_BROKEN_SHARE * self.bytes_read:
            raise InputDataError(
                f"{self.name} is not UTF-8: {self.broken_bytes:,} of its first {self.bytes_read:,} bytes "
                f"({self.broken_bytes / self.bytes_read:.1%}, at most {MAX_BROKEN_SHARE:.0%} is repaired) are broken; "
                "convert it first, for example with: iconv -f WINDOWS-1252 -t UTF-8."
            )


def _read_blocks(path: str | Path, name: str) -> Generator[bytes, None, None]:
    """The bytes of a file, which is closed as soon as nobody asks for more."""
    if str(path) == STDIN:
        while block := sys.stdin.buffer.read(BLOCK_BYTES):
            yield block
        return
    if Path(path).is_dir():
        raise InputDataError(f"{name} is a folder; expected a file.")
    try:
        with Path(path).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except FileNotFoundError:
        raise InputDataError(f"{name} does not exist; expected a file with text, check the path.") from None
    except OSError as error:
        raise InputDataError(f"{name} cannot be read ({error.strerror}); check its permissions.") from error


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _decompress(blocks: Iterator[bytes], compression: str, name: str) -> Iterator[bytes]:
    """The content of gz members or zst frames; a truncated or damaged one is an error, never a shorter text."""
    try:
        yield from _gunzip(blocks) if compression == "gz" else _unzstd(blocks)
    except (zlib.error, gzip.BadGzipFile, zstandard.ZstdError, EOFError) as error:
        problem = str(error) or "it ends early"
        raise InputDataError(f"{name} is a damaged {compression} file ({problem}); get it again.") from error


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    is_inside = False
    for block in blocks:
        data = block
        while data:
            if not is_inside and not data.strip(b"\0"):
                break  # padding after the last member
            is_inside = True
            yield inflater.decompress(data)
            data = inflater.unused_data
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
                is_inside = False
    if is_inside:
        raise EOFError("it ends early")


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = decompressor.decompressobj()
    is_inside = False
    for block in blocks:
        data = block
        while data:
            is_inside = True
            yield frame.decompress(data)
            data = frame.unused_data
            if frame.eof:
                frame = decompressor.decompressobj()
                is_inside = False
            elif not data:
                break
    if is_inside:
        raise EOFError("it ends early")


def _detect_encoding(head: bytes) -> tuple[str, int]:
    """The encoding's name and the length of the byte order mark."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding, len(bom)
    return "utf-8", 0


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_binary(head: bytes, name: str) -> None:
    for magic, what, advice in _MAGIC:
        if head.startswith(magic):
            raise InputDataError(f"{name} is {what}, not text; {advice}.")
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        raise InputDataError(f"{name} is a tar archive, not text; unpack it and give the folder.")
    if _detect_encoding(head)[0] != "utf-8":
        return
    controls = sum(len(match[0]) for match in _CONTROL.finditer(head))
    if controls > max(FEW_CONTROLS, MAX_CONTROL_SHARE * len(head)):
        raise InputDataError(
            f"{name} is not text: {controls / len(head):.0%} of its first bytes are control characters; expected UTF-8 "
            "text (UTF-16 only with a byte order mark)."
        )
