"""From the scores of several models for the same rows to one combined model: a weight for each, fitted on those rows.

Stacking (Wolpert 1992, Neural Networks 5:241) with logistic regression on log-probabilities: one weight for each model
and one bias for each class, so a model's share of a decision can be read off. The rows must be new to all models, or a
model that has learnt them by heart would get all the weight.

Shapes: M models, N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
FOLDS = 5
_PENALTY = 1.0  # on squared weights of standardised scores and on squared biases, beside the summed loss of the rows


@dataclass(frozen=True)
class Stack:
    """`weights` (M,) of the models' scores and `bias` (C,)."""

    weights: FloatArray
    bias: FloatArray

    def parts(self, scores: Sequence[FloatArray]) -> FloatArray:
        """What each model, and last the bias, adds to the combined scores: (M + 1, N, C), each row centred."""
        weighted = [w * _centre(each) for w, each in zip(self.weights, scores, strict=True)]
        return np.stack([*weighted, np.broadcast_to(_centre(self.bias), weighted[0].shape)])

    def combine(self, scores: Sequence[FloatArray]) -> FloatArray:
        """Combined log-probabilities (N, C) of scores (N, C) of each model."""
        total = self.parts(scores).sum(axis=0)
        return np.asarray(total - _logsumexp(total))


def fit_stack(scores: Sequence[FloatArray], labels: IntArray) -> Stack:
    """Fit a stack on scores (N, C) of each model for rows with these labels (N,), which no model was trained on.

    The weights are those with the lowest log-loss plus a small penalty; they cannot be negative, so a model without
    information gets none.
    """
    from scipy.optimize import minimize

    centred = [_centre(each) for each in scores]
    scales = np.array([each.std() + 1e-9 for each in centred])
    features = np.stack([each / scale for each, scale in zip(centred, scales, strict=True)])
    models, classes = len(features), features.shape[2]
    truth = np.eye(classes)[labels]

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        weights, bias = values[:models], values[models:]
        combined = np.tensordot(weights, features, axes=1) + bias
        log_probabilities = combined - _logsumexp(combined)
        error = np.exp(log_probabilities) - truth
        gradient = np.concatenate([np.tensordot(features, error, axes=2), error.sum(axis=0)]) + _PENALTY * values
        return float(-(log_probabilities * truth).sum() + _PENALTY / 2 * values @ values), gradient

    start = np.concatenate([np.ones(models), np.zeros(classes)])
    bounds = [(0.0, None)] * models + [(None, None)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Stack(weights=found[:models] / scales, bias=_centre(found[models:]))


def crossfit(scores: Sequence[FloatArray], labels: IntArray) -> FloatArray:
    """Combined log-probabilities (N, C), each row's from a stack that was fitted without that row's fold."""
    folds = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    result = np.empty_like(scores[0], dtype=np.float64)
    for fold in range(min(FOLDS, len(labels))):
        held = folds == fold
        stack = fit_stack([each[~held] for each in scores], labels[~held])
        result[held] = stack.combine([each[held] for each in scores])
    return result


def _centre(scores: FloatArray) -> FloatArray:
    """Scores minus their mean over the classes, which changes no probability."""
    return np.asarray(scores - scores.mean(axis=-1, keepdims=True))


def _logsumexp(scores: FloatArray) -> FloatArray:
    highest = scores.max(axis=-1, keepdims=True)
    return np.asarray(highest + np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True)))
