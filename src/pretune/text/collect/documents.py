"""Read files of any format as a stream of documents; nothing is loaded whole and no line is lost."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

from pretune.errors import InputDataError
from pretune.text.labels.reader import without_labels
from pretune.text.raw.compression import BLOCK_BYTES, ByteStream
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.docx import docx_lines
from pretune.text.readers.hard_wrap import ends_paragraph, paragraph_width
from pretune.text.readers.html import main_lines, visible_lines
from pretune.text.readers.json_rows import JSON_FORMATS, json_format
from pretune.text.readers.mail import QuoteChoice, iter_mbox, read_eml
from pretune.text.readers.markdown import plain_lines
from pretune.text.readers.parquet import iter_parquet
from pretune.text.readers.pdf import pdf_lines
from pretune.text.readers.records import SAMPLE_ROWS, Record
from pretune.text.readers.tables import TableFormat, iter_stream_records
from pretune.text.readers.xml import has_pairs, iter_lines, iter_pairs
from pretune.text.reading_report import Detection, Findings, join_names, shorten
from pretune.text.sources.archive_members import open_parts
from pretune.text.sources.detect import (
    FileFormat,
    TextUnit,
    all_text_columns,
    cell_of,
    choose_format,
    detect_text_column,
    detect_text_unit,
    find_column,
    sniff_document,
    text_of,
)
from pretune.text.sources.files import TextFile

LONGEST_DOCUMENT = 1_000_000  # characters; a longer one is continued in the next document
NO_TEXT = "a file without text"
_BY_CONTENT = " (detected by content)"  # despite the name
UnitChoice = Literal["auto", "line", "paragraph", "file"]


class Document(NamedTuple):
    """A text as found, with its file and the line that it starts on."""

    text: str
    source: str
    line: int | None = None
    from_labels: bool = False


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read files, as far as the user has set it; the rest is detected and reported."""

    text_column: str | None = None
    every_text_column: bool = False  # of a table, unless its text column is given
    text_unit: UnitChoice = "auto"
    encoding: str | None = None
    encoding_option: str | None = None  # the name of the user's option for it, if the command has one
    format: FileFormat | Literal["auto"] = "auto"
    html_text: Literal["visible", "main"] = "visible"
    markdown: Literal["plain", "keep"] = "plain"
    mail_quotes: QuoteChoice = "drop"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An open file or archive member, with everything its reader needs besides the bytes."""

    file: TextFile
    stream: ByteStream
    findings: Findings
    reading: Reading
    seen: Detection


def iter_documents(files: Sequence[TextFile], findings: Findings, reading: Reading = Reading()) -> Iterator[Document]:
    """The documents of all files, in order, as found.

    Every line, row, page or message becomes a document or is counted in `findings.dropped`; blank lines of a text file
    are separators and not counted. A document of more than a million characters is continued in the next ones. A named
    file that cannot be read raises InputDataError; one found in a folder or an archive is skipped and counted in
    `findings.unreadable`, unless nothing in the folder or archive can be read.
    """
    num_found = 0
    for file in files:
        for document in iter_file_documents(file, findings, reading):
            num_found += 1
            yield document
    refuse_unreadable(num_found, findings)


def refuse_unreadable(num_found: int, findings: Findings) -> None:
    """Raise InputDataError if no document was found and a file could not be read."""
    if not num_found and findings.unreadable.total:
        raise InputDataError(next(iter(findings.unreadable.rules.values())).reason)


def iter_file_documents(
    file: TextFile, findings: Findings, reading: Reading = Reading()
) -> Generator[Document, None, None]:
    """The documents of a file or, if it is an archive, of its members."""
    num_found, problem = 0, ""
    before = stamp_of(file.path)
    try:
        for part, open_stream in open_parts(file, findings):
            num_before = num_found
            try:
                for document in _iter_file(part, open_stream(), findings, reading):
                    num_found += 1
                    yield document
            except InputDataError as error:
                if part.path == file.path or str(error).startswith(f"{file.name} "):  # the archive itself is at fault
                    raise
                problem = problem or str(error)
                findings.could_not_read(part.name, str(error), num_found - num_before)
        if problem and not num_found and file.is_named:
            raise InputDataError(problem)
    except InputDataError as error:
        if file.is_named:
            raise
        findings.could_not_read(file.name, str(error), num_found)
    warn_of_change(file, before, findings)


def warn_of_change(file: TextFile, before: tuple[int, int] | None, findings: Findings) -> None:
    """Warn if a file has changed since its stamp was taken."""
    if stamp_of(file.path) != before:
        findings.warnings.append(f"{file.name} changed while it was being read; at most its original size was read.")


def stamp_of(path: str) -> tuple[int, int] | None:
    """Size and modification time of a file; None if there is no such file."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _iter_file(file: TextFile, stream: ByteStream, findings: Findings, reading: Reading) -> Iterator[Document]:
    findings.num_files += 1
    found = False
    for document in with_text(_read(file, stream, findings, reading), findings):
        found = True
        yield document
    if not found:
        sentence = f"{file.name} contains no text"
        if file.is_named:
            raise InputDataError(f"{sentence}; expected at least one line or row.")
        findings.ignored_files.add(NO_TEXT, NO_TEXT, file.name)


