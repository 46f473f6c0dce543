"""Outputs of a network, or scores of a linear model, in; probabilities of classes, or their logarithms, out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities (N, C), computed in double precision; uniform for a row with NaN."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
    return np.asarray(np.nan_to_num(probabilities, nan=1 / logits.shape[1]))


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logarithms of probabilities (N, C), computed in double precision; uniform for a row with NaN."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        found = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.asarray(np.where(np.isnan(found), -np.log(logits.shape[1]), found))
