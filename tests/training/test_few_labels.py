"""The rules for few labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.training.few_labels import is_clearly_worse, least_updates


@given(rows=st.integers(1, 100_000))
def test_more_rows_never_need_fewer_updates(rows: int) -> None:
    assert 40 <= least_updates(rows) <= least_updates(rows + 1)


def test_only_a_difference_beyond_noise_is_worse() -> None:
    draw = np.random.default_rng(0)
    losses = draw.exponential(size=100)
    assert not is_clearly_worse(losses, losses)
    assert not is_clearly_worse(losses + draw.normal(0.0, 1.0, 100) * 0.1, losses)
    assert is_clearly_worse(losses + 0.1 + draw.normal(0.0, 0.1, 100), losses)
    assert not is_clearly_worse(losses - 0.1, losses)
    assert not is_clearly_worse(losses[:1] + 9, losses[:1])


def test_few_rows_need_a_larger_difference() -> None:
    """Two standard errors of three rows are noise: by Student's t, the interval has 4.3."""
    losses = np.array([0.5, 0.6, 0.7])
    assert not is_clearly_worse(losses + np.array([0.1, 0.3, 0.5]), losses)  # 2.6 standard errors
    assert is_clearly_worse(np.tile(losses, 10) + np.tile([0.1, 0.3, 0.5], 10), np.tile(losses, 10))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("count", [1, 30])
def test_a_loss_that_is_no_number_is_worse(value: float, count: int) -> None:
    losses = np.full(count, 0.5)
    assert is_clearly_worse(np.append(losses[1:], value), losses)
    assert not is_clearly_worse(losses, np.append(losses[1:], value))