def with_text(documents: Iterator[Document], findings: Findings) -> Iterator[Document]:
    """The documents that have a text; those that are too long are cut into several."""
    for document in documents:
        if not document.text or document.text.isspace():
            where = f"{document.source}, line {document.line}" if document.line else document.source
            findings.dropped.add("no_text", "nothing but white space", where)
        elif len(document.text) > LONGEST_DOCUMENT:
            yield from _cut_long(document, findings)
        else:
            yield document


def _read(file: TextFile, stream: ByteStream, findings: Findings, reading: Reading) -> Iterator[Document]:
    by_name = file.format_by_name
    seen = Detection(path=file.name, format="", encoding="utf-8", compression=stream.compression)
    opened = Opened(file=file, stream=stream, findings=findings, reading=reading, seen=seen)
    kind = None if reading.format == "auto" else reading.format
    whole = kind or sniff_document(stream.head, by_name)
    if whole in ("parquet", "pdf", "docx"):
        note = "" if by_name in (whole, None) or kind else _BY_CONTENT
        encoding = "utf-8" if whole == "parquet" else ""  # that of the others means nothing to a user
        seen = replace(seen, format=whole, note=note, encoding=encoding)
        yield from _READERS_OF_BYTES[whole](replace(opened, seen=seen))
        return
    if not stream.head:
        if file.is_named:
            raise InputDataError(f"{file.name} is empty; expected text.")
        return
    text = TextStream(stream, findings, encoding=reading.encoding, option=reading.encoding_option)
    # Named .pdf or .parquet but without the magic bytes: detect by content.
    kind = kind or choose_format(None if by_name in _READERS_OF_BYTES else by_name, text.peek())
    if kind in JSON_FORMATS:
        kind, by_name = (json_format(text.peek()), None if by_name in JSON_FORMATS else by_name)
    if text.is_empty:
        text.close()
        if file.is_named:
            raise InputDataError(f"{file.name} is empty; expected text.")
        return
    if kind in ("html", "xml"):
        text.use_declared_charset()
    note = "" if by_name in (kind, None) or reading.format != "auto" else _BY_CONTENT
    seen = replace(seen, format=kind, encoding=text.encoding, is_guess=text.is_guess, note=note)
    yield from READERS_OF_TEXT[kind](replace(opened, seen=seen), text)


# --- formats read as bytes


def _iter_parquet(opened: Opened) -> Iterator[Document]:
    return iter_table(opened, iter_parquet(opened.stream, opened.findings))


def _iter_pdf(opened: Opened) -> Iterator[Document]:
    _record(opened, unit="file", what="the text of all its pages is one document")
    return _one_document(pdf_lines(opened.stream, opened.findings), opened)


def _iter_docx(opened: Opened) -> Iterator[Document]:
    _record(opened, unit="file", what="the text of all its paragraphs is one document")
    return _one_document(docx_lines(opened.stream), opened)


