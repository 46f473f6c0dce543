"""Divide the input into work units: several files, or a range of lines of a large one; it depends on the files alone.

A jsonl file, or a text file with one document per line, is divided at line ends if it is plain UTF-8. Any other file is
read from beginning to end: what a quote, a byte or a blank line means there depends on what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.collect.documents import Reading, iter_file_documents
from pretune.text.raw.archives import sniff_archive
from pretune.text.raw.compression import open_bytes
from pretune.text.readers.json_rows import JSON_FORMATS
from pretune.text.reading_report import Detection, Findings
from pretune.text.sources.detect import sniff_document
from pretune.text.sources.files import TextFile

BYTES_PER_UNIT = 8_000_000  # at most
LEAST_BYTES, UNITS = 2_000_000, 40  # little text makes more, smaller units, so that all workers finish together


@dataclass(frozen=True, kw_only=True)
class LineRange:
    """Whole lines of a file: its bytes from `start` to before `end`."""

    start: int
    end: int
    first_line: int
    seen: Detection  # how the file is read

    def to_json(self) -> dict[str, Any]:
        """The range as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LineRange:
        """The range from the values of `to_json`."""
        return cls(**{**values, "seen": Detection(**values["seen"])})


@dataclass(frozen=True, kw_only=True)
class WorkUnit:
    """The input of one task: several files, or a range of lines of one."""

    files: list[TextFile]
    line_range: LineRange | None = None


def divide_files(files: Sequence[TextFile], reading: Reading) -> list[WorkUnit]:
    """Divide all files, in order, into units of about the same number of bytes."""
    units: list[WorkUnit] = []
    together: list[TextFile] = []
    num_bytes = 0
    sizes = [_size_of(file) for file in files]
    most = min(BYTES_PER_UNIT, max(LEAST_BYTES, sum(sizes) // UNITS))
    for file, size in zip(files, sizes, strict=True):
        slices = divide_lines(file, reading, most) if size >= 2 * most else []
        if together and (slices or num_bytes + size > most):
            units.append(WorkUnit(files=together))
            together, num_bytes = [], 0
        if slices:
            units += [WorkUnit(files=[file], line_range=one) for one in slices]
        else:
            together.append(file)
            num_bytes += size
    return [*units, WorkUnit(files=together)] if together else units


def bytes_to_divide(units: Sequence[WorkUnit]) -> int:
    """The bytes to divide among workers; 0 if a single unit has all of them."""
    sizes = {file.path: _size_of(file) for unit in units for file in unit.files}
    return sum(sizes.values()) if len(units) > 1 else 0


def divide_lines(file: TextFile, reading: Reading, num_bytes: int) -> list[LineRange]:
    """Divide a file into ranges of about `num_bytes`; none if it has to be read as a whole."""
    seen = _detect_lines(file, reading)
    ends = [] if seen is None else _line_ends(file.path, num_bytes)
    starts = [(0, 1), *ends[:-1]]
    return [
        LineRange(start=start, end=end, first_line=line, seen=seen)
        for (start, line), (end, _) in zip(starts, ends, strict=False)
        if seen is not None
    ]


def _detect_lines(file: TextFile, reading: Reading) -> Detection | None:
    """How a file is read, if it is plain UTF-8 with one document per line; otherwise None."""
    findings = Findings()
    documents = iter_file_documents(file, findings, reading)
    try:
        if not _may_have_lines(file, reading):
            return None
        next(documents, None)
    except InputDataError:  # reported by the worker that reads the file
        return None
    finally:
        documents.close()
    if not findings.detections or findings.detections[0].path != file.name:
        return None
    seen = findings.detections[0]
    has_lines = seen.format == "jsonl" or (seen.format == "txt" and seen.unit == "line")
    is_plain = seen.encoding == "utf-8" and not seen.is_guess and seen.compression is None
    return seen if has_lines and is_plain else None


def _may_have_lines(file: TextFile, reading: Reading) -> bool:
    """Whether a file may have one document per line, by its first bytes.

    Such a file is then read up to its first document. That of a PDF or a Word file is all its text, which would take
    long. Raises InputDataError if the file cannot be read.
    """
    if reading.format not in ("auto", "txt", *JSON_FORMATS):
        return False
    stream = open_bytes(file.path, file.name)
    stream.close()
    is_plain = stream.compression is None and sniff_archive(stream.head) is None
    return is_plain and sniff_document(stream.head, file.format_by_name) is None


def _line_ends(path: str, num_bytes: int) -> list[tuple[int, int]]:
    """Offsets after line feeds, about `num_bytes` apart and the last at the end, each with the number of its line.

    Empty if a line is longer than that, or if the file cannot be read.
    """
    ends: list[tuple[int, int]] = []
    place, line = 0, 1
    try:
        with Path(path).open("rb") as file:
            while block := file.read(num_bytes):
                rest = b"" if block.endswith(b"\n") else file.readline(num_bytes)
                if len(rest) == num_bytes:
                    return []
                block += rest
                place += len(block)
                line += block.count(b"\n")
                if b"\r" in block:  # a lone carriage return also ends a line
                    line += block.count(b"\r") - block.count(b"\r\n")
                ends.append((place, line))
    except OSError:
        return []
    return ends


def _size_of(file: TextFile) -> int:
    try:
        return Path(file.path).stat().st_size
    except (OSError, ValueError):  # reported by the worker that reads the file
        return 0
