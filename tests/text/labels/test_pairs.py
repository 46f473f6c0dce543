"""A second text is found by well-known names only, or where the user says."""

from __future__ import annotations

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.pairs import check_pair_column, find_pair_columns
from pretune.text.readers.records import Record


def rows(*columns: str, second: str = "Some other words.") -> list[Record]:
    return [Record(dict(zip(columns, ("A few words.", second, "yes"), strict=False)), n) for n in range(4)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("text", "text2"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "answer"),
        ("text_a", "text_b"), ("sentence_A", "sentence_B"), ("Question1", "Question2"),
    ],
)  # fmt: skip
def test_usual_names(first: str, second: str) -> None:
    assert find_pair_columns([second, "label", first], rows(first, second, "label")) == (first, second)


def test_other_columns_are_no_pair() -> None:
    assert find_pair_columns(["text", "response", "label"], rows("text", "response", "label")) is None
    assert find_pair_columns(["text", "text2"], rows("text", "text2", second=" ")) is None
    assert find_pair_columns(["text", "text2"], rows("text", "text2"), "text2") is None
    assert find_pair_columns(["text", "text2"], rows("text", "text2"), "text") == ("text", "text2")


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (
            None,
            r"no column that is recognised as a second text \(its columns are text, other\); name it with --text-pa",
        ),
        ("answer", r"no column 'answer', which should have the second text; its columns are text, other"),
        ("text", "Both texts of a pair cannot be in the column 'text'"),
    ],
)
def test_a_missing_second_text_is_refused_with_the_columns(column: str | None, problem: str) -> None:
    with pytest.raises(InputDataError, match=problem):
        check_pair_column("rows.csv", ["text", "other"], rows("text", "other"), column, "text")
