from __future__ import annotations

import math
from typing import Any

import pytest

from pretune.reporting.noise import accuracy_noise, is_measurable, loss_noise


def row(loss: float, accuracy: float, n: int) -> dict[str, Any]:
    return {"loss": loss, "accuracy": accuracy, "n": n}


def test_a_confident_classifier_has_a_noisier_loss_than_its_mean_suggests() -> None:
    assert loss_noise(row(0.1, 0.98, 1000)) == pytest.approx(0.1 * 7 / math.sqrt(1000))
    assert loss_noise(row(4.0, 0.3, 10_000)) == pytest.approx(0.04)
    assert math.isfinite(loss_noise(row(0.0, 1.0, 10)))


def test_the_noise_of_an_accuracy_is_half_its_interval() -> None:
    assert accuracy_noise({"accuracy_interval": [0.80, 0.86], "accuracy": 0.83}) == pytest.approx(0.03)
    assert accuracy_noise(row(1.0, 0.5, 100)) == pytest.approx(0.098)


def test_either_measure_can_tell_two_rows_apart() -> None:
    assert not is_measurable(row(4.0, 0.30, 10_000), row(3.97, 0.305, 10_000))
    assert is_measurable(row(4.0, 0.30, 10_000), row(3.9, 0.30, 10_000))
    assert is_measurable(row(4.0, 0.30, 10_000), row(4.0, 0.32, 10_000))
