"""From the scores of several models for the same rows to one combined model: a weight for each, fitted on those rows.

Stacking (Wolpert 1992, Neural Networks 5:241) with a generalised linear model: one weight for each model and one bias
for each class, so what a model adds to a decision can be read off. For classes it is logistic regression on
log-probabilities, for several labels on the log-odds of each, and for numbers least squares. The rows must be new to
all models, or a model that has learned them by heart would get all the weight.

Shapes: M models, N rows, C classes, labels, or one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Link = Literal["softmax", "sigmoid", "identity"]  # from scores to what is predicted: one class, labels, or a number
FOLDS = 5
# Added to the summed loss for each squared weight (of standardised scores) and each squared bias. The models know how
# frequent the classes are, so biases stay small: with a hundred rows, free ones cost points (docs/experiments.md).
_WEIGHT_PENALTY, _BIAS_PENALTY = 1.0, 30.0


@dataclass(frozen=True)
class Stack:
    """`weights` (M,) of the models' scores and `bias` (C,)."""

    weights: FloatArray
    bias: FloatArray
    link: Link = "softmax"

    def parts(self, scores: Sequence[FloatArray]) -> FloatArray:
        """What each model, and last the bias, adds to the combined scores: (M + 1, N, C), of classes each row
        centred."""
        weighted = [w * _centre(each, self.link) for w, each in zip(self.weights, scores, strict=True)]
        return np.stack([*weighted, np.broadcast_to(_centre(self.bias, self.link), weighted[0].shape)])

    def combine(self, scores: Sequence[FloatArray]) -> FloatArray:
        """Combined log-probabilities (N, C) of scores (N, C) of each model; the log-odds of labels, or the number."""
        total = self.parts(scores).sum(axis=0)
        return np.asarray(total - _logsumexp(total) if self.link == "softmax" else total)


def weigh_rare_classes(targets: npt.NDArray[np.generic]) -> FloatArray:
    """Weights (N,) of rows, of mean 1, by the inverse square root of how frequent the class (N,) of a row is.

    For macro-F1. With the inverse frequency itself, so many rows are taken for those of a rare class that its precision
    suffers (docs/experiments.md).
    """
    _, places, counts = np.unique(targets, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[places])
    return np.asarray(weights / weights.mean())


def fit_stack(
    scores: Sequence[FloatArray],
    targets: npt.NDArray[np.generic],
    link: Link = "softmax",
    row_weights: FloatArray | None = None,
) -> Stack:
    """Fit a stack on scores (N, C) of each model for rows with these targets, which no model was trained on.

    Targets are classes (N,), labels (N, C) as 0 or 1, or standardised numbers (N,). The weights are those with the
    lowest loss, of rows with `row_weights` (N,) if given, plus a small penalty; they cannot be negative, so a model
    without information gets none.
    """
    from scipy.optimize import minimize

    centred = [_centre(each, link) for each in scores]
    scales = np.array([each.std() + 1e-9 for each in centred])
    features = np.stack([each / scale for each, scale in zip(centred, scales, strict=True)])
    models, columns = len(features), features.shape[2]
    truth = _as_table(targets, columns, link)
    of_rows = np.ones(len(truth)) if row_weights is None else row_weights
    penalty = np.concatenate([np.full(models, _WEIGHT_PENALTY), np.full(columns, _BIAS_PENALTY)])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = values[:models], values[models:]
        combined = np.tensordot(weights, features, axes=1) + bias
        # The gradient of the loss: all three links are canonical.
        error = of_rows[:, None] * (_expect(combined, link) - truth)
        gradient = np.concatenate([np.tensordot(features, error, axes=2), error.sum(axis=0)]) + penalty * values
        return float(of_rows @ _losses(combined, truth, link) + penalty * values @ values / 2), gradient

    start = np.concatenate([np.ones(models), np.zeros(columns)])
    bounds = [(0.0, None)] * models + [(None, None)] * columns
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Stack(found[:models] / scales, _centre(found[models:], link), link)


def crossfit(
    scores: Sequence[FloatArray],
    targets: npt.NDArray[np.generic],
    link: Link = "softmax",
    groups: IntArray | None = None,
    row_weights: FloatArray | None = None,
) -> FloatArray:
    """Combined scores (N, C), each row's from a stack that was fitted without that row's fold.

    Rows of one of the `groups` (N,) are in one fold. `row_weights` (N,) are those of `fit_stack`.
    """
    folds = _draw_folds(np.arange(len(targets)) if groups is None else groups)
    of_rows = np.ones(len(targets)) if row_weights is None else row_weights
    result = np.empty_like(scores[0], dtype=np.float64)
    for fold in np.unique(folds):
        held = folds == fold
        stack = fit_stack([each[~held] for each in scores], targets[~held], link, of_rows[~held])
        result[held] = stack.combine([each[held] for each in scores])
    return result


def row_losses(combined: FloatArray, targets: npt.NDArray[np.generic], link: Link = "softmax") -> FloatArray:
    """The loss (N,) of combined scores (N, C): in nats, summed over the labels of a row, or the squared error, as in
    training."""
    losses = _losses(combined, _as_table(targets, combined.shape[1], link), link)
    return 2 * losses if link == "identity" else losses


def standard_error(differences: FloatArray, groups: IntArray) -> float:
    """The standard error of the mean of differences (N,) between two models on the same rows.

    Rows of one group may err together, so their sums count (Liang and Zeger 1986, Biometrika 73:13); the error is never
    below that of independent rows, since few groups make the former too small.
    """
    deviations = differences - differences.mean()
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=deviations)
    return float(np.sqrt(max(sums @ sums, deviations @ deviations)) / len(differences))


def _draw_folds(groups: IntArray) -> IntArray:
    """A fold (N,) for each row: the groups in random order, each into the smallest fold."""
    names, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < FOLDS:  # no fold would be left to fit on, or too little
        return _draw_folds(np.arange(len(groups)))
    order = np.random.default_rng(0).permutation(len(names))
    if (sizes == 1).all():
        return np.asarray(order % FOLDS)[places]
    filled, fold_of = np.zeros(FOLDS, dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[places]


def _as_table(targets: npt.NDArray[np.generic], columns: int, link: Link) -> FloatArray:
    """Targets as (N, C)."""
    if link == "softmax":
        return np.asarray(np.eye(columns)[np.asarray(targets, dtype=np.int64)])
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), columns)


def _expect(combined: FloatArray, link: Link) -> FloatArray:
    """What is expected for combined scores (N, C): probabilities, or the numbers themselves."""
    if link == "identity":
        return combined
    if link == "softmax":
        return np.asarray(np.exp(combined - _logsumexp(combined)))
    return np.asarray(np.exp(-np.logaddexp(0.0, -combined)))


def _losses(combined: FloatArray, truth: FloatArray, link: Link) -> FloatArray:
    """What is minimised: of numbers, half the squared error, whose gradient is the error."""
    if link == "softmax":
        return np.asarray(-((combined - _logsumexp(combined)) * truth).sum(axis=1))
    if link == "sigmoid":
        return np.asarray((np.logaddexp(0.0, combined) - truth * combined).sum(axis=1))
    return np.asarray(np.square(combined - truth).sum(axis=1) / 2)


def _centre(scores: FloatArray, link: Link) -> FloatArray:
    """Scores of classes minus their mean over the classes, which changes no probability; others as they are."""
    return np.asarray(scores - scores.mean(axis=-1, keepdims=True) if link == "softmax" else scores)


def _logsumexp(scores: FloatArray) -> FloatArray:
    highest = scores.max(axis=-1, keepdims=True)
    return np.asarray(highest + np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True)))
