"""A sentence only if capital letters are on one side alone."""

from __future__ import annotations

import pytest

from pretune.text.labels.capitals import describe_capitals, fraction_with_capitals


def test_the_fraction_counts_texts() -> None:
    assert fraction_with_capitals(["Warm.", "warm", "an ÉCLAIR", "太陽"]) == 0.5
    assert fraction_with_capitals([]) == 0.0


@pytest.mark.parametrize(
    ("of_labelled", "of_documents", "is_told"),
    [(0.0, 1.0, True), (0.005, 0.6, True), (0.1, 1.0, False), (0.0, 0.0, False)],
)
def test_only_a_difference_is_told(of_labelled: float, of_documents: float, is_told: bool) -> None:
    assert (describe_capitals(of_labelled, of_documents) is not None) == is_told
