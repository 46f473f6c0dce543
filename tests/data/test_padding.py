"""Batches of similar length contain every row once, and padding is marked as such."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.data.padding import group_by_length, pad_rows


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 2000))
def test_batches_contain_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(group_by_length(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@pytest.mark.parametrize(("multiple", "width"), [(1, 3), (8, 8)])
def test_rows_are_padded_at_the_end(multiple: int, width: int) -> None:
    input_ids, document_ids = pad_rows([[5, 6, 7], np.array([8]), []], 2, multiple)
    assert input_ids.tolist() == [row + [2] * (width - len(row)) for row in ([5, 6, 7], [8], [])]
    assert document_ids.tolist() == [[0] * n + [-1] * (width - n) for n in (3, 1, 0)]
