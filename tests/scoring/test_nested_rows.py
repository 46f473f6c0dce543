"""Rows that lie in training rows, or contain one, are not new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.nested_rows import group_rows, groups_of_lines, is_new
from pretune.text.labels.nested_texts import windows, words_of

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


SOME_TEXTS = st.lists(st.lists(st.sampled_from("ab"), max_size=7).map(" ".join), max_size=6)


@given(SOME_TEXTS, SOME_TEXTS)
def test_texts_of_any_number_of_words_agree_with_all_windows(texts: list[str], training: list[str]) -> None:
    def parts_of(text: str) -> set[tuple[str, ...]]:
        return set(windows(words_of(text), set(range(10))))

    known = set().union(*map(parts_of, training))
    rows = {words_of(row) for row in training if len(row.split()) >= 3}
    expected = [words_of(text) not in known and rows.isdisjoint(parts_of(text)) for text in texts]
    assert is_new(texts, training).tolist() == expected


def test_long_rows_are_compared_as_wholes() -> None:
    long = " ".join(map(str, range(100)))
    assert is_new([long, f"{long} more"], [long]).tolist() == [False, True]


def test_rows_that_belong_together_are_in_one_group() -> None:
    rows = ["a gripping and funny film", "and funny film", "Gripping and funny", "funny film", "not bad", "NOT bad"]
    groups = group_rows([[row] for row in rows]).tolist()
    assert groups[0] == groups[1] == groups[2]
    assert groups[4] == groups[5]
    assert len({groups[0], groups[3], groups[4]}) == 3  # two words are too few to tell
    pairs = [("a b", "c d"), ("e f", "a b"), ("g h", "i j"), ("x e f y z", "q")]
    assert len(set(group_rows(pairs).tolist())) == 3


def test_parts_of_a_document_are_in_one_group() -> None:
    groups = group_rows([["one two three"], ["four five six"], ["seven eight nine"]], [4, 4, 7]).tolist()
    assert groups[0] == groups[1] != groups[2]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=7).map(" ".join), min_size=1, max_size=8))
def test_groups_agree_with_a_search_in_strings(rows: list[str]) -> None:
    groups = group_rows([[row] for row in rows])
    for i, first in enumerate(rows):
        for j, second in enumerate(rows):
            contains = len(second.split()) >= 3 and f" {second} " in f" {first} "
            if contains or first == second:
                assert groups[i] == groups[j]


def test_lines_have_groups_only_if_some_belong_together() -> None:
    whole, part, other = {"text": "a gripping and funny film"}, {"text": "gripping and funny"}, {"text": "not bad"}
    assert groups_of_lines([]) is None
    assert groups_of_lines([whole, other]) is None
    groups = groups_of_lines([whole, other, part])
    assert groups is not None
    assert groups[0] == groups[2] != groups[1]
    cut = groups_of_lines([{**other, "row": 4, "part": 0}, {**whole, "row": 4, "part": 1}, {**whole, "row": 5}])
    assert cut is not None
    assert len(set(cut.tolist())) == 1
    assert groups_of_lines([{**each, "text_pair": "the same"} for each in (whole, part)]) is None
