"""Entities are read from tags as seqeval reads them, and a right one has the right words and the right type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.tag_entities import entities_of, entity_f1, first_tag

NAMES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TAGS = st.lists(st.integers(0, len(NAMES) - 1), max_size=12)


def test_entities_next_to_each_other_are_told_apart() -> None:
    assert entities_of([1, 2, 1, 0, 3, 2]) == [(0, 2, 0), (2, 3, 0), (4, 5, 1), (5, 6, 0)]
    assert entities_of([0, 2, 2]) == [(1, 3, 0)]
    assert entities_of([]) == []


@given(TAGS)
def test_entities_cover_the_tagged_words_once(tags: list[int]) -> None:
    covered = [place for start, end, _ in entities_of(tags) for place in range(start, end)]
    assert covered == [place for place, tag in enumerate(tags) if tag]
    again = [0] * len(tags)
    for start, end, entity_type in entities_of(tags):
        again[start:end] = [first_tag(entity_type), *[first_tag(entity_type) + 1] * (end - start - 1)]
    assert entities_of(again) == entities_of(tags)


def test_f1_counts_whole_entities_only() -> None:
    true = [[1, 2, 0, 3], [0, 0]]
    assert entity_f1(true, true) == 1.0
    assert entity_f1(true, [[1, 0, 0, 3], [0, 0]]) == 0.5  # one hit of two, twice
    assert entity_f1(true, [[3, 4, 0, 3], [1, 0]]) == pytest.approx(2 / 5)
    assert entity_f1([[0]], [[0]]) == 0.0


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5))
def test_f1_is_that_of_seqeval(pairs: list[tuple[list[int], list[int]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is the reference of entity F1")
    true = [a[: min(len(a), len(b))] for a, b in pairs]
    found = [b[: min(len(a), len(b))] for a, b in pairs]
    expected = metrics.f1_score(
        *([[NAMES[tag] for tag in row] for row in rows] for rows in (true, found)), zero_division=0
    )
    assert entity_f1(true, found) == pytest.approx(expected)
