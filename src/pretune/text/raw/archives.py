"""The members of zip and tar archives as byte streams; nothing is written to disk, and no name is used as a path."""

from __future__ import annotations

import copy
import io
import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

import zstandard

from pretune.errors import InputDataError
from pretune.text.raw.compression import BLOCK_BYTES, ByteStream, ExpansionMeter, unpack
from pretune.text.reading_report import Findings, shorten

ArchiveFormat = Literal["zip", "tar"]
MANY_FILES = 20  # in a folder, with the same ending
LOOK_AHEAD = 30  # tar members read in advance, more than MANY_FILES, since some have other endings
LONGEST_LOOK_AHEAD = 2 * LOOK_AHEAD  # if the last folder may still turn out to have many files
LOOK_AHEAD_BYTES = 80_000  # per member; a longer one is no short file, so its count does not matter

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ZIP_ERRORS = (  # what zipfile raises for a damaged member; NotImplementedError means a newer version of the format
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, struct.error, NotImplementedError,
    RuntimeError, OverflowError, IndexError, zstandard.ZstdError,
)  # fmt: skip
_UNPACKED_BY_ZIPFILE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNPACKED_HERE = {zipfile.ZIP_BZIP2: "bz2", zipfile.ZIP_LZMA: "lzma", 93: "zst"}  # by the number of the compression
_ENCRYPTED, _LZMA_END_MARK = 0x1, 0x2  # flags
_LZMA_PROPERTIES = 5  # bytes
_TAR_BLOCK = 512
_LONGEST_TAR_NAME = 1 << 16
_LONGEST_PAX = 1 << 20
_TAR_WITHOUT_DATA = b"123456"  # types: links, devices, folders and pipes


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive: its name as stored, and a way to read it, once and before the next member."""

    name: str
    size: int
    open: Callable[[], Iterator[bytes]]
    files_in_folder: int = 0  # with the same ending, this one included


def sniff_archive(head: bytes) -> ArchiveFormat | None:
    """The kind of archive that begins with these bytes, by magic number or, for tar, by the first header's checksum."""
    if head.startswith(_ZIP_MAGIC):
        return "zip"
    if len(head) >= _TAR_BLOCK and any(head[:_TAR_BLOCK]) and _has_valid_checksum(head[:_TAR_BLOCK]):
        return "tar"
    return None


# --- zip


def open_zip(stream: ByteStream) -> zipfile.ZipFile:
    """The zip archive in a byte stream; unless that is a plain file, it is read into memory, up to a limit.

    Raises InputDataError if its directory is damaged or cut off.
    """
    try:
        if stream.path is not None:
            stream.close()
            return zipfile.ZipFile(stream.path)
        return zipfile.ZipFile(io.BytesIO(stream.read_all("a zip archive")))
    except ZIP_ERRORS as error:
        what = "Word document" if stream.name.lower().endswith(".docx") else "zip archive"
        raise InputDataError(
            f"{stream.name} is a damaged {what} ({shorten(str(error), 100)}); get it again."
        ) from error


def iter_zip(archive: zipfile.ZipFile, name: str) -> Iterator[Member]:
    """The files of a zip archive, in its order; folders and links are skipped."""
    assert archive.fp is not None
    meter = ExpansionMeter(name, num_in=archive.fp.seek(0, io.SEEK_END))
    # is_dir() looks at the last character of a name, which may be empty.
    files = [info for info in archive.infolist() if info.filename and not info.is_dir() and not _is_link(info)]
    counts = Counter(_kind(info.filename) for info in files)
    for info in files:
        yield Member(
            name=info.filename,
            size=info.file_size,
            open=lambda info=info: _read_zipped(archive, info, f"{name}/{info.filename}", meter),  # type: ignore[misc]
            files_in_folder=counts[_kind(info.filename)],
        )


