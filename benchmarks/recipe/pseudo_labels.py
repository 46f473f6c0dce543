"""Log-odds of a teacher for the sentences of unlabelled reviews go in; rows and soft targets for a student come out.

A sentence's neighbours share its polarity, so the mean over the rest of its review says something that the teacher
cannot read in the sentence itself. One sentence of a review counts as much as the mean of all its others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_CLIP = 3.0  # log-odds of a single sentence: a teacher with few labels is not as sure as it says


def smooth(log_odds: FloatArray, reviews: IntArray, weight: float) -> FloatArray:
    """Clipped log-odds (N,) plus `weight` times the mean of those of the other sentences of the review (N,)."""
    clipped = np.clip(log_odds, -_CLIP, _CLIP)
    places = np.unique(reviews, return_inverse=True)[1]
    sums, counts = np.bincount(places, weights=clipped), np.bincount(places)
    others = (sums[places] - clipped) / np.maximum(counts[places] - 1, 1)
    return np.asarray(clipped + weight * others)


def select(scores: FloatArray) -> tuple[IntArray, FloatArray]:
    """The third of the sentences with the highest scores and that with the lowest, in order, and the soft targets (R,)
    of class 1. The median score counts as even odds, so both classes have as many rows."""
    third = len(scores) // 3
    order = np.argsort(scores, kind="stable")
    rows = np.sort(np.concatenate([order[:third], order[len(order) - third :]]))
    return rows, np.asarray(1 / (1 + np.exp(np.median(scores) - scores[rows])))


def label(log_odds: FloatArray, reviews: IntArray, weight: float, shuffle: str | None) -> tuple[IntArray, FloatArray]:
    """Rows (R,) and soft targets (R,) of sentences (N,). `shuffle` is a control: "reviews" assigns the sentences to
    random reviews before smoothing, "labels" assigns the targets to random rows."""
    if shuffle == "reviews":
        reviews = generator(0, "recipe shuffle reviews").permutation(reviews)
    rows, targets = select(smooth(log_odds, reviews, weight))
    if shuffle == "labels":
        targets = generator(0, "recipe shuffle labels").permutation(targets)
    return rows, targets
