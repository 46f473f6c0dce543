"""Masks hide ordinary tokens only, all of them equally often, and are a function of their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pretune.data.masking import draw_masked_positions, frequency_weights


@given(hnp.arrays(np.int64, (3, 8), elements=st.integers(0, 12)), st.integers(0, 30), st.integers(0, 9))
def test_only_ordinary_tokens_are_masked(input_ids: np.ndarray, count: int, first: int) -> None:
    positions = draw_masked_positions(input_ids >= first, count, 0, "mask", 1)
    assert (input_ids.reshape(-1)[positions] >= first).all()
    assert len(set(positions.tolist())) == len(positions) == min(count, int((input_ids >= first).sum()))
    assert (np.diff(positions) > 0).all()
    np.testing.assert_array_equal(positions, draw_masked_positions(input_ids >= first, count, 0, "mask", 1))


def test_other_names_and_seeds_give_other_masks() -> None:
    ids = np.full((4, 50), 9, dtype=np.int64)
    drawn = {tuple(draw_masked_positions(ids >= 4, 20, seed, "mask", i).tolist()) for seed in (0, 1) for i in (0, 1)}
    assert len(drawn) == 4


def test_every_ordinary_token_is_equally_likely() -> None:
    ids = np.array([[1, 9, 9, 9, 2, 9, 9, 0]], dtype=np.int64)
    hits = np.zeros(8)
    for index in range(2000):
        hits[draw_masked_positions(ids >= 4, 2, 0, "mask", index)] += 1
    assert (hits[[0, 4, 7]] == 0).all()
    assert np.abs(hits[[1, 2, 3, 5, 6]] / 2000 - 0.4).max() < 0.05


def test_frequent_tokens_weigh_less() -> None:
    counts = np.array([0, 1, 1_000, 4_000, 100_000, 894_999])
    weights = np.exp(frequency_weights(counts))
    assert weights[:3].tolist() == [1.0, 1.0, 1.0]  # up to one token in a thousand
    assert weights[3:] == pytest.approx([0.5, 0.1, (1e-3 / 0.894999) ** 0.5])
    assert frequency_weights(np.zeros(3, dtype=np.int64)).tolist() == [0.0, 0.0, 0.0]


def test_a_token_is_hidden_in_proportion_to_its_weight() -> None:
    ids = np.array([[1, 9, 9, 9, 2]], dtype=np.int64)
    log_weights = np.log([[1.0, 0.2, 0.3, 0.5, 1.0]])
    hits = np.zeros(5)
    for index in range(3000):
        hits[draw_masked_positions(ids >= 4, 1, 0, "mask", index, log_weights=log_weights)] += 1
    assert hits / 3000 == pytest.approx([0.0, 0.2, 0.3, 0.5, 0.0], abs=0.03)
    every = draw_masked_positions(ids >= 4, 9, 0, "mask", 0, log_weights=log_weights)
    assert every.tolist() == [1, 2, 3]
