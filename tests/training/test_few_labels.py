"""The rules for few labels, and the mean of several models' weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretune.training.few_labels import average_weights, is_clearly_worse, least_updates


@given(rows=st.integers(1, 100_000))
def test_more_rows_never_need_fewer_updates(rows: int) -> None:
    assert 40 <= least_updates(rows) <= least_updates(rows + 1)


def test_the_soup_is_the_mean_of_the_weights() -> None:
    states = [{"a": torch.full((2, 3), float(value)), "b": torch.tensor([value])} for value in (1.0, 2.0, 6.0)]
    found = average_weights(states)
    assert torch.equal(found["a"], torch.full((2, 3), 3.0))
    assert torch.equal(found["b"], torch.tensor([3.0]))
    assert torch.equal(states[0]["a"], torch.full((2, 3), 1.0))
    with pytest.raises(ValueError, match="different weights"):
        average_weights([states[0], {"a": states[1]["a"]}])


def test_only_a_difference_beyond_noise_is_worse() -> None:
    draw = np.random.default_rng(0)
    losses = draw.exponential(size=100)
    assert not is_clearly_worse(losses, losses)
    assert not is_clearly_worse(losses + draw.normal(0.0, 1.0, 100) * 0.1, losses)
    assert is_clearly_worse(losses + 0.1 + draw.normal(0.0, 0.1, 100), losses)
    assert not is_clearly_worse(losses - 0.1, losses)
    assert not is_clearly_worse(losses[:1] + 9, losses[:1])
