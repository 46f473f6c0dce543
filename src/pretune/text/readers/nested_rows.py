"""The rows inside one JSON object: a table in one of pandas' shapes, or a list of rows under one key."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pretune.text.readers.records import TEXT_NAMES

Row = dict[str, Any]

MANY_WORDS = 8  # of a value: a text rather than a name
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
    texts = {name: cell for name, cell in value.items() if isinstance(cell, str) and cell.strip()}
    if any(name in texts and not any(name in row for row in rows) for name in columns):
        return True
    named = {name.strip().casefold(): cell for name, cell in texts.items()}
    if "text" in named or key.strip().casefold() in _ROWS_NAMES:
        return "text" in named
    return any(
        name in TEXT_NAMES or len(cell.split()) >= MANY_WORDS
        for name, cell in named.items()
        if name not in _ABOUT_NAMES
    )


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
