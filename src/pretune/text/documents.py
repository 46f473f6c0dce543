"""Files, folders, patterns and stdin as a stream of documents; nothing is loaded whole and no line is lost."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from pretune.errors import InputDataError
from pretune.runtime.artifacts import MANIFEST_NAME
from pretune.runtime.events import LOG_NAME
from pretune.text.detect import (
    HTML_ENDINGS,
    TXT_ENDINGS,
    FileFormat,
    TextUnit,
    detect_text_column,
    detect_text_unit,
    sniff_format,
)
from pretune.text.findings import Detection, Findings, join_names
from pretune.text.markup import visible_text
from pretune.text.streams import BLOCK_BYTES, STDIN, TextStream
from pretune.text.tables import Record, ending_of, iter_records, iter_stream_records, sniff_table, table_format_of

LONGEST_DOCUMENT = 1_000_000  # characters; a longer one goes on in the next document
UnitChoice = Literal["auto", "line", "paragraph", "file"]


@dataclass(frozen=True, slots=True)
class Document:
    """A text as it was found, with its file and the line it starts on."""

    text: str
    source: str
    line: int | None = None
    from_labels: bool = False


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file to read: where it is, what it is called in sources, how many files of its kind lie in the same folder."""

    path: str
    name: str
    is_named: bool = True  # given as such; files found in a folder are passed over when they are no text
    files_beside: int = 0


def find_files(paths: Sequence[str | Path], findings: Findings) -> list[TextFile]:
    """The files that paths, folders and patterns mean, in a stable order; of a folder those with a known ending.

    Raises InputDataError for a path that does not exist, a pattern that matches nothing, and a folder without text.
    """
    files: list[TextFile] = []
    for path in map(str, paths):
        if path == STDIN:
            files.append(TextFile(path=STDIN, name="stdin"))
        elif Path(path).is_dir():
            files += _files_of_folder(Path(path), findings)
        elif not Path(path).exists() and glob.has_magic(path):
            files += _files_of_pattern(path, findings)
        elif not Path(path).exists():
            raise InputDataError(f"{path} does not exist; expected a file or folder with text, check the path.")
        else:
            files.append(TextFile(path=path, name=path))
    return list({file.path: file for file in files}.values())


def _files_of_pattern(pattern: str, findings: Findings) -> list[TextFile]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise InputDataError(f"The pattern {pattern} matches no file; check it.")
    folders = [match for match in matches if Path(match).is_dir()]
    plain = [match for match in matches if match not in set(folders)]
    if not plain:
        return [file for folder in folders for file in _files_of_folder(Path(folder), findings)]
    beside = Counter((Path(match).parent, ending_of(match)) for match in plain)
    return [
        TextFile(path=match, name=match, files_beside=beside[Path(match).parent, ending_of(match)]) for match in plain
    ]


def _files_of_folder(folder: Path, findings: Findings) -> list[TextFile]:
    found: list[Path] = []
    others: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        if {MANIFEST_NAME, LOG_NAME} <= set(names):
            findings.ignored_files.add("written by pretune", "a stage folder", str(parent))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent) / name for name in sorted(names)):
            reason = _reason_to_pass_over(path)
            if reason is None:
                found.append(path)
            else:
                others.append(path.name)
                findings.ignored_files.add(reason, reason, str(path.relative_to(folder)))
    if not found:
        instead = f" (it holds {join_names(others, 3)})" if others else ""
        raise InputDataError(
            f"{folder} holds no text{instead}; expected files that end in .txt, .md, .html, .csv, .tsv, .jsonl or "
            ".parquet."
        )
    beside = Counter((path.parent, ending_of(path)) for path in found)
    return [
        TextFile(path=str(path), name=str(path), is_named=False, files_beside=beside[path.parent, ending_of(path)])
        for path in found
    ]


