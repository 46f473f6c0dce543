"""A linear model with one column of weights per class or label, each trained against all rows of the others.

Shapes: N rows, V features, C classes or labels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.word_features import Features

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_CERTAIN = 30.0  # the score of a label that all training rows have: a probability of 1 - 1e-13


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """`features @ weights + bias` are the scores (N, C)."""

    weights: npt.NDArray[np.float32]  # (V, C)
    bias: FloatArray  # (C,)

    def score(self, features: Features) -> FloatArray:
        return np.asarray(features @ self.weights + self.bias, dtype=np.float64)


def fit_logistic(features: Features, is_member: BoolArray, c: float, class_weight: str | None = None) -> LinearModel:
    """Logistic regression for each column of `is_member` (N, C) alone; `c` is the inverse of the L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    model = allocate(features, is_member.shape[1])
    for k, members in enumerate(is_member.T):
        # liblinear's dual method: the others take five times as long here, or stop before they converge.
        logistic = LogisticRegression(
            C=c, class_weight=class_weight, solver="liblinear", dual=True, tol=0.1, max_iter=100, random_state=0
        )
        model.weights[:, k], model.bias[k] = fit_column(logistic, features, members)
    return model


def fit_logistic_classes(
    features: Features, labels: npt.NDArray[np.int64], num_classes: int, c: float, class_weight: str | None = None
) -> LinearModel:
    """The same for rows with one class each (N,); of two classes one is trained, and the other is its negative."""
    members = labels[:, None] == np.arange(num_classes)
    if num_classes != 2:
        return fit_logistic(features, members, c, class_weight)
    second = fit_logistic(features, members[:, 1:], c, class_weight)
    weights, bias = second.weights, second.bias
    return LinearModel(weights=np.hstack([-weights, weights]), bias=np.hstack([-bias, bias]))


def allocate(features: Features, num_columns: int) -> LinearModel:
    """A model whose weights are zero, to be filled."""
    return LinearModel(weights=np.zeros((features.shape[1], num_columns), dtype=np.float32), bias=np.zeros(num_columns))


def fit_column(model: Any, features: Features, is_member: BoolArray) -> tuple[npt.NDArray[Any], float]:
    """Weights (V,) and bias of a scikit-learn classifier; a constant score if all rows (N,) are members, or none."""
    from sklearn.exceptions import ConvergenceWarning

    if is_member.all() or not is_member.any():
        return np.zeros(features.shape[1]), _CERTAIN if is_member.all() else -_CERTAIN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near the optimum the predictions are the same
        model.fit(features, is_member)
    return model.coef_[0], float(model.intercept_[0])
