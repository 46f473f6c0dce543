"""The rows inside one JSON object: a table in one of pandas' shapes, or a list of rows under one key."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pretune.text.clean.rule_measures import num_words
from pretune.text.readers.records import TEXT_NAMES
from pretune.text.reading_report import join_names

Row = dict[str, Any]

MANY_WORDS = 8  # of a value: a text rather than a name
MANY_ROWS = 10  # with texts: a table, whatever text describes it
FAR_MORE = 20  # times the words of the text beside the rows
# Usual keys of the rows of a table; a text beside them describes the table, unless it is called `text`.
_ROWS_NAMES = frozenset(
    ("data", "rows", "records", "examples", "items", "entries", "instances", "samples", "results", "documents")
)
# Usual keys of what describes a table.
_ABOUT_NAMES = frozenset(
    ("title", "name", "description", "info", "notes", "citation", "license", "licence", "copyright", "homepage", "url")
)


def rows_within(value: dict[str, Any], columns: Collection[str] = ()) -> list[Row] | None:
    """The rows of an object that is a whole table; None if it is a row itself.

    Shapes: `{"data": [{...}, ...], ...}` with one list of objects; pandas' `split` (columns, index, data), `columns`
    (a column is an object by index), `index` (a row is an object by column) and `list` (a column is a list).
    `columns` are names of columns to expect: an object that has one of them, and not only in its list, is a row.
    """
    if (found := _under_one_key(value)) is not None:
        key, under_key = found
        return None if _has_own_text(value, key, under_key, columns) else under_key
    for shape in (_split, _by_index, _by_column):
        rows = shape(value)
        if rows:
            return rows
    return None


def what_is_not_read(value: dict[str, Any], rows: list[Row] | None, columns: Collection[str] = ()) -> str | None:
    """What is not read of an object with a text and a list: its text if `rows` are read, the list if that is None.

    None if nothing is lost, or if one of the wanted `columns` is only in the part that is read.
    """
    if (found := _under_one_key(value)) is None:
        return None
    key, under_key = found
    read, rest = ([value], under_key) if rows is None else (rows, [value])
    if any(_has_column(read, name) and not _has_column(rest, name) for name in columns):
        return None
    if rows is None:
        sentence = f"the file is one row with {len(under_key):,} rows under {key!r}, which are not read as rows."
        return sentence if _most_words(under_key) else None
    own = list(_own_texts(value))
    are = "is" if len(own) == 1 else "are"
    sentence = f"the {len(rows):,} rows under {key!r} are read; {join_names(map(repr, own))} beside them {are} not."
    return sentence if own else None


def _has_column(rows: list[Row], name: str) -> bool:
    return any(name in row for row in rows)


def _split(value: dict[str, Any]) -> list[Row] | None:
    columns, data = value.get("columns"), value.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        return None
    return [dict(zip(map(str, columns), row, strict=True)) for row in data]


def _under_one_key(value: dict[str, Any]) -> tuple[str, list[Row]] | None:
    lists = [(key, cell) for key, cell in value.items() if isinstance(cell, list) and len(cell) > 1]
    if len(lists) != 1 or not all(isinstance(row, dict) for row in lists[0][1]):
        return None
    key, rows = lists[0]
    return key, list(rows)


def _has_own_text(value: dict[str, Any], key: str, rows: list[Row], columns: Collection[str]) -> bool:
    """Whether an object has a text beside its list of rows under `key`, as a post has beside its comments."""
    texts = _texts_of(value)
    if any(name in texts and not _has_column(rows, name) for name in columns):
        return True
    names = {name.strip().casefold() for name in texts}
    if "text" in names or key.strip().casefold() in _ROWS_NAMES:
        return "text" in names
    own = _own_texts(value)
    return bool(own) and not _outweigh(rows, own, columns)


def _texts_of(value: dict[str, Any]) -> dict[str, str]:
    return {name: cell for name, cell in value.items() if isinstance(cell, str) and cell.strip()}


def _own_texts(value: dict[str, Any]) -> dict[str, str]:
    """The cells of an object that may be its text, and do not merely describe a table."""
    folded = [(name, name.strip().casefold(), cell) for name, cell in _texts_of(value).items()]
    return {
        name: cell
        for name, fold, cell in folded
        if fold not in _ABOUT_NAMES and (fold in TEXT_NAMES or _count_words(cell) >= MANY_WORDS)
    }


def _outweigh(rows: list[Row], own: dict[str, str], columns: Collection[str]) -> bool:
    """Whether the rows have texts, and are many or have far more words than the object beside them."""
    num_words = _most_words(rows, columns)
    num_own = sum(map(_count_words, own.values()))
    return num_words > 0 and (len(rows) >= MANY_ROWS or num_words >= FAR_MORE * num_own)


def _most_words(rows: list[Row], columns: Collection[str] = ()) -> int:
    """The number of words in the longest column of texts; 0 if no column has texts."""
    words: dict[str, int] = {}
    for row in rows:
        for name, cell in row.items():
            words[name] = words.get(name, 0) + _num_words(cell)
    named = {*TEXT_NAMES, *(name.casefold() for name in columns)}
    texts = [n for name, n in words.items() if name.strip().casefold() in named or n >= MANY_WORDS * len(rows)]
    return max(texts, default=0)


def _num_words(cell: Any) -> int:
    if isinstance(cell, str):
        return _count_words(cell)
    if isinstance(cell, dict):
        cell = list(cell.values())
    return sum(map(_num_words, cell)) if isinstance(cell, list) else 0  # words of a sentence, turns of a conversation


def _count_words(cell: str) -> int:
    """Words between blanks, plus those of scripts without blanks."""
    return num_words(" ".join(cell.split()))


def _by_index(value: dict[str, Any]) -> list[Row] | None:
    """pandas' `columns` and `index`; in the latter, the row names are numbers."""
    cells = list(value.values())
    if len(cells) < 2 or not all(isinstance(cell, dict) and cell.keys() == cells[0].keys() for cell in cells):
        return None
    if all(name.isdecimal() for name in value):
        return cells
    return [{column: value[column][index] for column in value} for index in cells[0]] if len(cells[0]) > 1 else None


def _by_column(value: dict[str, Any]) -> list[Row] | None:
    cells = list(value.values())
    if len(cells) < 2 or not all(isinstance(cell, list) and len(cell) == len(cells[0]) > 1 for cell in cells):
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*cells, strict=True)]
