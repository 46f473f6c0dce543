"""Read a file of labelled examples as texts, labels and slices; columns are found by name or by content."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.conll import CONLL_ENDINGS, iter_conll, sniff_conll
from pretune.text.labels.several_labels import MIN_FLAG_COLUMNS, flag_columns, unless_flag
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.json_rows import JSON_FORMATS, json_format
from pretune.text.readers.records import LABEL_NAMES, SAMPLE_ROWS, Record
from pretune.text.readers.tables import (
    TABLE_ENDINGS,
    ending_of,
    iter_records,
    iter_stream_records,
    sniff_table,
    table_format_of,
)
from pretune.text.reading_report import Findings, counted, join_names, shorten
from pretune.text.sources.detect import (
    MISSING_WORDS,
    are_short,
    column_by_name,
    find_text_column,
    has_column,
    label_column_by_name,
)

SLICE_NAME = "slice"  # the column that names a subset of the rows to report on separately
LABEL_PREFIX = re.compile(r"(?:__label__\S+(?:\s+|$))+")  # fastText's
MAX_LABELS_FRACTION = 0.5  # of the rows: labels repeat, other columns do not


def blank_missing_words(records: Sequence[Record], columns: Sequence[str], format: str, findings: Findings) -> None:
    """Empty the cells of a csv or tsv that contain `None` or `NaN`, as programs write missing values, with a warning.

    Other formats have a value for missing cells; there, these words in quotes are words.
    """
    if format not in ("csv", "tsv"):
        return
    for column in columns:
        found: Counter[str] = Counter()
        for record in records:
            word = record.fields.get(column, "").strip()
            if word in MISSING_WORDS:
                record.fields[column] = ""
                found[word] += 1
        for word, count in found.items():
            cells = f"{counted(count, 'cell')} of the column {column!r} contain{'s' * (count == 1)}"
            findings.warnings.append(
                f"{cells} only {word!r}, taken as missing; if that is a class or a text, spell it differently."
            )


def read_records(path: Path, findings: Findings, expected: Sequence[str]) -> tuple[list[Record], dict[str, Any]]:
    """The rows, and how they were read, as fields of a `detected` event: format, encoding, is_guess, compression.

    Raises InputDataError for a file that cannot be read; `expected` are names of columns that a header may have.
    """
    kind = table_format_of(path)
    if kind == "parquet":
        return list(iter_records(path, findings=findings)), {"format": kind}
    stream = TextStream(path, findings)
    if ending_of(path) in CONLL_ENDINGS or (kind in (None, "tsv") and sniff_conll(stream.peek())):
        return list(iter_conll(stream, findings, expected)), _how("CoNLL", stream)
    kind = kind or sniff_table(stream.peek())
    if kind is None and LABEL_PREFIX.match(stream.peek()):
        return _read_prefixed(stream), _how("fastText", stream)
    if kind is None:
        stream.close()
        endings = join_names(TABLE_ENDINGS, limit=20)
        raise InputDataError(f"{path} is not recognised as a table of texts and labels; expected one of {endings}.")
    if kind in JSON_FORMATS:
        kind = json_format(stream.peek())
    return list(iter_stream_records(stream, kind, columns=expected, keep_crlf=True)), _how(kind, stream)


def _how(kind: str, stream: TextStream) -> dict[str, Any]:
    """How a stream was read; only at its end, since bytes beyond ASCII may come late and decide the encoding."""
    found = {
        "format": kind,
        "encoding": stream.encoding,
        "is_guess": stream.is_guess,
        "compression": stream.compression,
    }
    return {name: value for name, value in found.items() if value}


def describe_how(how: Mapping[str, Any]) -> str:
    """How a file was read, in the words of a sentence, such as `csv cp1252 gz, encoding guessed`."""
    words = [how[name] for name in ("format", "encoding", "compression") if name in how]
    return " ".join(words) + (", encoding guessed" if how.get("is_guess") else "")


def without_labels(line: str) -> str:
    """A line of text without the labels at its beginning, as in fastText's format."""
    return LABEL_PREFIX.sub("", line, count=1) if line.startswith("__label__") else line


