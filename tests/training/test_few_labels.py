"""The rules for few labels."""

from __future__ import annotations

import numpy as np
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
