"""The bytes of a file or an archive member, block by block: decompressed on the way, read once, never whole."""

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
HELD_BYTES = 1 << 28  # of a format that must be held whole (parquet, pdf, docx) when it comes out of an archive

# Text shrinks to a third, tables and logs to a hundredth; what unpacks to more than this is made to fill disks.
MAX_EXPANSION = 500
EXPANSION_COUNTS_FROM = 1 << 28  # bytes; below, nobody is harmed

_MAGIC = (
    ("gz", re.compile(rb"\x1f\x8b")),
    ("zst", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    ("bz2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
)
_ZSTD_SLICE = 1 << 10  # a thousand bytes of zstd may hold a hundred blocks of 128 kB
_ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` writes needs it; the window is held in memory
_XZ_MEMORY = 1 << 28
_DAMAGES = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)


class ByteStream:
    """Bytes under a name, read once from beginning to end.

    `head` is the beginning, up to a block or the end, after decompression. Raises InputDataError where the bytes cannot
    be read, a compression is damaged or cut, or they unpack to more than 500 times their size.
    """

    def __init__(self, blocks: Iterator[bytes], name: str, *, path: str | None = None) -> None:
        self.name = name
        self.path = path  # where the same bytes lie as a plain file that can be read from any place
        self._source = blocks
        self._held: bytes | None = None
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
        if self._held is not None:
            yield self._held
            return
        if self.head:
            yield self.head
        yield from self._rest

    def read_all(self, what: str) -> bytes:
        """All bytes at once, for a format that cannot be read as a stream; `what` names it in the refusal."""
        if self._held is not None:
            return self._held
        pieces, size = [], 0
        for block in self.blocks():
            pieces.append(block)
            size += len(block)
            if size > HELD_BYTES:
                raise InputDataError(
                    f"{self.name} is {what} of more than {HELD_BYTES >> 20} MB inside an archive or a compression, "
                    "where it cannot be read piece by piece; unpack it and give it as a file of its own."
                )
        self._held = b"".join(pieces)
        return self._held

    def close(self) -> None:
        """Close the file before its end; at the end it closes itself."""
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
    """A file, or stdin for "-", decompressed."""
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
    """The bytes that a file has when it is opened; it is closed as soon as nobody asks for more.

    What is appended while it is read is left for another time: a log that grows as fast as it is read has no end.
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
        raise InputDataError(f"{name} does not exist; expected a file with text, check the path.") from None
    except OSError as error:
        raise InputDataError(f"{name} cannot be read ({error.strerror}); check its permissions.") from error


def decompress(blocks: Iterator[bytes], compression: str, name: str) -> Iterator[bytes]:
    """The content of gz, bz2 or xz members or zst frames; a cut or damaged one is an error, never a shorter text."""
    meter = ExpansionMeter(name)
    unpacked = _unzstd(meter.count_in(blocks)) if compression == "zst" else _unpack(meter.count_in(blocks), compression)
    try:
        for block in unpacked:
            meter.add(len(block))
            yield block
    except InputDataError:
        raise
    except _DAMAGES as error:
        problem = str(error) or "it ends early"
        raise InputDataError(f"{name} is a damaged {compression} file ({problem}); get it again.") from error


class ExpansionMeter:
    """Compares what was unpacked with what it was unpacked from, and refuses what is made to fill disks."""

    def __init__(self, name: str, num_in: int = 0) -> None:
        self.name, self.num_in, self.num_out = name, num_in, 0

    def count_in(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass blocks through, counting their bytes."""
        for block in blocks:
            self.num_in += len(block)
            yield block

    def add(self, num_bytes: int) -> None:
        """Count unpacked bytes. Raises InputDataError when they are too many."""
        self.num_out += num_bytes
        if self.num_out > max(EXPANSION_COUNTS_FROM, MAX_EXPANSION * self.num_in):
            raise InputDataError(
                f"{self.name} unpacks to more than {MAX_EXPANSION} times its size ({self.num_out:,} bytes so far), as "
                "a zip bomb does and text does not; if it is text, unpack it and give that."
            )


class _Inflater:
    """zlib for gz members, with the interface of bz2 and lzma: at most so many bytes at a call."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=31)
        self.unused_data = b""
        self.needs_input = True
        self.eof = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """As bz2.BZ2Decompressor.decompress."""
        out = self._object.decompress(self._object.unconsumed_tail + data, max_length)
        self.eof, self.unused_data = self._object.eof, self._object.unused_data
        # With a full output there may be more to come even where all input has been taken.
        self.needs_input = not self._object.unconsumed_tail and len(out) < max_length
        return out


_NEW: dict[str, Callable[[], _Inflater | bz2.BZ2Decompressor | lzma.LZMADecompressor]] = {
    "gz": _Inflater,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}


def _unpack(blocks: Iterator[bytes], compression: str) -> Iterator[bytes]:
    unpacker = _NEW[compression]()
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
                data, unpacker, is_inside = unpacker.unused_data, _NEW[compression](), False
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
    for data in _slices(blocks):
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


def _slices(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Small pieces, so that the little that a malicious frame needs for gigabytes comes out in portions."""
    for block in blocks:
        for start in range(0, len(block), _ZSTD_SLICE):
            yield block[start : start + _ZSTD_SLICE]
