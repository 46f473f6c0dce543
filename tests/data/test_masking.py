"""Masks hide ordinary tokens only, all of them equally often, and are a function of their names."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pretune.data.masking import draw_masked_positions


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