_READERS_OF_BYTES: dict[str, Callable[[Opened], Iterator[Document]]] = {
    "parquet": _iter_parquet,
    "pdf": _iter_pdf,
    "docx": _iter_docx,
}


# --- formats read as text


def _iter_table_text(opened: Opened, text: TextStream) -> Iterator[Document]:
    kind: TableFormat = opened.seen.format  # type: ignore[assignment]
    column = opened.reading.text_column or opened.file.text_column
    columns = () if column is None else (column,)
    yield from iter_table(opened, iter_stream_records(text, kind, columns=columns, known_names=opened.file.columns))


def iter_table(opened: Opened, records: Iterator[Record]) -> Iterator[Document]:
    """The documents of a table; the text column is detected from the first records."""
    name = opened.file.name
    sample = list(islice(records, SAMPLE_ROWS))
    if not sample:
        raise InputDataError(f"{name} has no rows; expected a table with a text column.")
    known = opened.file.text_column
    given = opened.reading.text_column or (None if known is None else find_column(sample, known))
    columns = [detect_text_column(sample, name, given)]
    if opened.reading.every_text_column and given is None:
        columns = all_text_columns(sample, columns[0])
    others = [field for field in sample[0].fields if field not in columns]
    what = f"the text is in column{'s' * (len(columns) > 1)} {join_names(map(repr, columns), 20)}"
    _record(opened, text_column=", ".join(columns), what=what + (f" (others: {join_names(others)})" if others else ""))
    records = chain(sample, records)
    if len(columns) == 1:
        yield from column_documents(opened, records, columns[0])
    else:
        for record in records:
            for column in columns:
                yield from column_documents(opened, [record], column)


def column_documents(opened: Opened, records: Iterable[Record], column: str) -> Iterator[Document]:
    """The texts of a column; values that are not text are counted in the findings."""
    name = opened.file.name
    for record in records:
        text, value = cell_of(record, column)
        if value is None or isinstance(value, str):
            yield Document(text_of(record, column), name, record.line)
        else:
            example = f"{name}, line {record.line}: {shorten(text, 120)}"
            opened.findings.dropped.add("no_string", "a number, a list or another value in the text column", example)


_UNIT_SENTENCES: dict[TextUnit, str] = {
    "line": "every line is a document",
    "paragraph": "every block between blank lines is a document",
    "file": "every file is a document",
}
_WRAPPED_SENTENCE = "lines are wrapped; every paragraph, up to a short line, is a document"


def _iter_txt(opened: Opened, text: TextStream) -> Iterator[Document]:
    head, unit = text.peek(), _given_unit(opened)
    if unit is None:
        is_whole_file = len(head) < BLOCK_BYTES // 2
        unit = detect_text_unit(head, is_whole_file=is_whole_file, files_in_folder=opened.file.files_in_folder)
    width = paragraph_width(head) if unit == "paragraph" else None
    opened = replace(opened, seen=replace(opened.seen, is_wrapped=width is not None))
    _record(opened, unit=unit, what=_UNIT_SENTENCES[unit] if width is None else _WRAPPED_SENTENCE)
    yield from _iter_units(text.lines(), unit, opened, text.first_line, width)


def _iter_md(opened: Opened, text: TextStream) -> Iterator[Document]:
    unit = _given_unit(opened) or "file"
    is_plain = opened.reading.markdown == "plain"
    how = "without its markup and front matter (--markdown keep leaves them in)" if is_plain else "with its markup"
    _record(opened, unit=unit, what=f"{_UNIT_SENTENCES[unit]}, {how}")
    yield from _iter_units(plain_lines(text.lines()) if is_plain else text.lines(), unit, opened)


def _iter_html(opened: Opened, text: TextStream) -> Iterator[Document]:
    if opened.reading.html_text == "main":
        _record(opened, unit="file", what="the main text of each page is a document")
        lines = main_lines(text.blocks(), opened.file.name)
    else:
        what = "the visible text of each page is a document (--html-text main leaves out menus and footers)"
        _record(opened, unit="file", what=what)
        lines = visible_lines(text.blocks())
    yield from _one_document(lines, opened)


