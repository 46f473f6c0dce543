"""From data of a program - lists, arrays, columns, pairs or a path - to texts, labelled texts or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.runtime.home import expand_home
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.labels.python_columns import (
    column_of,
    is_table,
    labels_of_flags,
    lists_of,
    names_of,
    rows_as_table,
    values_of,
)
from pretune.text.labels.spans import Span, are_spans, span_of
from pretune.text.readers.records import replace_surrogates
from pretune.text.reading_report import join_names

Text = str | tuple[str, str]  # a text, or a text and a second one
Written = str | list[str] | list[Span]
Pairs = list[tuple[Text, Written]]


def as_pairs(
    data: Any, text_column: str | None = None, label_column: str | None = None, text_pair_column: str | None = None
) -> Pairs:
    """The texts and labels of labelled examples, with "" for a missing one.

    `data` is an iterable of pairs, a tuple of two columns, or a table (also a list of dicts) with the columns that are
    named. A text may be a pair of texts, and a label a list of labels; of two columns, the first may be a table or
    array of two columns of texts, and the second one of 0 and 1 with a column for each label. Raises InputDataError for
    anything else, and for no examples.
    """
    data = rows_as_table(data)
    if is_table(data) and text_column is not None and label_column is None:
        raise _missing("label_column", data)
    items = examples_of(data, text_column, label_column, text_pair_column)
    refuse_other_than_pairs(items)
    if not items:
        raise InputDataError(
            "There are no examples; expected pairs of a text and its label, with at least two different labels."
        )
    texts = as_texts_or_pairs([text for text, _ in items])
    return [(text, written_label(label)) for text, (_, label) in zip(texts, items, strict=True)]


def examples_of(
    data: Any,
    text_column: str | None = None,
    label_column: str | None = None,
    text_pair_column: str | None = None,
    *,
    preferred: Mapping[str, str] | None = None,
) -> list[Any]:
    """The items of `data`; for a tuple of two columns (texts, labels), the pairs of their items.

    Of a table, the items of the column `text_column`, paired with those of `text_pair_column` if it is given, or their
    pairs with those of `label_column`. If the texts are not named, they are in the only column, or in those that
    `preferred` names (text_column and text_pair_column of the file that a model was trained on), if the table has them.
    A list of dicts is a table, too.
    """
    data = rows_as_table(data)
    if is_table(data):
        names, wanted = names_of(data), preferred or {}
        if text_column is None and wanted.get("text_column") in names and len(names) > 1:
            text_column = wanted["text_column"]
        if text_pair_column is None and wanted.get("text_pair_column") in names:
            text_pair_column = wanted["text_pair_column"]
        if text_column is None:
            _refuse_unnamed_texts(data, label_column)
        else:
            texts = column_of(data, text_column)
            if text_pair_column is not None:
                texts = list(zip(texts, column_of(data, text_pair_column), strict=True))
            if label_column is None:
                return texts
            data = (texts, column_of(data, label_column))
    if not _are_columns(data):
        return values_of(data)
    texts, labels = lists_of(data[0]), labels_of_flags(data[1]) or values_of(data[1])
    if len(texts) != len(labels):
        raise InputDataError(
            f"There are {len(texts):,} texts and {len(labels):,} labels; expected a label for each text."
        )
    return list(zip(texts, labels, strict=True))


def _are_columns(data: Any) -> bool:
    """Whether the data is a tuple of two columns, rather than one of two texts, or of two examples.

    Tuples of two items may be either, and are taken for examples.
    """
    if not isinstance(data, tuple) or len(data) != 2 or _is_text(data[0]):
        return False
    may_be_examples = isinstance(data[0], tuple) and len(data[0]) == 2 and isinstance(data[1], tuple | list | str)
    return not may_be_examples


def texts_and_labels(items: Sequence[Any], *, has_pairs: bool) -> tuple[list[Text], list[Any] | None]:
    """The texts to predict for, with "" for a missing one, and the expected labels as given, if there are any.

    With `has_pairs`, two strings are a pair of texts, and otherwise a text and its label.
    """
    if not any(is_pair(item) and not (has_pairs and _is_text_pair(item)) for item in items):
        return as_texts_or_pairs(items), None
    refuse_other_than_pairs(items)
    return as_texts_or_pairs([text for text, _ in items]), [label for _, label in items]


def written_label(label: Any) -> Written:
    """The written form of a label, or of each label in a list, tuple, set or column; entities become spans in order."""
    if len(getattr(label, "shape", ())) == 1:
        label = values_of(label)
    if isinstance(label, list | tuple) and label and are_spans(label):
        return sorted({span for item in label if (span := span_of(item)) is not None})
    if isinstance(label, list | tuple | set | frozenset):
        names = [label_text(each) for each in (sorted(label, key=str) if isinstance(label, set | frozenset) else label)]
        return [name for name in names if name]
    return label_text(label)


def _refuse_unnamed_texts(table: Any, label_column: str | None) -> None:
    """Raise InputDataError unless the texts can only be in the single column of the table."""
    if label_column is not None:
        raise _missing("text_column", table)
    names = names_of(table)
    if len(names) != 1:
        raise InputDataError(
            f"The data is a table with the columns {join_names(map(str, names), 20)}; expected a list of texts, of "
            "(text, label) pairs, or two columns: (data[TEXTS], data[LABELS]). To take columns of the table, name "
            "them: text_column=..., label_column=..."
        )


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
    """Whether an item is a pair of a text, or of two texts, and a label; a text may be missing."""
    return isinstance(item, tuple | list) and len(item) == 2 and (_is_text(item[0]) or _is_text_pair(item[0]))


def _is_text(item: Any) -> bool:
    return isinstance(item, str) or is_missing(item)


def _is_text_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and all(map(_is_text, item))


def as_texts_or_pairs(items: Sequence[Any]) -> list[Text]:
    """As `as_texts`, with a tuple of two for each pair of texts."""
    has_second = [_is_text_pair(item) for item in items]
    firsts = as_texts([item[0] if is_pair else item for item, is_pair in zip(items, has_second, strict=True)])
    seconds = as_texts([item[1] if is_pair else "" for item, is_pair in zip(items, has_second, strict=True)])
    found = zip(firsts, seconds, has_second, strict=True)
    return [(first, second) if is_pair else first for first, second, is_pair in found]


def as_texts(items: Sequence[Any]) -> list[str]:
    """The texts, with "" for a missing one. Raises InputDataError for anything else."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, str) and not is_missing(item):
            shown = " ".join(repr(item).split())
            raise InputDataError(f"Text {number} is {shown:.80}; expected a string.")
    return [replace_surrogates(str(item)) if isinstance(item, str) else "" for item in items]


def existing_file(path: Path | str) -> Path:
    """The path of an existing file. Raises InputDataError for anything else, such as a single text."""
    file = expand_home(path)
    try:
        is_there = file.is_file()
    except OSError:  # a long text is not a file name
        is_there = False
    if not is_there:
        raise InputDataError(
            f"{str(path)!r:.80} is not a file; expected a path, or a list of texts: put a single text in [ ]."
        )
    return file
