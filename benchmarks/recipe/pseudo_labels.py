"""Log-odds of a teacher for the sentences of unlabelled reviews go in; rows and soft targets for a student come out.

The arithmetic is the product's, with what the controls change: no smoothing, other reviews, other rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator
from pretune.scoring.pseudo_labels import make_pseudo_labels

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def label(
    log_odds: FloatArray, reviews: IntArray, share: float, *, is_smoothed: bool, shuffle: str | None
) -> tuple[IntArray, FloatArray]:
    """Rows (R,) and soft targets (R,) of sentences (N,); `share` of the labelled rows are positive. `shuffle` is a
    control: "reviews" assigns the sentences to random reviews before smoothing, "labels" assigns the targets to random
    rows."""
    if shuffle == "reviews":
        reviews = generator(0, "recipe shuffle reviews").permutation(reviews)
    if not is_smoothed:
        reviews = np.arange(len(reviews))  # a review for each sentence
    log_probabilities = np.stack([-np.logaddexp(0, log_odds), -np.logaddexp(0, -log_odds)], axis=1)
    found = make_pseudo_labels(log_probabilities, reviews, np.array([1 - share, share]))
    targets = found.targets[:, 1]
    if shuffle == "labels":
        targets = generator(0, "recipe shuffle labels").permutation(targets)
    return found.rows, targets
