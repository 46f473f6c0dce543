"""The second text of a row: which column has it, and which rows lack it."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.errors import InputDataError
from pretune.text.readers.records import Record
from pretune.text.reading_report import join_names
from pretune.text.sources.detect import MIN_FILLED, has_column, text_of

# The usual names of the two columns, in lower case.
PAIR_NAMES = (
    ("text", "text2"),
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "answer"),
)


def find_pair_columns(
    columns: Sequence[str], sample: Sequence[Record], text_column: str | None = None
) -> tuple[str, str] | None:
    """The columns of the two texts, found by their names; None unless most cells of both are filled with text.

    With `text_column`, only a pair whose first text is there.
    """
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    for names in PAIR_NAMES:
        first, second = (by_name.get(name) for name in names)
        if first is None or second is None or (text_column is not None and first != text_column):
            continue
        if all(_is_filled(sample, column) for column in (first, second)):
            return first, second
    return None


def check_pair_column(
    path: str, columns: Sequence[str], records: Sequence[Record], column: str | None, text_column: str
) -> str:
    """The column of the second text. Raises InputDataError if there is none, or if it is the text column itself."""
    if column is None:
        raise InputDataError(
            f"{path} has no column that is recognised as a second text (its columns are {join_names(columns, 20)}); "
            "name it with --text-pair-column."
        )
    if not has_column(records, column):
        raise InputDataError(
            f"{path} has no column {column!r}, which should have the second text; its columns are "
            f"{join_names(columns, 20)}: name the right one with --text-pair-column."
        )
    if column == text_column:
        raise InputDataError(f"Both texts of a pair cannot be in the column {column!r}; name two columns.")
    return column


def _is_filled(sample: Sequence[Record], column: str) -> bool:
    return sum(bool(text_of(record, column).strip()) for record in sample) >= max(1, MIN_FILLED * len(sample))
