"""The acceptable sentence must have the higher score; a tie counts half."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.minimal_pairs import TIE_NATS, summarize_pairs
from pretune.scoring.uncertainty import Z_95, wilson_interval


def test_a_constant_scorer_gets_exactly_one_half() -> None:
    figures = summarize_pairs(np.full(7, -12.5), np.full(7, -12.5), list("aaabbbb"))
    assert figures["accuracy"] == figures["mean_of_paradigms"] == 0.5
    assert [row["accuracy"] for row in figures["paradigms"]] == [0.5, 0.5]
    assert figures["ties"] == 7
    assert figures["accuracy_interval"] == wilson_interval(3.5, 7)


def test_rounding_is_a_tie_and_more_is_not() -> None:
    bad = np.full(4, -30.0)
    good = bad + np.array([TIE_NATS / 2, -TIE_NATS / 2, 2 * TIE_NATS, -2 * TIE_NATS])
    figures = summarize_pairs(good, bad, ["a"] * 4)
    assert (figures["ties"], figures["accuracy"]) == (2, (0.5 + 0.5 + 1 + 0) / 4)


def test_pairs_count_alike_or_paradigms_do() -> None:
    good = np.array([1.0, 1.0, 1.0, 0.0])
    figures = summarize_pairs(good, np.full(4, 0.5), ["a", "a", "a", "b"])
    assert (figures["accuracy"], figures["mean_of_paradigms"]) == (0.75, 0.5)
    assert [(row["paradigm"], row["pairs"], row["accuracy"]) for row in figures["paradigms"]] == [
        ("a", 3, 1.0),
        ("b", 1, 0.0),
    ]


def test_the_interval_of_the_mean_is_that_of_the_stratified_mean() -> None:
    rng = np.random.default_rng(0)
    chances = np.array([0.9, 0.6, 0.5, 0.3])
    pairs, paradigms = 400, np.repeat(list("abcd"), 400)
    covered = 0
    for _ in range(200):
        wins = rng.random((4, pairs)) < chances[:, None]
        figures = summarize_pairs(wins.ravel().astype(float), np.full(4 * pairs, 0.5), paradigms.tolist())
        low, high = figures["mean_of_paradigms_interval"]
        covered += low <= chances.mean() <= high
        deviation = np.sqrt((wins.var(axis=1) / pairs).sum()) / 4
        assert high - low == pytest.approx(2 * Z_95 * deviation, rel=0.01)
    assert 0.9 <= covered / 200 <= 0.99


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_the_interval_of_the_mean_covers_with_few_pairs_of_each_paradigm(pairs: int) -> None:
    """Twenty paradigms of one to three pairs; with the divisor n, the variance of so few is much too small."""
    rng = np.random.default_rng(0)
    paradigms = np.repeat([f"p{n}" for n in range(20)], pairs).tolist()
    covered = 0
    for _ in range(300):
        wins = rng.random(20 * pairs) < 0.7
        low, high = summarize_pairs(wins.astype(float), np.full(len(wins), 0.5), paradigms)[
            "mean_of_paradigms_interval"
        ]
        covered += low <= 0.7 <= high
    assert covered / 300 >= 0.92


def test_one_single_pair_among_large_paradigms_has_their_variance() -> None:
    good = np.array([1.0, 0.0] * 200 + [1.0])
    figures = summarize_pairs(good, np.full(401, 0.5), ["a"] * 400 + ["b"])
    low, high = figures["mean_of_paradigms_interval"]
    assert high - low > 0.4  # half of the figure rests on one pair


@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0), st.sampled_from("abc")), min_size=1, max_size=30))
def test_swapped_columns_give_the_complement(rows: list[tuple[float, float, str]]) -> None:
    good, bad = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    names = [row[2] for row in rows]
    one, other = summarize_pairs(good, bad, names), summarize_pairs(bad, good, names)
    assert one["accuracy"] + other["accuracy"] == pytest.approx(1)
    assert one["ties"] == other["ties"]
    for figures in (one, other):
        low, high = figures["mean_of_paradigms_interval"]
        assert 0 <= low <= figures["mean_of_paradigms"] <= high <= 1


def test_a_score_that_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="not a number"):
        summarize_pairs(np.array([np.nan]), np.array([0.0]), ["a"])
