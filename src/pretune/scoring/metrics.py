"""From true classes, predicted classes and probabilities to the figures of a classification.

Shapes: N rows, C classes; classes are integers from 0 to C - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pretune.scoring.uncertainty import accuracy_over_seeds, wilson_interval

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_CALIBRATION_BINS = 15


class Counts(NamedTuple):
    """What precision, recall and F1 are made of, each (..., C): of single rows, or summed over rows with any weights.

    C is classes, labels of which a row may have several, or types of entities.
    """

    hits: npt.NDArray[Any]  # both true and predicted
    support: npt.NDArray[Any]  # true
    predicted: npt.NDArray[Any]


def accuracy(labels: IntArray, predicted: IntArray) -> float:
    """The fraction of rows (N,) whose predicted class is the true one."""
    return float(np.mean(labels == predicted))


def confusion_matrix(labels: IntArray, predicted: IntArray, num_classes: int) -> IntArray:
    """Counts (C, C): row = true class, column = predicted class."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def f1_by_class(confusion: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Precision, recall and F1, each (C,), of a confusion matrix (C, C); 0 if the denominator is 0."""
    return precision_recall_f1(Counts(np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))


def precision_recall_f1(counts: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Precision, recall and F1, each (..., C); 0 if the denominator is 0."""
    hits, support, predicted = counts
    return _divide(hits, predicted), _divide(hits, support), _divide(2 * hits, support + predicted)


def macro_f1_of(hits: npt.NDArray[Any], support: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> FloatArray:
    """The mean F1 (...,) over the classes that are true or predicted for some row, as in scikit-learn.

    `hits`, `support` and `predicted`, each (..., C), are the rows of each class that are predicted correctly, those
    with this true class and those with this prediction; rows may be weighted.
    """
    occurs = support + predicted > 0
    return _divide(_divide(2 * hits, support + predicted).sum(axis=-1), occurs.sum(axis=-1))


def micro_f1_of(hits: npt.NDArray[Any], support: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> FloatArray:
    """The F1 (...,) of the counts (..., C) summed over the classes: every label or entity counts the same."""
    return _divide(2 * hits.sum(axis=-1), (support + predicted).sum(axis=-1))


def macro_f1(labels: IntArray, predicted: IntArray, num_classes: int) -> float:
    """The mean F1 over the classes that occur; a rare class counts as much as a frequent one."""
    confusion = confusion_matrix(labels, predicted, num_classes)
    return float(macro_f1_of(np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))


def log_loss(labels: IntArray, probabilities: FloatArray) -> float:
    """The mean negative log probability of the true class, in nats, for probabilities (N, C)."""
    epsilon = np.finfo(np.float64).eps
    given = np.asarray(probabilities, dtype=np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(given, epsilon, 1.0)).mean())


def brier_score(labels: IntArray, probabilities: FloatArray) -> float:
    """The mean squared error of the probabilities (N, C), summed over the classes; half of that for two classes.

    Brier 1950, "Verification of forecasts expressed in terms of probability", scaled as in scikit-learn: with two
    classes it is the squared error of one probability, from 0 to 1.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    errors = np.square(given).sum(axis=1) + 1 - 2 * given[np.arange(len(labels)), labels]
    return float(errors.mean()) / (2 if given.shape[1] == 2 else 1)


def calibration_error(labels: IntArray, probabilities: FloatArray) -> float:
    """The expected calibration error: how far the probability of the predicted class is from the accuracy.

    The rows are put into 15 bins of equal width by that probability; the error is the mean of |accuracy - mean
    probability| over the bins, weighted by their rows (Guo et al. 2017, arXiv:1706.04599, equation 3). With few rows it
    is above zero even for perfectly calibrated probabilities.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    return calibration_error_of(given.max(axis=1), given.argmax(axis=1) == labels)


def calibration_error_of(confidence: FloatArray, is_correct: npt.NDArray[np.bool_]) -> float:
    """The same from the probability of the predicted class (N,), and whether that class is the true one (N,)."""
    # Bins are open below and closed above; rounding makes 9/15 count as the edge that it is.
    places = np.clip(np.ceil(np.round(confidence * _CALIBRATION_BINS, 9)).astype(np.int64) - 1, 0, None)
    return float(np.abs(np.bincount(places, weights=is_correct - confidence)).sum() / len(confidence))


def summarize(
    labels: IntArray, probabilities: FloatArray, names: Sequence[str], groups: IntArray | None = None
) -> dict[str, Any]:
    """All figures of one set of predictions as JSON values; `accuracy_interval` is Wilson's at 95 %.

    If `groups` (N,) numbers the groups of rows that are not independent, it is the interval over groups. Raises
    ValueError if there are no rows.
    """
    if len(labels) == 0:
        raise ValueError("no rows to evaluate")
    predicted = np.asarray(probabilities).argmax(axis=1)
    correct = labels == predicted
    interval = wilson_interval(int(correct.sum()), len(labels))
    if groups is not None:
        interval = accuracy_over_seeds(correct[None], groups)[1]
    confusion = confusion_matrix(labels, predicted, len(names))
    precision, recall, f1 = f1_by_class(confusion)
    return {
        "n": len(labels),
        "accuracy": accuracy(labels, predicted),
        "accuracy_interval": list(interval),
        "macro_f1": macro_f1(labels, predicted, len(names)),
        "loss": log_loss(labels, probabilities),
        "brier_score": brier_score(labels, probabilities),
        "calibration_error": calibration_error(labels, probabilities),
        "classes": [
            {
                "label": name,
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "f1": float(f1[c]),
                "support": int(confusion[c].sum()),
            }
            for c, name in enumerate(names)
        ],
        "confusion_matrix": confusion.tolist(),
    }


def _divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    quotient = np.zeros(np.shape(numerator), dtype=np.float64)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
