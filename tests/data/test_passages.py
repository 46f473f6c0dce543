"""Passages are found wherever they occur, however long the stretches are that are searched."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretune.data.passages import find_passages


@given(
    st.lists(st.integers(0, 5), max_size=60),
    st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6),
    st.integers(1, 20),
)
def test_it_finds_what_a_plain_search_finds(text: list[int], passages: list[list[int]], stretch: int) -> None:
    classes = np.array([0, 1, 2, 3, 4, 4])  # the last two tokens are equal
    plain = [int(classes[i]) for i in text]
    expected = []
    for passage in passages:
        alike = [int(classes[i]) for i in passage]
        expected.append(any(plain[i : i + len(alike)] == alike for i in range(len(plain) + 1)))
    wanted = [np.array(passage, dtype=np.int64) for passage in passages]
    assert find_passages(wanted, np.array(text, dtype=np.uint16), classes, stretch).tolist() == expected
