"""Probabilities and right answers in; out come reliability bins, and what chance alone would make of both.

The bins hold about equally many rows, since most rows of a good classifier lie in the last of equally wide bins (Nguyen
and O'Connor 2015, arXiv:1508.05154). A perfectly calibrated model with the same probabilities is drawn many times: a
row with probability p is right with probability p. The rows of a group share one draw, since a model is often right on
all rows of which one contains another, or on none. The band of a bin holds 95 % of these draws; so does the range from
zero to the error by chance, since the expected calibration error is above zero by chance (Vaicenavicius et al. 2019,
arXiv:1902.06977).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pretune.run_trace.log_values import rounded
from pretune.run_trace.predicted_rows import PredictedRows
from pretune.runtime.randomness import generator
from pretune.scoring.metrics import brier_score, calibration_error, calibration_error_of, log_loss
from pretune.trace_schema import Calibration, CalibrationBin

MOST_BINS, ROWS_PER_BIN = 10, 20
DRAWS = 1000
_CHUNK = 2_000_000  # random numbers at a time, which limits memory

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def calibrate(model: str, rows: PredictedRows, groups: IntArray | None = None) -> Calibration:
    """The calibration of one model: of the probability of the class that it predicts. `groups` (N,) are the numbers of
    the groups of rows that are not independent, if there are some."""
    confidence = np.array([rounded(float(value)) for value in rows.probabilities.max(axis=1)])
    is_right = rows.probabilities.argmax(axis=1) == rows.label
    places = bin_edges(confidence)
    index = np.clip(np.searchsorted(places, confidence, side="right") - 1, 0, len(places) - 2)
    rights, errors = _draw(confidence, index, len(places) - 1, groups)
    bins = []
    for number, (low, high) in enumerate(pairwise(places.tolist())):
        mask = index == number
        n = int(mask.sum())
        chance = np.quantile(rights[:, number], [0.025, 0.975]) / n
        bins.append(
            CalibrationBin(
                low=rounded(low),
                high=rounded(high),
                n=n,
                right=int(is_right[mask].sum()),
                mean_probability=rounded(float(confidence[mask].mean())),
                chance_low=rounded(float(chance[0])),
                chance_high=rounded(float(chance[1])),
            )
        )
    return Calibration(
        model=model,
        bins=bins,
        error=rounded(calibration_error(rows.label, rows.probabilities)),
        error_by_chance=rounded(float(np.quantile(errors, 0.95))),
        brier_score=rounded(brier_score(rows.label, rows.probabilities)),
        loss=rounded(log_loss(rows.label, rows.probabilities)),
    )


def bin_edges(confidence: FloatArray) -> FloatArray:
    """The edges of bins with about equally many of the values (N,), at least 20 each where there are as many. Equal
    values share a bin, so there may be fewer bins; the last edge is 1."""
    bins = max(1, min(MOST_BINS, len(confidence) // ROWS_PER_BIN))
    ordered = np.sort(confidence)
    starts = np.unique(ordered[[round(k * len(ordered) / bins) for k in range(bins)]])
    return np.append(starts, 1.0) if starts[-1] < 1.0 else starts if len(starts) > 1 else np.array([starts[0], 1.0])


def _draw(confidence: FloatArray, index: IntArray, bins: int, groups: IntArray | None) -> tuple[FloatArray, FloatArray]:
    """Of each draw of a perfectly calibrated model: the right rows of each bin (R, bins), and its error (R,)."""
    n = len(confidence)
    num_groups, group = n, np.arange(n)
    if groups is not None:
        names, group = np.unique(groups, return_inverse=True)
        num_groups = len(names)
    step = max(1, _CHUNK // n)
    rights, errors = [], []
    for chunk, start in enumerate(range(0, DRAWS, step)):
        shape = (min(step, DRAWS - start), num_groups)
        is_right = generator(0, "calibration", chunk).random(shape)[:, group] < confidence
        rights.append(np.stack([is_right[:, index == k].sum(axis=1) for k in range(bins)], axis=1))
        errors.append(np.array([calibration_error_of(confidence, draw) for draw in is_right]))
    return np.concatenate(rights).astype(np.float64), np.concatenate(errors)
