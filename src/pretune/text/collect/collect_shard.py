"""Map: read a work unit, which is some files or a range of lines of one, into documents as found.

The result of a unit is a folder with documents-00000.jsonl.zst and so on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, WorkersError
from pretune.runtime.workers import worker_name
from pretune.text.collect.documents import Reading, iter_file_documents
from pretune.text.collect.line_ranges import Batch, batches, iter_line_range
from pretune.text.collect.work_units import LineRange, WorkUnit
from pretune.text.document_store import CorpusWriter
from pretune.text.raw.compression import open_slice
from pretune.text.readers.records import UNPARSABLE_ROW
from pretune.text.reading_report import Findings
from pretune.text.sources.files import TextFile

MOST_UNPARSABLE = 100  # rows; from there on, their fraction in the whole file decides whether it is refused
_DOCUMENTS_AT_ONCE = 1000

OnProgress = Callable[[int, Findings], None]


def task_of(unit: WorkUnit, reading: Reading) -> dict[str, Any]:
    """The task of `collect_work_unit`."""
    return {
        "files": [asdict(file) for file in unit.files],
        "line_range": None if unit.line_range is None else unit.line_range.to_json(),
        "reading": asdict(reading),
    }


def collect_work_unit(out: Path, task: dict[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Read a work unit and write its documents; `on_progress(documents, findings)` is called from time to time.

    If there are `task["sizes"]`, this machine may not be that of the command: raises OSError or WorkersError for a file
    that is not the same here, which would be counted as unreadable or read in part.

    Returns documents, characters, findings (as JSON) and is_regular, which is false if the lines of a range differ in
    form from the beginning of the file, so that the file has to be read as a whole.
    """
    findings = Findings()
    files = [_file_from_json(values) for values in task["files"]]
    reading = Reading(**task["reading"])
    for file, size in zip(files, task.get("sizes", ()), strict=False):
        if size is not None:
            _refuse_other_file(file, size)
    is_regular = True
    with CorpusWriter(out) as writer:
        try:
            for texts, sources, lines in _iter_batches(files, task["line_range"], findings, reading):
                writer.write_many(texts, source=sources, line=lines, from_labels=[False] * len(texts))
                if on_progress is not None:
                    on_progress(writer.num_documents, findings)
        except InputDataError:
            if task["line_range"] is None:
                raise
            is_regular = False
    written = {"documents": writer.num_documents, "characters": writer.num_characters}
    return {**written, "findings": findings.to_json(), "is_regular": is_regular}


def readable_size(path: str) -> int:
    """The bytes of a file. Raises OSError if it cannot be opened."""
    with Path(path).open("rb") as file:
        return os.fstat(file.fileno()).st_size


def _refuse_other_file(file: TextFile, size: int) -> None:
    if (found := readable_size(file.path)) != size:
        raise WorkersError(
            f"{file.path} has {found:,} bytes on the machine of worker {worker_name()}, and {size:,} where the command "
            "was given; expected the same file: share the folder of the input, or wait until the file is complete, and "
            "run the same command again."
        )


def _iter_batches(
    files: list[TextFile], values: dict[str, Any] | None, findings: Findings, reading: Reading
) -> Iterator[Batch]:
    if values is None:
        for file in files:
            yield from batches(iter_file_documents(file, findings, reading), _DOCUMENTS_AT_ONCE)
        return
    (file,), part = files, LineRange.from_json(values)
    stream = open_slice(file.path, file.name, part.start, part.end)
    yield from iter_line_range(file, stream, part.first_line, part.seen, findings, reading)
    if part.start:  # the file is counted and shown with its first lines
        findings.detections, findings.files_by_kind = [], {}
    else:
        findings.num_files = 1


def _file_from_json(values: dict[str, Any]) -> TextFile:
    return TextFile(**{**values, "members": tuple(values["members"]), "columns": tuple(values["columns"])})


def irregular_files(units: Sequence[WorkUnit], results: Sequence[dict[str, Any]]) -> set[str]:
    """The paths of the files that were read by line ranges and have to be read again as a whole.

    These are files with an irregular range, files without a document, and files with so many unparsable rows that their
    fraction matters. All others would also be accepted when read from beginning to end.
    """
    unparsable: dict[str, int] = {}
    documents: dict[str, int] = {}
    irregular = set()
    for unit, result in zip(units, results, strict=True):
        if unit.line_range is None:
            continue
        path = unit.files[0].path
        dropped = {rule["name"]: rule["count"] for rule in result["findings"]["dropped"]}
        unparsable[path] = unparsable.get(path, 0) + dropped.get(UNPARSABLE_ROW, 0)
        documents[path] = documents.get(path, 0) + result["documents"]
        if not result["is_regular"]:
            irregular.add(path)
    return irregular | {path for path in documents if not documents[path] or unparsable[path] >= MOST_UNPARSABLE}