def _is_link(info: zipfile.ZipInfo) -> bool:
    return (info.external_attr >> 28) == 0xA  # S_IFLNK, as Unix writes it


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, meter: ExpansionMeter) -> Iterator[bytes]:
    if info.flag_bits & _ENCRYPTED:
        raise InputDataError(f"{name} is encrypted; unpack it with its password and give the files.")
    if info.compress_type not in (*_UNPACKED_BY_ZIPFILE, *_UNPACKED_HERE):
        raise InputDataError(
            f"{name} is compressed with method {info.compress_type}; expected stored, deflate, bzip2, LZMA or zstd: "
            "unpack the archive and give the files."
        )
    try:
        for block in _unpacked(archive, info):
            meter.add(len(block))
            yield block
    except InputDataError:
        raise
    except ZIP_ERRORS as error:
        raise InputDataError(
            f"{name} is damaged ({shorten(str(error), 100) or 'it ends early'}); get it again."
        ) from error


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a member. zipfile unpacks bzip2, LZMA and zstd without a limit, a hundred bytes to gigabytes; so
    these are unpacked here."""
    if info.compress_type in _UNPACKED_BY_ZIPFILE:
        yield from _read(archive, info)
        return
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC  # that of the content, which is compared below
    blocks = _read(archive, packed)
    if info.compress_type == zipfile.ZIP_LZMA:
        blocks = _as_lzma_file(blocks, info)
    checksum = 0
    for block in unpack(blocks, _UNPACKED_HERE[info.compress_type]):
        checksum = zlib.crc32(block, checksum)
        yield block
    if checksum != info.CRC:
        raise zipfile.BadZipFile("Bad CRC-32")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _as_lzma_file(blocks: Iterator[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    """An LZMA member of a zip archive as an .lzma file: its header also has the size, or -1 if an end mark follows."""
    start = next(blocks, b"")
    _, num_properties = struct.unpack("<HH", start[:4])  # after a version
    if num_properties != _LZMA_PROPERTIES:
        raise zipfile.BadZipFile("no valid LZMA header")
    size = -1 if info.flag_bits & _LZMA_END_MARK else info.file_size
    yield start[4 : 4 + num_properties] + struct.pack("<q", size) + start[4 + num_properties :]
    yield from blocks


# --- tar: parsed here, because tarfile ends silently at a damaged header and reads a header of any size into memory


def iter_tar(stream: ByteStream, findings: Findings) -> Iterator[Member]:
    """The files of a tar archive; links, devices, folders and sparse files are skipped.

    They come in the order of the archive, except that the first short files wait until they are counted, and the long
    ones among them come before. Raises InputDataError if the archive is damaged or cut off.
    """
    members = _iter_tar(_Reader(stream.blocks(), stream.name), findings)
    counts: Counter[tuple[str, str]] = Counter()
    ahead: list[Member] = []
    for member in members:
        if member.size > LOOK_AHEAD_BYTES:
            yield member
            continue
        content = b"".join(member.open())
        ahead.append(replace(member, open=lambda content=content: iter([content] if content else [])))  # type: ignore[misc]
        counts[_kind(member.name)] += 1
        if _has_seen_enough(ahead, counts):
            break
    else:
        yield from _with_counts(ahead, counts)
        return
    # The files of a folder follow each other, so only the count of the last one is not final. It and the folders after
    # it are expected to have as many files with an ending as the largest folder so far.
    expected: Counter[str] = Counter()
    for (_, ending), count in counts.items():
        expected[ending] = max(expected[ending], count)
    last, _ = _kind(ahead[-1].name)
    counts.update({kind: expected[kind[1]] - counts[kind] for kind in counts if kind[0] == last})
    yield from _with_counts(ahead, counts)
    for member in members:
        yield replace(member, files_in_folder=expected[_kind(member.name)[1]])


def _has_seen_enough(ahead: list[Member], counts: Counter[tuple[str, str]]) -> bool:
    """Whether enough members were read in advance, and it is known whether the folder of the last has many files."""
    if not LOOK_AHEAD <= len(ahead) < LONGEST_LOOK_AHEAD:
        return len(ahead) >= LONGEST_LOOK_AHEAD
    last, _ = _kind(ahead[LOOK_AHEAD - 1].name)
    has_ended = _kind(ahead[-1].name)[0] != last
    return has_ended or all(count >= MANY_FILES for (folder, _), count in counts.items() if folder == last)


def _with_counts(members: list[Member], counts: Counter[tuple[str, str]]) -> list[Member]:
    return [replace(member, files_in_folder=counts[_kind(member.name)]) for member in members]


def _kind(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return str(path.parent), path.suffix.lower()


class _Reader:
    """Reads a given number of bytes from blocks of any size."""

    def __init__(self, blocks: Iterator[bytes], name: str) -> None:
        self.name = name
        self.num_read = 0
        self._blocks = blocks
        self._buffer, self._at = b"", 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end."""
        while len(self._buffer) - self._at < size and (block := next(self._blocks, b"")):
            self._buffer, self._at = self._buffer[self._at :] + block, 0
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        self.num_read += len(data)
        return data

    def iter(self, size: int) -> Iterator[bytes]:
        """`size` bytes, in blocks. Raises InputDataError if the stream ends before."""
        while size > 0:
            data = self.read(min(size, BLOCK_BYTES))
            if not data:
                raise InputDataError(f"{self.name} is a damaged tar archive (it ends early); get it again.")
            size -= len(data)
            yield data