def _reason_to_pass_over(path: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden file"
    if ending_of(path) not in (*TXT_ENDINGS, *HTML_ENDINGS) and table_format_of(path) is None:
        return "no ending of a text file"
    if not path.is_file():
        return "not a plain file"
    if path.stat().st_size == 0:
        return "empty file"
    # Many tools leave settings and listings in .json files; such a file is read where every line is an object.
    if ending_of(path) == ".json" and sniff_table(TextStream(path).peek()) is None:
        return "JSON, but not one object a line"
    return None


def _refuse_unreadable(error: OSError) -> None:
    raise InputDataError(f"{error.filename} cannot be read ({error.strerror}); check its permissions.") from error


def iter_documents(
    files: Sequence[TextFile],
    findings: Findings,
    *,
    text_column: str | None = None,
    text_unit: UnitChoice = "auto",
) -> Iterator[Document]:
    """The documents of all files, in order, as they were found.

    Every line, row or page becomes a document or is counted in `findings.dropped`; blank lines of a text file separate
    and are not counted. A document of more than a million characters is continued in the next ones.
    """
    for file in files:
        findings.num_files += 1
        found = False
        for document in _iter_file(file, findings, text_column, text_unit):
            if not document.text or document.text.isspace():
                where = f"{document.source}, line {document.line}" if document.line else document.source
                findings.dropped.add("no_text", "nothing but white space", where)
                continue
            found = True
            yield from _cut_long(document, findings)
        if not found:
            sentence = f"{file.name} holds no text"
            if file.is_named:
                raise InputDataError(f"{sentence}; expected at least one line or row of it.")
            findings.warnings.append(f"{sentence}; it is passed over.")


def _iter_file(
    file: TextFile, findings: Findings, text_column: str | None, text_unit: UnitChoice
) -> Iterator[Document]:
    ending = ending_of(file.path)
    if table_format_of(file.path) == "parquet":
        records = iter_records(file.path, findings=findings)
        yield from _iter_table(
            file, records, findings, text_column, Detection(path=file.name, format="parquet", encoding="utf-8")
        )
        return
    stream = TextStream(file.path, findings, name=file.name)
    if stream.is_empty:
        if file.is_named:
            raise InputDataError(f"{file.name} is empty; expected text.")
        return
    kind: FileFormat = table_format_of(file.path) or sniff_format(stream.peek())
    if ending in TXT_ENDINGS:
        kind = "txt"
    elif ending in HTML_ENDINGS:
        kind = "html"
    if kind == "html":
        stream.use_declared_charset()
    seen = Detection(path=file.name, format=kind, encoding=stream.encoding, compression=stream.compression)
    if kind == "html":
        findings.detected(_with_sentence(seen, unit="file", what="the visible text of each page is a document"))
        yield Document(visible_text(stream.blocks()), file.name)
    elif kind == "txt":
        yield from _iter_txt(file, stream, seen, text_unit)
    else:
        columns = () if text_column is None else (text_column,)
        yield from _iter_table(file, iter_stream_records(stream, kind, columns=columns), findings, text_column, seen)


def _iter_table(
    file: TextFile, records: Iterator[Record], findings: Findings, text_column: str | None, seen: Detection
) -> Iterator[Document]:
    sample = list(islice(records, 100))
    if not sample:
        raise InputDataError(f"{file.name} has no rows; expected a table with a text column.")
    column = detect_text_column(sample, file.name, text_column)
    others = [name for name in sample[0].fields if name != column]
    what = f"the text is in column {column!r}" + (f" (others: {join_names(others)})" if others else "")
    findings.detected(_with_sentence(seen, text_column=column, what=what))
    for record in chain(sample, records):
        yield Document(record.fields.get(column, ""), file.name, record.line)


_UNIT_SENTENCES: dict[TextUnit, str] = {
    "line": "every line is a document",
    "paragraph": "every block between blank lines is a document",
    "file": "every file is a document",
}


def _iter_txt(file: TextFile, stream: TextStream, seen: Detection, choice: UnitChoice) -> Iterator[Document]:
    head = stream.peek()
    unit: TextUnit
    if choice == "auto":
        is_whole_file = len(head) < BLOCK_BYTES // 2
        unit = detect_text_unit(head, is_whole_file=is_whole_file, files_beside=file.files_beside)
    else:
        unit = choice
    stream.findings.detected(_with_sentence(seen, unit=unit, what=_UNIT_SENTENCES[unit]))
    if unit == "line":
        for number, line in enumerate(stream.lines(), 1):
            if line and not line.isspace():
                yield Document(line, file.name, number)
    else:
        yield from _iter_blocks(file, stream, is_whole_file=unit == "file")


def _iter_blocks(file: TextFile, stream: TextStream, *, is_whole_file: bool) -> Iterator[Document]:
    block: list[str] = []
    start, characters = 1, 0
    for number, line in enumerate(stream.lines(), 1):
        is_blank = not line or line.isspace()
        if block and ((is_blank and not is_whole_file) or characters > LONGEST_DOCUMENT):
            yield Document("\n".join(block), file.name, start)
            block, characters = [], 0
        if not is_blank or (is_whole_file and block):
            if not block:
                start = number
            block.append(line)
            characters += len(line) + 1
    if block:
        yield Document("\n".join(block), file.name, start)


def _cut_long(document: Document, findings: Findings) -> Iterator[Document]:
    text = document.text
    if len(text) > LONGEST_DOCUMENT:
        text = text.strip()  # what is left after the last cut must not be blank
    while len(text) > LONGEST_DOCUMENT:
        end = text.rfind(" ", LONGEST_DOCUMENT // 2, LONGEST_DOCUMENT) + 1 or LONGEST_DOCUMENT
        findings.num_continued += 1
        yield Document(text[:end], document.source, document.line, document.from_labels)
        text = text[end:]
    yield document if text is document.text else Document(text, document.source, document.line, document.from_labels)


def _with_sentence(
    seen: Detection, *, what: str, unit: TextUnit | None = None, text_column: str | None = None
) -> Detection:
    compressed = f", {seen.compression}" if seen.compression else ""
    sentence = f"{seen.path}: {seen.format}{compressed}, {seen.encoding.upper()}; {what}."
    return Detection(
        path=seen.path,
        format=seen.format,
        encoding=seen.encoding,
        compression=seen.compression,
        unit=unit,
        text_column=text_column,
        sentence=sentence,
    )
