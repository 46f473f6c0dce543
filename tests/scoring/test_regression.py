"""The figures of predicted numbers agree with scipy and scikit-learn and stay defined where those give NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from pretune.scoring.regression import summarize_scores

FIGURES = ("pearson", "spearman", "mean_absolute_error", "root_mean_squared_error", "r2")


def draw(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores from 1 to 5 in steps of a fifth, as SICK has them: many rows are tied."""
    random = np.random.default_rng(num_rows)
    targets = random.integers(5, 26, num_rows) / 5
    return targets, np.clip(targets + random.normal(size=num_rows) * 0.8, 1, 5).round(1)


@pytest.mark.parametrize("num_rows", [5, 40, 700])
def test_parity(num_rows: int) -> None:
    targets, predicted = draw(num_rows)
    found = summarize_scores(targets, predicted)
    expected = (
        pearsonr(targets, predicted).statistic,
        spearmanr(targets, predicted).statistic,
        mean_absolute_error(targets, predicted),
        root_mean_squared_error(targets, predicted),
        r2_score(targets, predicted),
    )
    assert found["n"] == num_rows
    assert [found[name] for name in FIGURES] == pytest.approx(expected)
    assert found["target_range"] == [targets.min(), targets.max()]
    assert found["predicted_range"] == [predicted.min(), predicted.max()]


def test_intervals_contain_their_figure_and_shrink_with_more_rows() -> None:
    few, many = (summarize_scores(*draw(num_rows)) for num_rows in (50, 2000))
    for name in FIGURES:
        widths = []
        for found in (few, many):
            low, high = found[f"{name}_interval"]
            assert low < found[name] < high
            widths.append(high - low)
        assert widths[1] < widths[0] / 3


def test_the_interval_of_pearson_is_near_fishers_for_normal_numbers() -> None:
    random = np.random.default_rng(1)
    targets = random.normal(size=800)
    predicted = targets + random.normal(size=800)
    reference = pearsonr(targets, predicted).confidence_interval()
    found = summarize_scores(targets, predicted)
    assert found["pearson_interval"] == pytest.approx([reference.low, reference.high], abs=0.01)


@pytest.mark.parametrize("num_rows", [1, 2, 30])
def test_constant_predictions_have_defined_figures(num_rows: int) -> None:
    targets = np.arange(float(num_rows))
    found = summarize_scores(targets, np.full(num_rows, targets.mean()))
    assert found["pearson"] == found["spearman"] == 0.0
    json.dumps(found, allow_nan=False)  # every figure is a finite number


def test_perfect_predictions() -> None:
    targets = np.arange(20.0)
    found = summarize_scores(targets, targets)
    assert found["mean_absolute_error"] == found["root_mean_squared_error"] == 0.0
    assert [found[name] for name in ("pearson", "spearman", "r2")] == pytest.approx([1.0, 1.0, 1.0])
    json.dumps(found, allow_nan=False)


def test_few_rows_that_repeat_give_finite_intervals() -> None:
    """Most replicates of such targets are all alike."""
    found = summarize_scores(np.array([1.0, 1.0, 1.0, 4.0]), np.array([1.2, 0.9, 1.4, 2.0]))
    json.dumps(found, allow_nan=False)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        summarize_scores(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="not finite"):
        summarize_scores(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
