from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binomtest

from pretune.run_trace.noise import is_measurable, loss_change_noise, loss_noise, score_change_noise
from pretune.run_trace.training import read_phase
from pretune.trace_schema import Evaluation


def row(loss: float, accuracy: float, n: int, **more: Any) -> Evaluation:
    """An evaluation, as it is read from a log."""
    logged = {"event": "evaluation", "stage": "pretrain", "step": 1, "loss": loss, "accuracy": accuracy, "n": n}
    phase = read_phase([{**logged, **more}], "pretrain")
    assert phase is not None
    return phase.evaluations[0]


def test_a_confident_classifier_has_a_noisier_loss_than_its_mean_suggests() -> None:
    assert loss_noise(row(0.1, 0.98, 1000)) == pytest.approx(0.1 * 7 / math.sqrt(1000))
    assert loss_noise(row(4.0, 0.3, 10_000)) == pytest.approx(0.04)
    assert math.isfinite(loss_noise(row(0.0, 1.0, 10)))


def test_the_noise_of_an_accuracy_is_half_its_interval() -> None:
    assert row(1.0, 0.83, 1, accuracy_interval=[0.80, 0.86]).accuracy_noise == pytest.approx(0.03)
    assert row(1.0, 0.5, 100).accuracy_noise == pytest.approx(0.098)


def test_either_measure_can_tell_two_rows_apart() -> None:
    assert not is_measurable([row(4.0, 0.30, 10_000), row(3.97, 0.305, 10_000)])
    assert is_measurable([row(4.0, 0.30, 10_000), row(3.9, 0.30, 10_000)])
    assert is_measurable([row(4.0, 0.30, 10_000), row(4.0, 0.32, 10_000)])


def test_the_noise_of_a_change_is_that_of_paired_rows() -> None:
    """Unpaired, a fall from 1.35 to 1.31 nats on 1,728 tokens is within noise; the paired error is far smaller."""
    before = row(1.35, 0.66, 1728, loss_error=0.05)
    after = row(1.31, 0.663, 1728, loss_error=0.05, loss_change_error=0.008)
    assert not is_measurable([row(1.35, 0.66, 1728), row(1.31, 0.663, 1728)])
    assert is_measurable([before, after])
    assert not is_measurable([before, replace(after, loss_change_error=0.03)])


def test_errors_of_changes_in_between_add_up() -> None:
    rows = [row(1.0, 0.7, 900, loss_error=0.2, loss_change_error=0.01 * n) for n in range(4)]
    assert loss_change_noise(rows) == pytest.approx(1.96 * 0.06)
    assert loss_change_noise(rows * 10) == pytest.approx(2 * 1.96 * 0.2)  # never more than without pairs
    rows[2] = replace(rows[2], loss_change_error=None)
    assert loss_change_noise(rows) == pytest.approx(1.96 * 0.2)


def test_the_noise_of_a_loss_is_half_its_interval() -> None:
    assert loss_noise(row(4.0, 0.3, 10_000, loss_error=0.02)) == pytest.approx(0.0392)


def test_the_noise_of_a_change_in_accuracy_is_that_of_paired_rows() -> None:
    """20 of 1,000 texts are answered better and none worse: unpaired, that is within noise."""
    before, after = row(1.0, 0.80, 1000), row(1.0, 0.82, 1000, accuracy_change_error=math.sqrt(20) / 1000)
    assert not is_measurable([before, row(1.0, 0.82, 1000)])
    assert is_measurable([before, after])
    close = replace(after, accuracy_change_error=math.sqrt(180) / 1000)  # 100 better, 80 worse
    assert not is_measurable([before, close])
    assert score_change_noise([row(1.0, 0.5, 100), row(1.0, 0.5, 400)]) == pytest.approx(0.098)
    many = [row(1.0, 0.8, 900, accuracy_change_error=0.004 * n) for n in range(4)]
    assert score_change_noise(many) == pytest.approx(1.96 * 0.024 + 1 / 900)
    assert score_change_noise(many * 10) == pytest.approx(2 * many[0].accuracy_noise)


@pytest.mark.parametrize("changed", range(1, 12))
def test_one_sided_changes_are_measurable_from_where_the_exact_test_says(changed: int) -> None:
    """All of some changed answers are better: the exact McNemar test is a sign test."""
    error = math.sqrt(changed * (1 - changed / 1000)) / 1000
    rows = [row(1.0, 0.80, 1000), row(1.0, 0.80 + changed / 1000, 1000, accuracy_change_error=error)]
    assert is_measurable(rows) == (binomtest(changed, changed).pvalue < 0.05)