def _iter_xml(opened: Opened, text: TextStream) -> Iterator[Document]:
    if has_pairs(text.peek()):
        _record(opened, what="every question with its answer is a document")
        for pair, line in iter_pairs(text.blocks(), opened.file.name):
            yield Document(pair, opened.file.name, line)
    else:
        _record(opened, unit="file", what="the text of all its elements is one document")
        yield from _one_document(iter_lines(text.blocks(), opened.file.name), opened)


def _iter_mail(opened: Opened, text: TextStream) -> Iterator[Document]:
    """The documents of a mail file; messages are decoded part by part, so they are read as bytes."""
    is_mbox = opened.seen.format == "mbox"
    quotes = opened.reading.mail_quotes
    what = "subject and text of each message are a document"
    what += ", without quotes and signatures (--mail-quotes keep leaves them in)" if quotes == "drop" else ""
    _record(opened, what=what, encoding="as declared")
    read = iter_mbox if is_mbox else read_eml
    try:
        for message, line in read(opened.stream, opened.findings, quotes):
            yield Document(message, opened.file.name, line)
    finally:
        text.close()


READERS_OF_TEXT: dict[str, Callable[[Opened, TextStream], Iterator[Document]]] = {
    "txt": _iter_txt,
    "md": _iter_md,
    "html": _iter_html,
    "xml": _iter_xml,
    "csv": _iter_table_text,
    "tsv": _iter_table_text,
    "jsonl": _iter_table_text,
    "json": _iter_table_text,
    "mbox": _iter_mail,
    "eml": _iter_mail,
}


def _given_unit(opened: Opened) -> TextUnit | None:
    return None if opened.reading.text_unit == "auto" else opened.reading.text_unit


def _iter_units(
    lines: Iterable[str], unit: TextUnit, opened: Opened, first_line: int = 1, width: int | None = None
) -> Iterator[Document]:
    if unit == "line":
        for number, line in enumerate(lines, first_line):
            if line and not line.isspace():
                yield Document(without_labels(line), opened.file.name, number)
    else:
        yield from _iter_blocks(lines, opened.file.name, is_whole_file=unit == "file", width=width)


def _one_document(lines: Iterable[str], opened: Opened) -> Iterator[Document]:
    """All lines as one document without a line number, since they are not the lines of the file."""
    for document in _iter_blocks(lines, opened.file.name, is_whole_file=True):
        yield document._replace(line=None)


def _iter_blocks(
    lines: Iterable[str], name: str, *, is_whole_file: bool, width: int | None = None
) -> Iterator[Document]:
    block: list[str] = []
    start, characters = 1, 0
    for number, line in enumerate(lines, 1):
        is_blank = not line or line.isspace()
        is_next = width is not None and block and ends_paragraph(block[-1], width)
        if block and ((is_blank and not is_whole_file) or is_next or characters > LONGEST_DOCUMENT):
            yield Document("\n".join(block), name, start)
            block, characters = [], 0
        if not is_blank or (is_whole_file and block):
            if not block:
                start = number
            block.append(line)
            characters += len(line) + 1
    if block:
        yield Document("\n".join(block), name, start)


def _cut_long(document: Document, findings: Findings) -> Iterator[Document]:
    text = document.text.strip()  # the rest after the last cut must not be blank
    while len(text) > LONGEST_DOCUMENT:
        end = text.rfind(" ", LONGEST_DOCUMENT // 2, LONGEST_DOCUMENT) + 1 or LONGEST_DOCUMENT
        findings.num_continued += 1
        yield Document(text[:end], document.source, document.line, document.from_labels)
        text = text[end:]
    yield Document(text, document.source, document.line, document.from_labels)


def _record(
    opened: Opened, *, what: str, unit: TextUnit | None = None, text_column: str | None = None, encoding: str = ""
) -> None:
    """Record how a file is read, with a sentence for the user."""
    seen = opened.seen
    shown = encoding or seen.encoding.upper() + (" (a guess)" if seen.is_guess else "")
    how = ", ".join(part for part in (seen.format + seen.note, seen.compression, shown) if part)
    sentence = f"{seen.path}: {how}; {what}."
    opened.findings.detected(replace(seen, unit=unit, text_column=text_column, sentence=sentence))
