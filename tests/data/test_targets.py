"""Targets of texts and of tokens: the same rows in any order give the same targets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretune.data.targets import Targets


def of_tokens(counts: list[int]) -> Targets:
    """Targets 0, 1, 2, ... of rows with `counts` labelled tokens, at every second token."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = [1 + 2 * np.arange(count) for count in counts]
    positions = np.concatenate([*places, np.empty(0)]).astype(np.int64)
    return Targets(values=np.arange(sum(counts)), offsets=offsets, positions=positions)


def test_one_target_for_each_row() -> None:
    targets = Targets.of_rows(np.array([5, 6, 7]))
    assert len(targets) == 3
    assert targets.counts.tolist() == [1, 1, 1]
    assert targets.take(np.array([2, 0])).values.tolist() == [7, 5]
    assert targets.sum_by_row(np.array([0.5, 1.0, 2.0])).tolist() == [0.5, 1.0, 2.0]


def test_targets_of_tokens() -> None:
    targets = of_tokens([2, 0, 3])
    assert targets.places(np.array([2, 0])).tolist() == [2, 3, 4, 0, 1]
    taken = targets.take(np.array([2, 1]))
    assert (taken.values.tolist(), taken.offsets.tolist()) == ([2, 3, 4], [0, 3, 3])
    assert targets.sum_by_row(np.array([1, 2, 3, 4, 5])).tolist() == [3, 0, 12]
    assert targets.flat_positions([2, 0], width=10).tolist() == [1, 3, 5, 11, 13]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(counts: list[int], seed: int) -> None:
    targets, order = of_tokens(counts), np.random.default_rng(seed).permutation(len(counts))
    taken = targets.take(order).take(np.argsort(order))
    assert taken.values.tolist() == targets.values.tolist()
    assert taken.positions is not None
    assert targets.positions is not None
    assert taken.positions.tolist() == targets.positions.tolist()
