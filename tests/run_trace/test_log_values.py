from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.log_values import EXCERPT, counts, figure, figures, name_of, whole, wholes, words

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(ANYTHING)
def test_whatever_is_read_is_clean(value: Any) -> None:
    number, count, text = figure(value), whole(value), words(value)
    assert number is None or (type(number) is float and math.isfinite(number))
    assert count is None or (type(count) is int and abs(count) < 2**53)
    assert text is None or (len(text) <= EXCERPT and text.encode("utf-8") is not None)
    assert all(type(each) is int for each in [*wholes(value), *counts(value).values()])


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_figure_has_six_digits(value: float) -> None:
    assert figure(value) == pytest.approx(value, rel=5e-6, abs=0)
    assert figure(figure(value)) == figure(value)


def test_an_interval_has_both_ends_or_is_none() -> None:
    assert figures([0.1, 0.25], 2) == [0.1, 0.25]
    assert [figures(value, 2) for value in ([0.1], [0.1, None], [0.1, math.nan], None, "ab")] == [None] * 5


def test_a_long_text_is_cut_and_says_so() -> None:
    assert words("x" * 10, 10) == "x" * 10
    assert words("x" * 11, 10) == "x" * 9 + "…"
    assert words("\ud800") == "\ufffd"


def test_a_name_is_text_that_a_file_can_hold() -> None:
    assert name_of("bpe") == "bpe"
    assert name_of(7) == "7"
    assert name_of("\ud800") == "\ufffd"
    assert name_of(None) == name_of("") == "?"
