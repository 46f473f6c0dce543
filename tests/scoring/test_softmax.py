from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pretune.scoring.softmax import log_softmax, softmax


@given(arrays(np.float64, (5, 3), elements=st.floats(-1e4, 1e4)))
def test_they_are_those_of_scipy(logits: np.ndarray) -> None:
    np.testing.assert_allclose(softmax(logits), scipy.special.softmax(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(log_softmax(logits), scipy.special.log_softmax(logits, axis=1), atol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_no_number_is_uniform(value: float) -> None:
    logits = np.array([[value, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(softmax(logits), 0.25)
    np.testing.assert_allclose(log_softmax(logits), np.log(0.25))
