"""Named draws are independent of each other and of the order of calls, and the same on every machine."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretune.runtime.randomness import derive_seed, generator, permutation


def test_seeds_are_the_same_on_every_machine() -> None:
    assert derive_seed(0, "weights") == 863023461364182508
    assert generator(7, "mask", 3).integers(1000, size=5).tolist() == [755, 866, 74, 689, 606]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "1"]), st.integers(0, 20)), unique=True))
def test_seeds_of_different_purposes_differ(purposes: list[tuple[int, str, int]]) -> None:
    seeds = {derive_seed(*purpose) for purpose in purposes}
    assert len(seeds) == len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_names_do_not_run_into_each_other() -> None:
    assert derive_seed(1, "2", "3") != derive_seed(12, "3") != derive_seed(1, "23")


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 5))
def test_a_permutation_contains_every_item_once(count: int, seed: int, epoch: int) -> None:
    order = permutation(count, seed, epoch)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, permutation(count, seed, epoch))


def test_epochs_and_seeds_have_different_orders() -> None:
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
