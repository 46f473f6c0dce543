"""Log-odds and labels go in; accuracy, log-loss after one fitted temperature, and paired differences come out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def row_losses(log_odds: FloatArray, labels: IntArray) -> FloatArray:
    """The cross-entropy (N,) in nats of the log-odds of class 1."""
    return np.asarray(np.logaddexp(0.0, np.where(labels == 1, -log_odds, log_odds)))


def best_scale(log_odds: FloatArray, labels: IntArray) -> float:
    """The factor (one over the temperature) with the lowest log-loss, by golden-section search over its logarithm."""
    low, high = math.log(0.01), math.log(100.0)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if row_losses(math.exp(a) * log_odds, labels).mean() < row_losses(math.exp(b) * log_odds, labels).mean():
            high = b
        else:
            low = a
    return math.exp((low + high) / 2)


def loss_at_best_temperature(log_odds: FloatArray, labels: IntArray) -> float:
    """The mean log-loss with the best temperature for these very rows."""
    return float(row_losses(best_scale(log_odds, labels) * log_odds, labels).mean())


def calibrated_losses(log_odds: FloatArray, labels: IntArray) -> FloatArray:
    """The log-loss (N,) of each row, with a temperature that was fitted on the other half of the rows."""
    halves = np.arange(len(labels)) % 2 == 0
    losses = np.empty(len(labels))
    for half in (halves, ~halves):
        losses[half] = row_losses(best_scale(log_odds[~half], labels[~half]) * log_odds[half], labels[half])
    return losses


def describe(log_odds: FloatArray, labels: IntArray) -> dict[str, Any]:
    """Accuracy and calibrated log-loss with their standard errors over rows."""
    correct, losses = (log_odds > 0) == (labels == 1), calibrated_losses(log_odds, labels)
    return {
        "n": len(labels),
        "accuracy": float(correct.mean()),
        "accuracy_se": float(correct.std() / math.sqrt(len(labels))),
        "loss": float(losses.mean()),
        "loss_se": float(losses.std() / math.sqrt(len(labels))),
    }
