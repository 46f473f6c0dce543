"""The bytes of a file or an archive member in blocks: decompressed while they are read, and read once."""

from __future__ import annotations

import bz2
import lzma
import os
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path

import zstandard

from pretune.errors import InputDataError

BLOCK_BYTES = 1 << 18
STDIN = "-"
COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zstd")
MAX_IN_MEMORY_BYTES = 1 << 28  # of a file that is read whole (parquet, pdf, docx), if it comes from an archive

# Text shrinks to a third, tables and logs to a hundredth; data that unpacks to more than this is made to fill disks.
MAX_EXPANSION = 500
EXPANSION_COUNTS_FROM = 1 << 28  # bytes; fewer do no harm

_MAGIC = (
    ("gz", re.compile(rb"\x1f\x8b")),
    ("zst", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    ("bz2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
)
_ZSTD_STEP = 1 << 10  # bytes; a thousand bytes of zstd may contain a hundred blocks of 128 kB
_ZSTD_WINDOW = 1 << 31  # bytes of memory, as the output of `zstd --long=31` needs
_XZ_MEMORY = 1 << 28  # bytes
_DECOMPRESSION_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)


class ByteStream:
    """Bytes under a name, read once from beginning to end.

    `head` is the beginning after decompression, about one block or all there is. Raises InputDataError if the bytes
    cannot be read, the compressed data is damaged or cut off, or it unpacks to more than 500 times its size.
    """

    def __init__(self, blocks: Iterator[bytes], name: str, *, path: str | None = None) -> None:
        self.name = name
        self.path = path  # a plain file with the same bytes, for readers that seek
        self._source = blocks
        self._content: bytes | None = None
        first = next(blocks, b"")
        while len(first) < 16 and (more := next(blocks, b"")):
            first += more
        self.compression = next((name for name, magic in _MAGIC if magic.match(first)), None)
        self._rest: Iterator[bytes] = chain([first] if first else [], blocks)
        if self.compression:
            self.path = None
            self._rest = decompress(self._rest, self.compression, name)
        self.head = self._read_head()

    def blocks(self) -> Iterator[bytes]:
        """All bytes, the head included."""
        if self._content is not None:
            yield self._content
            return
        if self.head:
            yield self.head
        yield from self._rest

    def read_all(self, what: str) -> bytes:
        """All bytes at once, for a format that cannot be read as a stream; `what` names it in the error message."""
        if self._content is not None:
            return self._content
        pieces, size = [], 0
        for block in self.blocks():
            pieces.append(block)
            size += len(block)
            if size > MAX_IN_MEMORY_BYTES:
                raise InputDataError(
                    f"{self.name} is {what} of more than {MAX_IN_MEMORY_BYTES >> 20} MB inside an archive or a "
                    "compressed file, too large to be read into memory; unpack it and give it as a separate file."
                )
        self._content = b"".join(pieces)
        return self._content

    def close(self) -> None:
        """Close the file early; at its end it closes by itself."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _read_head(self) -> bytes:
        head = b""
        for block in self._rest:
            head += block
            if len(head) >= BLOCK_BYTES:
                break
        return head


def open_bytes(path: str | Path, name: str | None = None) -> ByteStream:
    """The decompressed bytes of a file, or of stdin for "-"."""
    path = str(path)
    name = name or ("stdin" if path == STDIN else path)
    return ByteStream(_read_blocks(path, name), name, path=None if path == STDIN else path)


def open_slice(path: str, name: str, start: int, end: int) -> ByteStream:
    """The bytes of a plain file from `start` to before `end`."""

    def blocks() -> Generator[bytes, None, None]:
        with Path(path).open("rb") as file:
            file.seek(start)
            left = end - start
            while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
                left -= len(block)
                yield block

    return ByteStream(blocks(), name)


def _read_blocks(path: str, name: str) -> Generator[bytes, None, None]:
    """The bytes that a file has when it is opened; it is closed as soon as the iteration stops.

    Bytes appended meanwhile are ignored: a log that grows as fast as it is read would never end.
    """
    if path == STDIN:
        while block := sys.stdin.buffer.read(BLOCK_BYTES):
            yield block
        return
    try:
        with Path(path).open("rb") as file:
            left = os.fstat(file.fileno()).st_size or sys.maxsize  # pipes and devices have no size
            while left > 0 and (block := file.read(min(BLOCK_BYTES, left))):
                left -= len(block)
                yield block
    except IsADirectoryError:
        raise InputDataError(f"{name} is a folder; expected a file.") from None
    except FileNotFoundError:
        raise InputDataError(f"{name} does not exist; expected a text file, check the path.") from None
    except OSError as error:
        raise InputDataError(f"{name} cannot be read ({error.strerror}); check its permissions.") from error


def decompress(blocks: Iterator[bytes], compression: str, name: str) -> Iterator[bytes]:
    """The content of gz, bz2 or xz members or zst frames; raises InputDataError if one is damaged or cut off."""
    meter = ExpansionMeter(name)
    try:
        for block in unpack(meter.count_in(blocks), compression):
            meter.add(len(block))
            yield block
    except InputDataError:
        raise
    except _DECOMPRESSION_ERRORS as error:
        problem = str(error) or "it ends early"
        raise InputDataError(f"{name} is a damaged {compression} file ({problem}); get it again.") from error


class ExpansionMeter:
    """Compares the unpacked size with the packed size, and rejects data that is made to fill disks."""

    def __init__(self, name: str, num_in: int = 0) -> None:
        self.name, self.num_in, self.num_out = name, num_in, 0

    def count_in(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass blocks through and count their bytes."""
        for block in blocks:
            self.num_in += len(block)
            yield block

    def add(self, num_bytes: int) -> None:
        """Count unpacked bytes. Raises InputDataError if there are too many."""
        self.num_out += num_bytes
        if self.num_out > max(EXPANSION_COUNTS_FROM, MAX_EXPANSION * self.num_in):
            raise InputDataError(
                f"{self.name} unpacks to more than {MAX_EXPANSION} times its size ({self.num_out:,} bytes so far), "
                "like a zip bomb and unlike text; if it is text, unpack it and give the result."
            )


class _Inflater:
    """zlib for gz members, with the interface of bz2 and lzma: a limited number of bytes per call."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=31)
        self.unused_data = b""
        self.needs_input = True
        self.eof = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """As bz2.BZ2Decompressor.decompress."""
        out = self._object.decompress(self._object.unconsumed_tail + data, max_length)
        self.eof, self.unused_data = self._object.eof, self._object.unused_data
        # If the output is full, more may follow even though all input was consumed.
        self.needs_input = not self._object.unconsumed_tail and len(out) < max_length
        return out


_DECOMPRESSORS: dict[str, Callable[[], _Inflater | bz2.BZ2Decompressor | lzma.LZMADecompressor]] = {
    "gz": _Inflater,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY),
}


def unpack(blocks: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The content of gz, bz2, xz or lzma members or zst frames, a limited number of bytes at a time.

    Raises what the libraries raise for damaged data, and EOFError if it is cut off.
    """
    if compression == "zst":
        yield from _unzstd(blocks)
        return
    unpacker = _DECOMPRESSORS[compression]()
    is_inside = False
    for block in blocks:
        data = block
        while data or (is_inside and not unpacker.needs_input):
            if not is_inside and not data.strip(b"\0"):
                break  # padding after the last member
            is_inside = True
            out = unpacker.decompress(data, BLOCK_BYTES)
            data = b""
            if unpacker.eof:
                data, unpacker, is_inside = unpacker.unused_data, _DECOMPRESSORS[compression](), False
            if out:
                yield out
    if is_inside:
        raise EOFError("it ends early")


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = decompressor.decompressobj()
    is_inside = False
    pieces: list[bytes] = []
    size = 0
    for data in _in_steps(blocks):
        while data:
            is_inside = True
            out = frame.decompress(data)
            data = b""
            if frame.eof:
                data, frame, is_inside = frame.unused_data, decompressor.decompressobj(), False
            if out:
                pieces.append(out)
                size += len(out)
        if size >= BLOCK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if size:
        yield b"".join(pieces)
    if is_inside:
        raise EOFError("it ends early")


def _in_steps(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks in steps of 1 kB, so that gigabytes from a malicious frame come out in portions."""
    for block in blocks:
        for start in range(0, len(block), _ZSTD_STEP):
            yield block[start : start + _ZSTD_STEP]
