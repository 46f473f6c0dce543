"""Neighbours and plane of the embedding table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretune.tracing.embedding import frequent_tokens, nearest_tokens, principal_plane, standardize


def test_a_dimension_with_large_values_does_not_decide_the_neighbours() -> None:
    rng = np.random.default_rng(0)
    table = torch.tensor(rng.normal(size=(40, 8)), dtype=torch.float32)
    plain = nearest_tokens(standardize(table, 4), range(4, 40), 4, 40, 3)
    stretched = table.clone()
    stretched[:, 0] = 1000 * table[:, 0] + 500
    found = nearest_tokens(standardize(stretched, 4), range(4, 40), 4, 40, 3)
    assert [[i for i, _ in row] for row in found] == [[i for i, _ in row] for row in plain]


def test_neighbours_are_other_ordinary_tokens_nearest_first() -> None:
    table = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [0.0, 1.0], [1.0, 0.2], [9.0, 9.0]])
    [found] = nearest_tokens(table, [1], 1, 5, 2)  # 0 is special, 5 is unused
    assert [i for i, _ in found] == [4, 2]
    assert found[0][1] == pytest.approx((1 + 0.02) / np.hypot(1, 0.1) / np.hypot(1, 0.2), abs=1e-5)


def test_the_plane_of_flat_points_has_all_their_variance() -> None:
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 6))
    coordinates, variance = principal_plane(flat)
    assert sum(variance) == pytest.approx(1)
    assert variance[0] >= variance[1]
    distances = np.linalg.norm(flat[0] - flat[1:], axis=1)
    np.testing.assert_allclose(np.linalg.norm(coordinates[0] - coordinates[1:], axis=1), distances)


def test_equal_points_have_no_variance() -> None:
    coordinates, variance = principal_plane(np.ones((4, 3)))
    assert variance == [0.0, 0.0] and not coordinates.any()


def test_frequent_tokens_are_those_counted_most() -> None:
    counts = np.array([99, 99, 1, 0, 5, 3])
    assert frequent_tokens(2, list("abcdef"), counts) == [4, 5, 2]
    assert frequent_tokens(2, list("abcde"), None) == [2, 3, 4]


def test_unused_tokens_of_bert_are_not_frequent() -> None:
    surfaces = ["[PAD]", *(f"[unused{i}]" for i in range(300)), "the", "[unused]", "##s"]
    assert frequent_tokens(1, surfaces, None) == [301, 302, 303]
    assert frequent_tokens(1, surfaces, np.ones(304, dtype=np.int64))[:2] == [1, 2]
