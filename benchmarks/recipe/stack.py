"""Log-odds of several models go in, one weighted sum comes out: logistic regression on their log-odds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_PENALTY = 1.0  # of the squared weights of standardised log-odds, beside the summed loss: negligible from 100 rows on


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One weight for each model, and an intercept."""

    weights: FloatArray  # (M,)
    bias: float

    def combine(self, log_odds: FloatArray) -> FloatArray:
        """Log-odds (N,) from those of the models (N, M)."""
        return np.asarray(log_odds @ self.weights + self.bias)


def fit_stack(log_odds: FloatArray, labels: IntArray) -> Stack:
    """Fit weights on log-odds (N, M) of rows that the models were not trained on."""
    from sklearn.linear_model import LogisticRegression

    scale = log_odds.std(axis=0) + 1e-9
    model = LogisticRegression(C=1 / _PENALTY, max_iter=500).fit(log_odds / scale, labels)
    return Stack(weights=model.coef_[0] / scale, bias=float(model.intercept_[0]))