def _iter_tar(reader: _Reader, findings: Findings) -> Iterator[Member]:
    pax: dict[str, str] = {}
    long_name: str | None = None
    while (header := _next_header(reader, findings)) is not None:
        kind, size = header[156:157], _size_of(header, reader)
        if kind == b"L":
            long_name = _text(_read_field(reader, size, _LONGEST_TAR_NAME))
            continue
        if kind == b"x":
            pax = _parse_pax(_read_field(reader, size, _LONGEST_PAX))
            continue
        name = pax.get("path") or long_name or _name_of(header)
        size = int(pax["size"]) if pax.get("size", "").isdecimal() and len(pax["size"]) < 20 else size
        is_sparse = kind == b"S" or any(key.startswith("GNU.sparse") for key in pax)
        is_file = kind in (b"0", b"\0", b"7") and not name.endswith("/") and not is_sparse
        pax, long_name = {}, None
        if kind == b"S":
            _skip_sparse_map(header, reader)
        elif kind and kind in _TAR_WITHOUT_DATA:
            continue
        content = _Content(reader, size)
        if is_file:
            yield Member(name=name, size=size, open=content.read)
        elif is_sparse:
            findings.ignored_files.add("sparse file in a tar", "sparse file in a tar", f"{reader.name}/{name}")
        content.skip()


class _Content:
    """The bytes of one member; `skip` discards those that were not read."""

    def __init__(self, reader: _Reader, size: int) -> None:
        self._reader, self._left, self._padding = reader, size, -size % _TAR_BLOCK

    def read(self) -> Iterator[bytes]:
        """The bytes, once."""
        while self._left > 0:
            data = next(self._reader.iter(min(self._left, BLOCK_BYTES)))
            self._left -= len(data)
            yield data

    def skip(self) -> None:
        """Move to the end of the member, padding included."""
        for _ in self.read():
            pass
        for _ in self._reader.iter(self._padding):
            pass


def _next_header(reader: _Reader, findings: Findings) -> bytes | None:
    """The next header; None at the end of the archive."""
    header = reader.read(_TAR_BLOCK)
    if not header:
        findings.warnings.append(f"{reader.name} has no end mark and may have been cut off; all files found were read.")
        return None
    if len(header) < _TAR_BLOCK:
        raise InputDataError(f"{reader.name} is a damaged tar archive (it ends early); get it again.")
    if not any(header):
        return None
    if not _has_valid_checksum(header):
        raise InputDataError(
            f"{reader.name} is a damaged tar archive (no header at byte {reader.num_read - _TAR_BLOCK:,}); get it "
            "again."
        )
    return header


def _has_valid_checksum(header: bytes) -> bool:
    stored = header[148:156].strip(b" \0")
    try:
        expected = int(stored, 8)
    except ValueError:
        return False
    return expected == sum(header) - sum(header[148:156]) + 8 * 0x20


def _size_of(header: bytes, reader: _Reader) -> int:
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise InputDataError(
            f"{reader.name} is a damaged tar archive (a header without a valid size before byte {reader.num_read:,}); "
            "get it again."
        ) from None


def _name_of(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _read_field(reader: _Reader, size: int, longest: int) -> bytes:
    if size > longest:
        raise InputDataError(f"{reader.name} is a damaged tar archive (a name of {size:,} bytes); get it again.")
    data = b"".join(reader.iter(size))
    for _ in reader.iter(-size % _TAR_BLOCK):
        pass
    return data


def _parse_pax(data: bytes) -> dict[str, str]:
    """Records of the form `LENGTH KEY=VALUE\\n`, up to the first malformed one."""
    values: dict[str, str] = {}
    while data:
        digits, _, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or not len(digits) < length <= len(data):  # a wrong length could loop forever
            break
        values[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return values


def _skip_sparse_map(header: bytes, reader: _Reader) -> None:
    has_more = header[482]
    while has_more:
        block = reader.read(_TAR_BLOCK)
        if len(block) < _TAR_BLOCK:
            return
        has_more = block[504]


def open_member(member: Member, archive: str) -> ByteStream:
    """A member as a byte stream named `archive/member`."""
    return ByteStream(member.open(), f"{archive}/{member.name}")


def document_in_zip(archive: zipfile.ZipFile) -> str | None:
    """The format of a zip archive that is a document (docx, xlsx, pptx or odt); None for any other archive."""
    names = set(archive.namelist())
    for member, kind in (
        ("word/document.xml", "docx"),
        ("xl/workbook.xml", "xlsx"),
        ("xl/workbook.bin", "xlsx"),
        ("ppt/presentation.xml", "pptx"),
    ):
        if member in names:
            return kind
    return "odt" if {"mimetype", "content.xml"} <= names else None
