"""From data of a program - lists, arrays, columns, pairs or a path - to texts, labelled texts or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.readers.records import replace_surrogates
from pretune.text.reading_report import join_names

Pairs = list[tuple[str, str]]


def as_pairs(data: Any) -> Pairs:
    """The texts and labels of labelled examples, with "" for a missing one.

    `data` is an iterable of pairs, or a tuple of two columns. Raises InputDataError for anything else, and for none.
    """
    items = examples_of(data)
    refuse_other_than_pairs(items)
    if not items:
        raise InputDataError(
            "There are no examples; expected pairs of a text and its label, with at least two different labels."
        )
    texts = as_texts([text for text, _ in items])
    return [(text, label_text(label)) for text, (_, label) in zip(texts, items, strict=True)]


def examples_of(data: Any) -> list[Any]:
    """The items of `data`; for a tuple of two columns (texts, labels), the pairs of their items."""
    # A tuple of two examples, or of two texts, is not one of two columns.
    is_columns = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple | str)
    if not is_columns or is_missing(data[0]):
        return _items_of(data)
    texts, labels = (_items_of(part) for part in data)
    if len(texts) != len(labels):
        raise InputDataError(
            f"There are {len(texts):,} texts and {len(labels):,} labels; expected a label for each text."
        )
    return list(zip(texts, labels, strict=True))


def refuse_other_than_pairs(items: Sequence[Any]) -> None:
    """Raise InputDataError for the first item that is not a pair of a text and its label."""
    for number, item in enumerate(items, 1):
        if not is_pair(item):
            raise InputDataError(f"Example {number} is {item!r:.80}; expected a pair of a text and its label.")


def _items_of(data: Any) -> list[Any]:
    """The items of a list, an array, a column or any other iterable.

    Raises InputDataError for a table, since iterating over one gives the names of its columns.
    """
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        columns = data.keys() if isinstance(data, Mapping) else data.columns
        raise InputDataError(
            f"The data is a table with the columns {join_names(map(str, columns))}; expected a list of texts, of "
            "(text, label) pairs, or two columns: (data[TEXTS], data[LABELS])."
        )
    for name in ("tolist", "to_list"):  # arrays and columns of numpy, pandas and polars: as Python values
        if hasattr(data, name):
            data = getattr(data, name)()
            break
    try:
        return list(data)
    except TypeError as error:
        raise InputDataError(
            f"The data is {data!r:.80}; expected a list of texts, a list of (text, label) pairs, or the path of a file."
        ) from error


def is_pair(item: Any) -> bool:
    """Whether an item is a (text, label) pair; the text may be missing."""
    return isinstance(item, tuple | list) and len(item) == 2 and (isinstance(item[0], str) or is_missing(item[0]))


def as_texts(items: Sequence[Any]) -> list[str]:
    """The texts, with "" for a missing one. Raises InputDataError for anything else."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, str) and not is_missing(item):
            raise InputDataError(f"Text {number} is {item!r:.80}; expected a string.")
    return [replace_surrogates(str(item)) if isinstance(item, str) else "" for item in items]


def existing_file(path: Path | str) -> Path:
    """The path of an existing file. Raises InputDataError for anything else, such as a single text."""
    file = Path(path).expanduser()
    try:
        is_there = file.is_file()
    except OSError:  # a long text is not a file name
        is_there = False
    if not is_there:
        raise InputDataError(
            f"{str(path)!r:.80} is not a file; expected a path, or a list of texts: put a single text in [ ]."
        )
    return file
