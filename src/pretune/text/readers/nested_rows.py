"""The rows inside one JSON object: a table in one of pandas' shapes, or a list of rows under one key."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def rows_within(value: dict[str, Any]) -> list[Row] | None:
    """The rows of an object that is a whole table; None if it is a row itself.

    Shapes: `{"data": [{...}, ...], ...}` with one list of objects; pandas' `split` (columns, index, data), `columns`
    (a column is an object by index), `index` (a row is an object by column) and `list` (a column is a list).
    """
    for shape in (_split, _under_one_key, _by_index, _by_column):
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


def _under_one_key(value: dict[str, Any]) -> list[Row] | None:
    lists = [cell for cell in value.values() if isinstance(cell, list) and len(cell) > 1]
    if len(lists) != 1 or not all(isinstance(row, dict) for row in lists[0]):
        return None
    return list(lists[0])


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
