"""Predictions as the cells of a file."""

from __future__ import annotations

import pytest

from pretune.tasks.prediction import ScorePrediction


@pytest.mark.parametrize(
    ("score", "cell"),
    [
        (3e-7, 3e-7),
        (-0.000123456789, -0.000123457),
        (0.123456789, 0.123457),
        (2021.12345678, 2021.123457),
        (1234567890.25, 1234567890.25),
        (0.0, 0.0),
        (None, None),
    ],
)
def test_small_scores_keep_their_digits(score: float | None, cell: float | None) -> None:
    """They were rounded to six decimals, so that all scores of a small unit were written as zero."""
    made = ScorePrediction(text="A film.", label=None, probability=None, probabilities={}, score=score)
    assert made.cells() == (cell,)
