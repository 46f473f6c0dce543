"""Several labels a row: lists, labels joined by a separator, and a column of 0 and 1 for each label."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pretune.errors import InputDataError
from pretune.runtime.json_text import parse_json
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.readers.records import LABEL_NAMES, Record
from pretune.text.reading_report import shorten
from pretune.text.sources.detect import MISSING_WORDS, cell_of, has_column, words_of_name

SEPARATORS = ("|", ";", ",", "#", "/", "+")
MIN_JOINED = 2  # different labels that contain a sign, for the sign to count as a separator
MIN_FLAG_COLUMNS = 3  # columns of 0 and 1
MOST_MISSING_FLAGS = 0.05  # of the cells; a label holds or does not in every row, an answer of a survey may be missing
FLAGS_JOINED_BY = ","  # the names of several columns in --label-column
_FLAGS: Mapping[str, bool] = {"0": False, "1": True, "false": False, "true": True}
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NO_COMMA = re.compile(r"'\s+'|\"\s+\"")  # numpy prints ['a' 'b'], which Python reads as ['ab']


def as_list(value: Any) -> list[Any] | None:
    """The items of a list, or of text that is one, as in `['a', 'b']`, `["a", "b"]` or `[a, b]`; None for the rest."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = parse_json(text)
    except ValueError:
        found = _as_python_list(text)
    if isinstance(found, list):
        return found
    return [part.strip() for part in text[1:-1].split(",")]


