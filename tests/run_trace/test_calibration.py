from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.calibration import ROWS_PER_BIN, bin_edges, calibrate
from pretune.run_trace.predicted_rows import PredictedRows
from pretune.scoring.metrics import calibration_error


def rows_of(confidence: np.ndarray, is_right: np.ndarray) -> PredictedRows:
    n = len(confidence)
    return PredictedRows(
        seed=0,
        row=np.arange(n),
        label=np.where(is_right, 0, 1),
        predicted=np.zeros(n, dtype=np.int64),
        probabilities=np.stack([confidence, 1 - confidence], axis=1),
        slices=[None] * n,
    )


def test_a_calibrated_model_lies_in_the_band_of_chance() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.5, 1.0, 2000)
    found = calibrate("pretrained", rows_of(confidence, draw.random(2000) < confidence))
    inside = [each.chance_low <= each.right / each.n <= each.chance_high for each in found.bins]
    assert sum(inside) >= 8
    assert 0 < found.error < found.error_by_chance < 0.05


def test_an_overconfident_model_lies_outside() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.8, 1.0, 2000)
    found = calibrate("pretrained", rows_of(confidence, draw.random(2000) < confidence - 0.2))
    assert found.error > 2 * found.error_by_chance
    assert all(each.right / each.n < each.chance_low for each in found.bins)


def test_the_band_of_chance_is_over_groups_of_rows() -> None:
    """Of a calibrated model that is right on all rows of a group or on none, half of the bins lay outside the band."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    confidence = draw.uniform(0.5, 1.0, 100)[groups]
    rows = rows_of(confidence, draw.random(100)[groups] < confidence)

    def outside(groups: np.ndarray | None) -> int:
        bins = calibrate("pretrained", rows, groups).bins
        return sum(not each.chance_low <= each.right / each.n <= each.chance_high for each in bins)

    assert outside(None) >= 5
    assert outside(groups + 7) <= 1
    found, naive = calibrate("pretrained", rows, groups), calibrate("pretrained", rows)
    assert naive.error_by_chance < found.error < found.error_by_chance
    assert calibrate("pretrained", rows, np.arange(1000)) == naive


def test_the_error_is_that_of_the_comparison() -> None:
    draw = np.random.default_rng(1)
    rows = rows_of(draw.uniform(0.5, 1.0, 300), draw.random(300) < 0.7)
    expected = calibration_error(rows.label, rows.probabilities)
    assert calibrate("scratch", rows).error == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.sampled_from([0.5, 0.6, 0.75, 0.9, 0.999999, 1.0]) | st.floats(0.5, 1.0), min_size=1, max_size=300))
def test_every_row_is_in_one_bin_of_its_probability(values: list[float]) -> None:
    confidence = np.array(values)
    found = calibrate("x", rows_of(confidence, confidence > 0.7))
    assert sum(each.n for each in found.bins) == len(values)
    assert all(each.low <= each.mean_probability <= each.high for each in found.bins)
    assert [each.high for each in found.bins[:-1]] == [each.low for each in found.bins[1:]]
    assert found.bins[-1].high == 1.0
    assert all(0 <= each.chance_low <= each.chance_high <= 1 for each in found.bins)


def test_bins_hold_about_equally_many_rows() -> None:
    edges = bin_edges(np.linspace(0.5, 0.99, 1000))
    counts = np.histogram(np.linspace(0.5, 0.99, 1000), edges)[0]
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 2
    assert len(bin_edges(np.linspace(0.5, 0.99, 3 * ROWS_PER_BIN))) == 4
    assert bin_edges(np.full(500, 0.9)).tolist() == [0.9, 1.0]


def test_two_calls_draw_the_same() -> None:
    rows = rows_of(np.linspace(0.5, 1.0, 100), np.arange(100) % 3 > 0)
    assert calibrate("x", rows) == calibrate("x", rows)
