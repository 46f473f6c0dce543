"""Rows that lie in training rows, or contain one, are not new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.nested_rows import is_new

TRAINING = ["a gripping and funny film", "not bad", "too long by half an hour"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gripping and funny", False),  # in a training row
        ("It is TOO long by half an hour .", False),  # contains one
        ("a gripping and funny film", False),
        ("it is not bad", True),  # two words are too few to tell
        ("funny and gripping", True),
        ("a gripping film", True),
    ],
)
def test_nested_rows_are_found(text: str, expected: bool) -> None:
    assert is_new([text], TRAINING).tolist() == [expected]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6).map(" ".join), min_size=1, max_size=5), st.data())
def test_parts_and_wholes_agree_with_a_search_in_strings(training: list[str], data: st.DataObject) -> None:
    text = " ".join(data.draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=8)))
    inside = any(f" {text} " in f" {row} " for row in training)
    contains = any(f" {row} " in f" {text} " for row in training if len(row.split()) >= 3)
    assert is_new([text], training)[0] == (not inside and not contains)


def test_long_rows_are_compared_as_wholes() -> None:
    long = " ".join(map(str, range(100)))
    assert is_new([long, f"{long} more"], [long]).tolist() == [False, True]
