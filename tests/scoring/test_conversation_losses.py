"""Losses over conversations: the ratio of sums, intervals that cover, and differences that are paired."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pretune.scoring.conversation_losses import describe_losses, loss_difference, mean_over_conversations
from pretune.scoring.uncertainty import ratio_error


def draw(num: int, mean: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Summed losses (1, N) and token counts (N,) of conversations that differ in length and in difficulty."""
    counts = random.integers(5, 120, num)
    return (counts * random.normal(mean, 0.5, num))[None], counts


def test_a_long_reply_counts_for_more() -> None:
    found = describe_losses(np.array([[10.0, 300.0]]), np.array([10, 100]))
    assert found["loss"] == pytest.approx(310 / 110)
    assert found["perplexity"] == pytest.approx(math.exp(310 / 110))
    assert found["tokens"] == 110


def test_the_interval_is_that_of_a_ratio() -> None:
    """For many conversations, the bootstrap gives the standard error of Cochran's formula."""
    sums, counts = draw(400, 3.0, np.random.default_rng(0))
    mean, (low, high) = mean_over_conversations(sums, counts)
    expected = ratio_error(sums[0], counts)
    assert expected is not None
    assert (high - low) / (2 * 1.96) == pytest.approx(expected, rel=0.1)
    assert low < mean < high


def test_the_interval_covers() -> None:
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        sums, counts = draw(40, 3.0, random)
        _, (low, high) = mean_over_conversations(sums, counts)
        covered += low <= 3.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_small_difference_is_clear_because_it_is_paired() -> None:
    sums, counts = draw(60, 3.0, np.random.default_rng(2))
    found = loss_difference(sums - 0.05 * counts, sums, counts)
    assert found.difference == pytest.approx(-0.05)
    assert found.is_clear


def test_noise_is_not_clear() -> None:
    random = np.random.default_rng(3)
    sums, counts = draw(60, 3.0, random)
    found = loss_difference(sums + random.normal(0, 1, 60), sums, counts)
    assert not found.is_clear


sums_of_two = arrays(np.float64, (2, 6), elements=st.floats(0.1, 100))


@settings(max_examples=25)
@given(sums_of_two, arrays(np.int64, 6, elements=st.integers(1, 50)))
def test_laws(sums: np.ndarray, counts: np.ndarray) -> None:
    a, b = sums[:1], sums[1:]
    there, back = loss_difference(a, b, counts), loss_difference(b, a, counts)
    assert there.difference == pytest.approx(-back.difference)
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    same = loss_difference(a, a, counts)
    assert same.difference == 0.0 and not same.is_clear