def _as_python_list(text: str) -> Any:
    """The list that Python's syntax describes; None if the text is none. Nothing is run."""
    if _NO_COMMA.search(text):
        return [single or double for single, double in _QUOTED.findall(text)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash that escapes nothing
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def distinct_labels(items: Iterable[Any]) -> tuple[tuple[str, ...], int]:
    """The labels of a row in their written form and in order, and the number of repeats; blank ones are left out.

    Raises ValueError for an item that is a list or an object.
    """
    names = []
    for item in items:
        if isinstance(item, list | tuple | dict):
            raise ValueError(f"{item!r:.60}")
        if name := label_text(item):
            names.append(name)
    distinct = tuple(dict.fromkeys(names))
    return distinct, len(names) - len(distinct)


def split_cell(cell: Any, separator: str | None) -> list[Any]:
    """The labels in a cell: the items of a list, the parts between separators, or the cell itself."""
    items = as_list(cell)
    if items is not None:
        return items
    return [cell] if separator is None or not isinstance(cell, str) else cell.split(separator)


def read_label_cells(
    cells: Sequence[Any], lines: Sequence[int], path: str, separator: str | None = None
) -> tuple[list[tuple[str, ...] | None], int]:
    """The labels of every row, None for a missing cell, and the number of repeated labels that were left out.

    An empty list and blank text are a row without a label, which is valid; null, NaN and the words that programs write
    for them are missing. Raises InputDataError for a list within a list.
    """
    rows: list[tuple[str, ...] | None] = []
    num_repeats = 0
    for cell, line in zip(cells, lines, strict=True):
        is_word = isinstance(cell, str)
        if (not is_word and is_missing(cell)) or (is_word and cell.strip() in MISSING_WORDS):
            rows.append(None)
            continue
        try:
            labels, repeats = distinct_labels(split_cell(cell, separator))
        except ValueError as error:
            raise InputDataError(
                f"{path}, line {line}: expected a list of labels, each a word or a number, found {error} in it."
            ) from error
        rows.append(labels)
        num_repeats += repeats
    return rows, num_repeats


def find_separator(counts: Mapping[str, int]) -> str | None:
    """The sign that joins labels in some cells; None if none does.

    Some parts of joined labels also occur as labels by themselves, and there are fewer parts than combinations:
    "Sci/Tech" among other names is a single label. So is "A+" or "C#": a sign joins nothing at the end of a label.
    """
    for sign in SEPARATORS:
        split = [joined_parts(label, sign) for label in counts if sign in label]
        together = [parts for parts in split if len(parts) > 1]
        if len(together) < MIN_JOINED:
            continue
        different = {part for parts in split for part in parts} | {label for label in counts if sign not in label}
        num_known = sum(any(part in counts for part in parts) for parts in together)
        if num_known >= MIN_JOINED and len(different) < len(counts):
            return sign
    return None


def joined_parts(label: str, sign: str) -> list[str]:
    """The parts of a label between the signs, without blank ones."""
    return [part.strip() for part in label.split(sign) if part.strip()]


def labels_of_several(counts: Counter[str]) -> set[str]:
    """The labels that look like several: if most rows have lists, those of several items, otherwise joined labels."""
    lists = {label: items for label in counts if (items := as_list(label)) is not None}
    if sum(counts[label] for label in lists) > counts.total() / 2:
        return {label for label, items in lists.items() if len(items) > 1}
    sign = find_separator(counts)
    return set() if sign is None else {label for label in counts if len(joined_parts(label, sign)) > 1}


def maybe_joined(counts: Counter[str]) -> tuple[str, str] | None:
    """The first label whose parts are all labels by themselves, with the sign between them; None if there is none."""
    for sign in SEPARATORS:
        for label in counts:
            parts = joined_parts(label, sign)
            if len(parts) > 1 and all(part in counts for part in parts):
                return label, sign
    return None


def count_with_sign(counts: Counter[str], sign: str) -> int:
    """The number of rows whose cell contains a sign."""
    return sum(count for label, count in counts.items() if sign in label)


def flag_columns(records: Sequence[Record], columns: Sequence[str], *, with_words: bool = False) -> tuple[str, ...]:
    """The columns in which every cell is 0 or 1, or 0.0 or 1.0, and both occur; `with_words`, also false and true.

    A few missing cells do not decide: `read_flags` refuses one with its line, rather than that a label is left out.
    """
    known = _FLAGS if with_words else {"0": False, "1": True}
    most_missing = max(1, MOST_MISSING_FLAGS * len(records))
    found = []
    for column in columns:
        counts = Counter(record.fields.get(column, "").strip() for record in records)
        num_missing = sum(counts.pop(word, 0) for word in {"", *MISSING_WORDS})
        are_flags = all(label_text(cell) in known for cell in counts)
        if are_flags and num_missing <= most_missing and {_flag(cell) for cell in counts} == {True, False}:
            found.append(column)
    return tuple(found)


def unless_flag(
    label: str | None, columns: Sequence[str], records: Sequence[Record], *, are_several: bool = False
) -> str | None:
    """The label column that was found by its name; None if it is only one of several flags, as in emotion_joy.

    A column whose whole name is usual, such as `label`, is always kept. Any other is a flag like the rest if the name
    of another flag has the same word, or if the user says that a row has several labels (`are_several`).
    """
    if label is None or label.strip().casefold() in LABEL_NAMES:
        return label
    flags = flag_columns(records, columns, with_words=are_several)
    if label not in flags or len(flags) < MIN_FLAG_COLUMNS:
        return label
    words = set(LABEL_NAMES).intersection(words_of_name(label))
    are_alike = sum(not words.isdisjoint(words_of_name(flag)) for flag in flags) > 1
    return None if are_alike or are_several else label


def named_columns(joined: str, records: Sequence[Record]) -> tuple[str, ...] | None:
    """The columns whose names are joined by commas; None if the file lacks one. A name may contain commas itself."""
    known = {name for record in records for name in record.fields}
    parts, found = joined.split(FLAGS_JOINED_BY), []
    while parts:
        for count in range(len(parts), 0, -1):
            text = FLAGS_JOINED_BY.join(parts[:count])
            name = text if text in known else text.strip()
            if name in known or (count == 1 and has_column(records, name)):
                found.append(name)
                del parts[:count]
                break
        else:
            return None
    return tuple(found)


def read_flags(records: Sequence[Record], columns: Sequence[str], path: str) -> list[tuple[str, ...]]:
    """The labels of every row from a column of 0 and 1 for each label; raises InputDataError for any other cell."""
    rows = []
    for record in records:
        cells = {column: cell_of(record, column)[0] for column in columns}
        flags = {column: _flag(cell) for column, cell in cells.items()}
        unclear = next((column for column, flag in flags.items() if flag is None), None)
        if unclear is not None:
            raise InputDataError(
                f"{path}, line {record.line}: expected 0 or 1 in the column {unclear!r}, which stands for a label, "
                f"found {shorten(cells[unclear], 60)!r}; correct the cell, or name the columns of all labels with "
                "--label-column."
            )
        rows.append(tuple(column for column, flag in flags.items() if flag))
    return rows


def _flag(cell: str) -> bool | None:
    return _FLAGS.get(label_text(cell))
