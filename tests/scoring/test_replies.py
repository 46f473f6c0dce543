"""The figures of replies: by hand, by their laws, and equal to the definitions of the papers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.scoring.replies import describe_replies, distinct_fraction, ngrams, repeated_fraction, words_of

texts = st.lists(st.sampled_from("take two pills a day with water".split()), max_size=30).map(" ".join)


def test_words_are_without_case_and_punctuation() -> None:
    assert words_of("Don't WORRY: it’s 38.5 °C – Über!") == ["don't", "worry", "it’s", "38", "5", "c", "über"]


def test_marks_are_inside_words() -> None:
    assert words_of("नमस्ते दुनिया! ❤\ufe0fok") == ["नमस्ते", "दुनिया", "ok"]
    assert words_of("ที่นี่, 你好。") == ["ที่นี่", "你好"]  # a stretch between two marks of punctuation


def test_distinct_by_hand() -> None:
    replies = [words_of("take two pills"), words_of("take two drops")]
    assert distinct_fraction(replies, 1) == pytest.approx(4 / 6)
    assert distinct_fraction(replies, 2) == pytest.approx(3 / 4)
    assert distinct_fraction(replies, 3) == 1.0
    assert distinct_fraction(replies, 4) == 0.0


def test_a_loop_is_nearly_all_repetition() -> None:
    assert repeated_fraction(words_of("call your doctor now " * 25)) == pytest.approx(1 - 4 / 97)
    assert repeated_fraction(words_of("call your doctor today if the pain gets worse")) == 0.0


@given(texts, st.integers(1, 5))
def test_ngrams_are_all_runs(text: str, size: int) -> None:
    words = text.split()
    found = list(ngrams(words, size))
    assert len(found) == max(0, len(words) - size + 1)
    assert all(words[place : place + size] == list(ngram) for place, ngram in enumerate(found))


@settings(max_examples=25)
@given(st.lists(texts, min_size=1, max_size=8))
def test_laws(replies: list[str]) -> None:
    figures = describe_replies(replies)
    for name, value in figures.items():
        if name.endswith("_interval"):
            mean = figures[name.removesuffix("_interval")]
            assert value[0] - 1e-9 <= mean <= value[1] + 1e-9
        elif name not in ("n", "mean_words"):
            assert 0.0 <= value <= 1.0
    assert figures["mean_words"] == pytest.approx(sum(len(r.split()) for r in replies) / len(replies))
    # The order of the replies says nothing, and a second copy of all halves distinct-n.
    assert describe_replies(replies[::-1])["distinct_2"] == figures["distinct_2"]
    assert describe_replies(replies * 2)["distinct_1"] == pytest.approx(figures["distinct_1"] / 2)


def test_empty_replies_are_counted() -> None:
    figures = describe_replies(["", "  \n", "Drink water.", "Rest."])
    assert figures["empty_fraction"] == 0.5
    assert figures["mean_words"] == 0.75


def test_no_reply_at_all() -> None:
    figures = describe_replies([])
    assert figures["n"] == 0
    assert all(math.isfinite(value) for value in figures.values() if isinstance(value, float))