def _read_prefixed(stream: TextStream) -> list[Record]:
    """The lines of a file in fastText's format, `__label__good A text`, as rows.

    If a line with a text has several labels, the labels of every line are a list.
    """
    found = list(_iter_prefixed(stream))
    if all(len(labels) == 1 for text, labels, _ in found if text):
        return [Record({"text": text, "label": labels[0]}, line) for text, labels, line in found]
    return [
        Record({"text": text, "label": json.dumps(labels)}, line, {"text": text, "label": labels})
        for text, labels, line in found
    ]


def _iter_prefixed(stream: TextStream) -> Iterator[tuple[str, list[str], int]]:
    """The text, the labels and the line of every row."""
    for number, line in enumerate(stream.lines(), 1):
        found = LABEL_PREFIX.match(line)
        if found is not None:
            yield line[found.end() :], found[0].replace("__label__", " ").split(), number
        elif line.strip():
            raise InputDataError(
                f"{stream.name}, line {number}: expected a label such as __label__good before the text, found "
                f"{shorten(line, 60)!r}; every line needs one."
            )


def find_columns(
    path: str, records: Sequence[Record], text_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """The columns of the texts and of the labels: the given ones, or found by name and content.

    Raises InputDataError for a given column that does not exist, and if none is found; it names the file's columns.
    """
    columns = list(dict.fromkeys(name for record in records for name in record.fields))
    for given, option in ((text_column, "--text-column"), (label_column, "--label-column")):
        if given is not None and not has_column(records, given):
            raise InputDataError(
                f"{path} has no column {given!r}, which {option} names; its columns are {join_names(columns, 20)}."
            )
    if text_column is not None and text_column == label_column:
        raise InputDataError(f"Text and label cannot both be in the column {text_column!r}; name two columns.")
    label, sample = label_column, records[:SAMPLE_ROWS]
    if label is None and text_column is None:
        label = unless_flag(label_column_by_name(sample), columns, records)
    text = text_column or find_text_column(sample, label)
    others = [column for column in columns if column != text]
    label = label or unless_flag(column_by_name(others, LABEL_NAMES), others, records)
    if label is None:
        _refuse_one_hot(path, others, records)
        label = _by_repetition(others, records)
    for found, role, option in ((text, "text", "--text-column"), (label, "label", "--label-column")):
        if found is None:
            raise InputDataError(
                f"{path} has no column that looks like the {role}s (its columns are {join_names(columns, 20)}); "
                f"name it with {option}."
            )
    assert text is not None
    assert label is not None
    return text, label


def _refuse_one_hot(path: str, columns: Sequence[str], records: Sequence[Record]) -> None:
    """Refuse a file with a 0/1 column for each label, one of which would be taken for the label column."""
    flags = flag_columns(records, columns)
    if len(flags) >= MIN_FLAG_COLUMNS:
        raise InputDataError(
            f"{path} has a 0/1 column for each of several labels ({join_names(flags)}); expected one label per row: "
            "choose --task multilabel, or name one of the columns with --label-column."
        )


def _by_repetition(columns: Sequence[str], records: Sequence[Record]) -> str | None:
    """The column with the fewest different cells, if these are short and repeat."""
    best: tuple[int, str] | None = None
    for column in columns:
        cells = [cell for record in records if (cell := record.fields.get(column, "").strip())]
        distinct = set(cells)
        if not distinct or not are_short(distinct):
            continue
        if len(distinct) > max(2, MAX_LABELS_FRACTION * len(cells)):
            continue
        # A column with a single value is no use, so it is taken only if there is no other.
        rank = len(distinct) if len(distinct) > 1 else len(records)
        if best is None or rank < best[0]:
            best = rank, column
    return best[1] if best else None
