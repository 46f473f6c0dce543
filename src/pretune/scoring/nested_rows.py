"""Which rows are new: they neither lie in a training row nor contain one, word for word; and which belong together.

Some data sets, such as the phrases of SST-2, have rows that are parts of other rows. A linear model knows such rows by
heart, so they must not decide how much weight it gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.text.labels.nested_texts import SHORTEST_PART, Parts, Words, windows, words_of


def is_new(texts: Sequence[str], train_texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(N,): whether each of the N texts is new to the training texts."""
    rows = [words_of(text) for text in texts]
    training = {words_of(text) for text in train_texts}
    inside, parts = _found_in(set(rows), training), Parts(training)
    return np.array([row not in inside and not any(parts.inside(row)) for row in rows], dtype=np.bool_)


def group_rows(rows: Sequence[Sequence[str]], documents: Sequence[int] | None = None) -> npt.NDArray[np.int64]:
    """(N,): the number of the group of each row, a row being one text or a pair of texts.

    Rows are in one group if they have a text in common, or if a text of one contains that of another, word for word.
    So are rows that are parts of one document, if `documents` numbers that of each row. Such rows are not independent:
    a model is often right on all of them, or on none.
    """
    texts = [[words_of(text) for text in row] for row in rows]
    groups = list(range(len(rows)))
    first_of: dict[int, int] = {}
    for row, document in enumerate(documents or ()):
        _unite(groups, first_of.setdefault(document, row), row)
    rows_of: dict[Words, int] = {}
    for row, own in enumerate(texts):
        for text in own:
            _unite(groups, rows_of.setdefault(text, row), row)
    known = Parts(rows_of)
    for text, row in rows_of.items():
        for part in known.inside(text):
            _unite(groups, rows_of[part], row)
    return np.array([_root(groups, row) for row in range(len(rows))], dtype=np.int64)


def groups_of_lines(lines: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.int64] | None:
    """(N,): the groups of the rows of a split as in `group_rows`; None if every row is a group of its own.

    Pairs are not grouped: two pairs that share one text still ask different questions.
    """
    if not lines or "text_pair" in lines[0]:
        return None
    groups = group_rows([[line["text"]] for line in lines], [line.get("row", row) for row, line in enumerate(lines)])
    return groups if len(np.unique(groups)) < len(groups) else None


def _root(groups: list[int], row: int) -> int:
    while groups[row] != row:
        groups[row] = groups[groups[row]]
        row = groups[row]
    return row


def _unite(groups: list[int], a: int, b: int) -> None:
    first, second = sorted((_root(groups, a), _root(groups, b)))
    groups[second] = first


def _found_in(wanted: set[Words], rows: set[Words]) -> set[Words]:
    """The wanted sequences of words that occur in some row."""
    lengths = {len(each) for each in wanted if len(each) < SHORTEST_PART}
    short = {window for row in rows for window in windows(row, lengths) if window in wanted}
    longer = Parts(wanted)  # all windows of all of their lengths would be as many as a text has words, for each word
    return short | (wanted & rows) | {part for row in rows for part in longer.inside(row)}
