"""Read a range of lines of a large file as batches of texts; most of a large corpus is read this way.

A range gives the same documents as reading the file from beginning to end; regular rows only take a shorter path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from pretune.errors import InputDataError
from pretune.text.collect.documents import (
    LONGEST_DOCUMENT,
    READERS_OF_TEXT,
    Document,
    Opened,
    Reading,
    UnitChoice,
    column_documents,
    iter_table,
    with_text,
)
from pretune.text.raw.compression import ByteStream
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.json_rows import iter_json_records, scan_json
from pretune.text.readers.records import SAMPLE_ROWS, Malformed, cell_text
from pretune.text.reading_report import Detection, Findings
from pretune.text.sources.files import TextFile

TEXTS_AT_ONCE = 10_000
CHARACTERS_AT_ONCE = 1_000_000

Batch = tuple[list[str], list[str], list[int | None]]  # texts, the file of each, and the line it starts on


def iter_line_range(
    file: TextFile, stream: ByteStream, first_line: int, seen: Detection, findings: Findings, reading: Reading
) -> Iterator[Batch]:
    """The documents in a range of lines of a UTF-8 file, detected (`seen`) as jsonl or as text with one per line.

    `stream` has only these lines; the first is line `first_line` of the file. Raises InputDataError if they differ in
    form from the beginning of the file, which then has to be read as a whole.
    """
    option = reading.encoding_option
    text = TextStream(stream, findings, encoding=seen.encoding, option=option, first_line=first_line)
    unit: UnitChoice = "line" if seen.unit == "line" else "auto"
    reading = replace(reading, text_column=seen.text_column, text_unit=unit)
    opened = Opened(file=file, stream=stream, findings=findings, reading=reading, seen=seen)
    if seen.format == "jsonl" and seen.text_column is not None:
        yield from _iter_json_lines(opened, text, seen.text_column)
    else:
        documents = with_text(READERS_OF_TEXT[seen.format](opened, text), findings)
        yield from batches(documents, TEXTS_AT_ONCE)
    if text.broken_bytes or text.compression or text.has_mark:
        raise InputDataError(f"{file.name} is not plain {seen.encoding} throughout.")


def _iter_json_lines(opened: Opened, stream: TextStream, column: str) -> Iterator[Batch]:
    findings, name = opened.findings, opened.file.name
    malformed = Malformed(name, findings)
    numbered = stream.numbered_lines()
    first = iter_table(opened, islice(iter_json_records(numbered, malformed), SAMPLE_ROWS))
    texts, lines = _texts_and_lines(with_text(first, findings))
    num_counted = len(texts)  # those that `malformed` knows of
    for number, line in numbered:
        try:
            value, end = scan_json(line, 0)
            text = value[column] if end == len(line) else ""  # TypeError for a list or a number
        except (StopIteration, ValueError, RecursionError, KeyError, TypeError):
            text = ""
        if type(text) is str and 0 < len(text) <= LONGEST_DOCUMENT and not text.isspace():
            texts.append(text if text.isascii() else cell_text(text))
            lines.append(number)
        else:
            malformed.num_good += len(texts) - num_counted
            records = iter_json_records([(number, line)], malformed)
            more = _texts_and_lines(with_text(column_documents(opened, records, column), findings))
            texts += more[0]
            lines += more[1]
            num_counted = len(texts)
        if len(texts) >= TEXTS_AT_ONCE:
            malformed.num_good += len(texts) - num_counted
            yield texts, [name] * len(texts), lines
            texts, lines, num_counted = [], [], 0
    malformed.num_good += len(texts) - num_counted
    malformed.refuse_if_too_many(is_end=True)
    yield texts, [name] * len(texts), lines


def _texts_and_lines(documents: Iterator[Document]) -> tuple[list[str], list[int | None]]:
    found = list(documents)
    return [document.text for document in found], [document.line for document in found]


def batches(documents: Iterator[Document], size: int) -> Iterator[Batch]:
    """The same documents in batches of `size`, or fewer once they have CHARACTERS_AT_ONCE characters together."""
    some: list[Document] = []
    characters = 0
    for document in documents:
        some.append(document)
        characters += len(document.text)
        if len(some) == size or characters >= CHARACTERS_AT_ONCE:
            yield _as_batch(some)
            some, characters = [], 0
    if some:
        yield _as_batch(some)


def _as_batch(documents: list[Document]) -> Batch:
    texts, lines = _texts_and_lines(iter(documents))
    return texts, [document.source for document in documents], lines
