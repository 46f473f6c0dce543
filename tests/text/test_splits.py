"""Splits depend on the text alone, and every class can be validated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.prefilter import is_plain
from pretune.text.splits import (
    MIN_VALIDATION_TEXTS,
    assign_splits,
    hash_text,
    hash_texts,
    hash_unit,
    normalise_for_hash,
    split_of,
)

TEXTS = st.lists(st.text(max_size=12), min_size=1, max_size=60)


def test_case_white_space_and_unicode_form_do_not_matter() -> None:
    assert normalise_for_hash("  Caf\u00e9\n\tNOIR ") == normalise_for_hash("cafe\u0301 noir") == "caf\u00e9 noir"


def test_a_hash_never_changes() -> None:
    """These figures are a promise: another value would move held-out text into training."""
    units = [hash_unit(text) for text in ("", "The sun rises in the east.", "Straße")]
    assert units == pytest.approx([0.6603869182667996, 0.9507905598733545, 0.06986242587809444], abs=1e-15)


@given(st.text())
def test_unit_is_below_one_and_idempotent(text: str) -> None:
    assert 0.0 <= hash_unit(text) < 1.0
    assert hash_unit(normalise_for_hash(text)) == hash_unit(text)


@given(st.lists(st.text(max_size=12) | st.text("aB ", max_size=6), max_size=8))
def test_many_at_once_are_hashed_like_one(texts: list[str]) -> None:
    assert hash_texts(texts, is_plain(texts).tolist()) == [hash_text(text) for text in texts]


def test_fractions_are_kept() -> None:
    splits = [split_of(f"text number {n}", 0.1, 0.2) for n in range(20_000)]
    assert splits.count("validation") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert splits.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)
    assert all(split_of(f"{n}", 0.0, 0.0) == "train" for n in range(100))


@given(TEXTS, st.randoms(use_true_random=False))
def test_order_does_not_matter(texts: list[str], random) -> None:
    rows = [(text, str(len(text) % 3)) for text in texts]
    before = dict(zip(rows, assign_splits(*map(list, zip(*rows, strict=True)), 0.1, 0.1), strict=True))
    random.shuffle(rows)
    after = dict(zip(rows, assign_splits(*map(list, zip(*rows, strict=True)), 0.1, 0.1), strict=True))
    assert before == after


@given(TEXTS)
def test_same_text_same_side_even_with_two_labels(texts: list[str]) -> None:
    twice = [*texts, *[text.upper() for text in texts if text.upper().lower() == text]]
    splits = assign_splits(twice, [str(n % 2) for n in range(len(twice))], 0.2, 0.2)
    side: dict[str, str] = {}
    for text, split in zip(twice, splits, strict=True):
        assert side.setdefault(normalise_for_hash(text), split) == split


def test_every_class_gets_validation_rows_and_keeps_as_many_for_training() -> None:
    texts = [f"common {n}" for n in range(500)] + [f"rare {n}" for n in range(12)] + ["one", "two"]
    labels = ["common"] * 500 + ["rare"] * 12 + ["pair"] * 2
    rows = list(zip(labels, assign_splits(texts, labels, 0.02, 0.0), strict=True))
    assert rows.count(("common", "validation")) >= MIN_VALIDATION_TEXTS
    assert rows.count(("rare", "validation")) == MIN_VALIDATION_TEXTS
    assert rows.count(("pair", "train")) == rows.count(("pair", "validation")) == 1


def test_a_class_that_hashes_to_the_test_side_is_brought_back() -> None:
    text = next(t for t in (f"text {n}" for n in range(100)) if split_of(t, 0.0, 0.5) == "test")
    assert assign_splits([text, "other"], ["a", "b"], 0.0, 0.5)[0] == "train"


def test_the_smallest_hash_stays_in_training() -> None:
    texts = [f"text {n}" for n in range(20)]
    smallest = min(range(20), key=lambda n: hash_unit(texts[n]))
    assert assign_splits(texts, ["a", "b"] * 10, 0.01, 0.0)[smallest] == "train"


def test_moves_depend_on_distinct_texts_only() -> None:
    """Duplicates and empty rows, which a later stage may drop, move nothing."""
    texts = [f"text {n}" for n in range(40)]
    labels = ["a", "b"] * 20
    plain = assign_splits(texts, labels, 0.05, 0.05)
    noisy = assign_splits(texts + texts + [" "] * 3, labels + labels + ["a"] * 3, 0.05, 0.05)
    assert noisy[:40] == noisy[40:80] == plain
