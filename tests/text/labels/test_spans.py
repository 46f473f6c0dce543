"""Spans are read in usual spellings, refused where they make no sense, and turned into tags and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.labels.spans import (
    Span,
    are_spans,
    count_unaligned,
    join_words,
    read_spans,
    spans_of_tags,
    to_tags,
    word_offsets,
)
from pretune.text.labels.tags import Scheme

TEXT = "Ada Lovelace lived in London."


@pytest.mark.parametrize(
    "items",
    [
        [[0, 12, "PER"], [22, 28, "LOC"]],
        [(22, 28, "LOC"), (0, 12, "PER")],
        [{"start": 0, "end": 12, "label": "PER"}, {"start": 22, "end": 28, "label": "LOC"}],
        [{"start_offset": 0, "end_offset": 12, "type": "PER", "id": 4}, [22, 28, "LOC"], [22, 28, "LOC"]],
        [(np.int64(0), np.int32(12), "PER"), {"start": np.int64(22), "end": np.uint8(28), "label": "LOC"}],
    ],
)
def test_spellings(items: list[Any]) -> None:
    assert are_spans(items)
    spans, num_trimmed = read_spans(items, TEXT, "rows.jsonl, line 3")
    assert (spans, num_trimmed) == ((Span(0, 12, "PER"), Span(22, 28, "LOC")), 0)
    assert all(type(place) is int for span in spans for place in span[:2])  # as JSON has them


def test_blanks_at_the_borders_are_trimmed() -> None:
    assert read_spans([[3, 13, "PER"]], TEXT, "") == ((Span(4, 12, "PER"),), 1)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([[0, 12, "PER"], [4, 21, "X"]], "the entities 0-12 'PER' and 4-21 'X' overlap; .* keep the longer"),
        ([[0, 12, "PER"], [4, 12, "SURNAME"]], "0-12 'PER' and 4-12 'SURNAME' overlap"),
        ([[0, 12, "PER"], [0, 12, "ORG"]], "overlap"),
        ([[22, 40, "LOC"]], "the entity 22-40 'LOC' lies outside the text, which has 29 characters"),
        ([[-1, 4, "LOC"]], "lies outside"),
        ([[5, 5, "LOC"]], "ends where it begins"),
        ([[3, 4, "LOC"]], "contains only blanks"),
        ([["0", "3", "LOC"]], "is not an entity"),
        ([[0, 3]], "is not an entity"),
        ([{"start": 0, "end": 3}], "is not an entity"),
        ([[True, 3, "LOC"]], "is not an entity"),
        ([[np.bool_(True), 3, "LOC"]], "is not an entity"),
        ([[0.0, 3.0, "LOC"]], "is not an entity"),
        (["Ada"], "is not an entity"),
    ],
)
def test_spans_that_make_no_sense_are_refused_with_their_line(items: list[Any], problem: str) -> None:
    with pytest.raises(InputDataError, match=f"rows.jsonl, line 3: .*{problem}"):
        read_spans(items, TEXT, "rows.jsonl, line 3")


def test_words_are_joined_by_single_blanks() -> None:
    assert join_words(["A", " b\u00a0", "", "c d"]) == ("A b c d", [(0, 1), (2, 3), (4, 4), (4, 7)])


def test_an_entity_of_empty_words_is_none() -> None:
    text, offsets = join_words(["a", "", "b"])
    assert spans_of_tags(["O", "B-X", "B-Y"], offsets) == (Span(2, 3, "Y"),)
    assert text == "a b"


@pytest.mark.parametrize(
    ("words", "text", "span"),
    [
        (["Acme", "", "paid"], "Acme paid", Span(0, 4, "X")),
        (["Acme", "\u00a0"], "Acme", Span(0, 4, "X")),
        (["", "Acme", "paid"], "Acme paid", Span(0, 4, "X")),
        (["Acme", "", "Corp"], "Acme Corp", Span(0, 9, "X")),
    ],
)
def test_an_entity_ends_with_its_last_word_that_is_not_blank(words: list[str], text: str, span: Span) -> None:
    """It reached to the next word, or beyond the text."""
    joined, offsets = join_words(words)
    tags = ["B-X", "I-X", "I-X" if span.end == len(text) else "O"][: len(words)]
    assert (joined, spans_of_tags(tags, offsets)) == (text, (span,))


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOBES", "BILOU"])
@given(
    st.lists(st.tuples(st.text("ab.", min_size=1, max_size=3), st.sampled_from(["O", "B-X", "I-X", "B-Y"])), max_size=9)
)
def test_tags_to_spans_and_back(scheme: Scheme, tagged: list[tuple[str, str]]) -> None:
    text, offsets = join_words(word for word, _ in tagged)
    spans = spans_of_tags([tag for _, tag in tagged], offsets)
    assert word_offsets(text) == offsets
    assert spans_of_tags(to_tags(spans, offsets, scheme), offsets) == spans
    assert count_unaligned(spans, offsets) == 0
    signs = word_offsets(text, splits_signs=True)  # finer words, same spans
    assert spans_of_tags(to_tags(spans, signs, scheme), signs) == spans


def test_words_and_signs() -> None:
    text = "Don't go, हिन्दी 東京。"
    words = [text[start:end] for start, end in word_offsets(text, splits_signs=True)]
    assert words == ["Don", "'", "t", "go", ",", "हिन्दी", "東京", "。"]
    assert [text[start:end] for start, end in word_offsets(text)] == text.split()


def test_a_span_within_a_word_takes_the_word() -> None:
    offsets = word_offsets("(Paris-based firm)")
    assert count_unaligned([Span(1, 6, "LOC")], offsets) == 1
    assert to_tags([Span(1, 6, "LOC"), Span(7, 12, "X")], offsets) == ["B-LOC", "O"]
