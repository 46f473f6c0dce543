"""From data of a program - lists, arrays, columns, pairs or a path - to texts, labelled texts or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.labels.python_columns import column_of, is_table, names_of, values_of
from pretune.text.readers.records import replace_surrogates
from pretune.text.reading_report import join_names

Pairs = list[tuple[str, str]]


def as_pairs(data: Any, text_column: str | None = None, label_column: str | None = None) -> Pairs:
    """The texts and labels of labelled examples, with "" for a missing one.

    `data` is an iterable of pairs, a tuple of two columns, or a table with the columns `text_column` and
    `label_column`. Raises InputDataError for anything else, and for none.
    """
    if is_table(data) and text_column is not None and label_column is None:
        raise _missing("label_column", data)
    items = examples_of(data, text_column, label_column)
    refuse_other_than_pairs(items)
    if not items:
        raise InputDataError(
            "There are no examples; expected pairs of a text and its label, with at least two different labels."
        )
    texts = as_texts([text for text, _ in items])
    return [(text, label_text(label)) for text, (_, label) in zip(texts, items, strict=True)]


def examples_of(
    data: Any, text_column: str | None = None, label_column: str | None = None, *, preferred: str | None = None
) -> list[Any]:
    """The items of `data`; for a tuple of two columns (texts, labels), the pairs of their items.

    Of a table, the items of the column `text_column`, or their pairs with those of `label_column`. If neither is given,
    it is the only column, or the one that is called `preferred`, if there is one.
    """
    if is_table(data):
        if text_column is None and preferred in (names := names_of(data)) and len(names) > 1:
            text_column = preferred
        if text_column is None and label_column is not None:
            raise _missing("text_column", data)
        if text_column is not None:
            texts = column_of(data, text_column)
            if label_column is None:
                return texts
            data = (texts, column_of(data, label_column))
    # A tuple of two examples, or of two texts, is not one of two columns.
    is_columns = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple | str)
    if not is_columns or is_missing(data[0]):
        return values_of(data)
    texts, labels = (values_of(part) for part in data)
    if len(texts) != len(labels):
        raise InputDataError(
            f"There are {len(texts):,} texts and {len(labels):,} labels; expected a label for each text."
        )
    return list(zip(texts, labels, strict=True))


def _missing(setting: str, table: Any) -> InputDataError:
    names = join_names(map(str, names_of(table)), 20)
    return InputDataError(f"{setting} is missing; name one of the columns of the table, which are {names}.")


def refuse_other_than_pairs(items: Sequence[Any]) -> None:
    """Raise InputDataError for the first item that is not a pair of a text and its label."""
    for number, item in enumerate(items, 1):
        if not is_pair(item):
            shown = " ".join(repr(item).split())
            raise InputDataError(f"Example {number} is {shown:.80}; expected a pair of a text and its label.")


def is_pair(item: Any) -> bool:
    """Whether an item is a (text, label) pair; the text may be missing."""
    return isinstance(item, tuple | list) and len(item) == 2 and (isinstance(item[0], str) or is_missing(item[0]))


def as_texts(items: Sequence[Any]) -> list[str]:
    """The texts, with "" for a missing one. Raises InputDataError for anything else."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, str) and not is_missing(item):
            shown = " ".join(repr(item).split())
            raise InputDataError(f"Text {number} is {shown:.80}; expected a string.")
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
