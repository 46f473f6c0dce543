"""Columns and tables of numpy, pandas, polars, pyarrow and datasets as lists of Python values; none is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.label_text import is_missing
from pretune.text.reading_report import join_names

_NAMES = ("column_names", "columns")  # pyarrow, whose `columns` have no names, and datasets; pandas and polars
_TO_VALUES = ("tolist", "to_list", "to_pylist")  # numpy and pandas; polars; pyarrow


def is_table(data: Any) -> bool:
    """Whether the data has named columns: a data frame, a table of pyarrow, a Dataset, or a dict of columns."""
    # Of the type: pandas makes every item of a column an attribute, so one of them may be called `columns`.
    return isinstance(data, Mapping) or any(hasattr(type(data), name) for name in _NAMES)


def rows_as_table(data: Any) -> Any:
    """A dict of columns for a list or iterator of dicts, such as csv.DictReader, with None where one lacks a key.

    Other data is returned as it is, but an iterator as a list. A tuple of two dicts of columns is no list of rows.
    """
    if isinstance(data, Iterator):
        data = list(data)
    if not isinstance(data, list) or not data or not all(isinstance(row, Mapping) for row in data):
        return data
    return {name: [row.get(name) for row in data] for name in dict.fromkeys(name for row in data for name in row)}


def values_of(data: Any) -> list[Any]:
    """The items of a column, an array, a table of one column, or any other iterable, as Python values.

    An array of shape (N, 1) has N items, and one of shape (N, 2) has N lists of two. Raises InputDataError for a table
    of several columns, since iterating over one gives the names of its columns, for a single text, since iterating over
    that gives its letters, and for what is no collection.
    """
    if isinstance(data, str | bytes):
        raise InputDataError(f"The data is the single text {data!r:.80}; expected a list: put it in [ ].")
    if is_table(data):
        names = names_of(data)
        if len(names) != 1:
            raise InputDataError(
                f"The data is a table with the columns {join_names(map(str, names), 20)}; expected a list of texts, or "
                "one of the columns: data[NAME]."
            )
        return column_of(data, names[0])
    for name in _TO_VALUES:
        if hasattr(data, name):
            return _items_of_array(getattr(data, name)(), data)
    try:
        return list(data)
    except TypeError:
        raise _no_list(data) from None


def lists_of(data: Any) -> list[Any]:
    """As `values_of`, but the rows of a table or array of several columns are lists, such as pairs of texts."""
    if not is_table(data):
        return values_of(data)
    columns = [column_of(data, name) for name in names_of(data)]
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def labels_of_flags(data: Any) -> list[list[str]] | None:
    """The labels of every row of a table or array (N, C) of 0 and 1, or of a sparse one; None for other data.

    The columns of an array are called 0 to C - 1. Raises InputDataError for another value than 0 and 1.
    """
    if hasattr(data, "toarray"):
        data = data.toarray()
    if is_table(data):
        names = [str(name) for name in names_of(data)]
    elif len(getattr(data, "shape", ())) == 2:
        names = [str(place) for place in range(data.shape[1])]
    else:
        return None
    if len(names) < 2:
        return None
    rows = lists_of(data)
    for number, row in enumerate(rows, 1):
        if any(is_missing(flag) or flag not in (0, 1) for flag in row):
            raise InputDataError(
                f"Row {number} of the labels is {row!r:.80}; expected 0 or 1 for each of the {len(names)} labels."
            )
    return [[name for name, flag in zip(names, row, strict=True) if flag] for row in rows]


def column_of(table: Any, name: Any) -> list[Any]:
    """The items of a column of a table. Raises InputDataError if the table has no such column, or several."""
    names = names_of(table)
    # The numbers that pandas gives to columns without a name are found by their text, too.
    found = [each for each in names if each == name] or [each for each in names if str(each) == str(name)]
    if len(found) != 1:
        count = f"{len(found)} columns" if found else "no column"
        raise InputDataError(
            f"The table has {count} named {name!r}; its columns are {join_names(map(str, names), 20)}."
        )
    column = table[found[0]]
    if isinstance(column, str | bytes):
        raise InputDataError(f"The column {name!r} is the single text {column!r:.80}; expected a list: put it in [ ].")
    return values_of(column)


def names_of(table: Any) -> list[Any]:
    """The names of the columns of a table.

    Raises InputDataError for a lazy frame of polars, which has no rows yet, and for a stream of datasets whose columns
    are not known.
    """
    if isinstance(table, Mapping):
        return list(table)
    if type(table).__name__ == "LazyFrame":
        raise InputDataError("The data is a lazy frame, which has no rows yet; call .collect() on it first.")
    names = getattr(table, next(name for name in _NAMES if hasattr(type(table), name)))
    if names is None:
        raise InputDataError("The data is a stream without the names of its columns; give a list of its rows: [*data].")
    return list(names)


def _items_of_array(values: Any, data: Any) -> list[Any]:
    if not isinstance(values, list):  # the only value of an array without dimensions
        raise _no_list(data)
    is_one_column = len(getattr(data, "shape", ())) == 2 and data.shape[1] == 1
    return [item for (item,) in values] if is_one_column else values


def _no_list(data: Any) -> InputDataError:
    shown = " ".join(repr(data).split())
    return InputDataError(
        f"The data is {shown:.80}; expected a list of texts, a list of (text, label) pairs, or the path of a file."
    )
