"""From the scores of minimal pairs to accuracies: how often the acceptable sentence has the higher score.

A tie counts half, so that a model that gives every sentence the same score gets exactly 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.uncertainty import Z_95, wilson_interval

# Nats: sums in fp32 of the same numbers in another order differ by less, so a smaller difference says nothing.
TIE_NATS = 1e-4

FloatArray = npt.NDArray[np.float64]


def summarize_pairs(good: FloatArray, bad: FloatArray, paradigms: Sequence[str]) -> dict[str, Any]:
    """Accuracies by paradigm, over all pairs, and as the mean of the paradigms, with 95 % intervals, as JSON values.

    `good` and `bad` (N,) are the scores in nats of the two sentences of each pair. Intervals are Wilson's; for the mean
    of the paradigms, Wilson's for the number of independent pairs that would have the variance of that mean, in which
    the paradigms are fixed and their pairs are drawn. Raises ValueError for a score that is not a number.
    """
    difference = good - bad
    if np.isnan(difference).any():
        raise ValueError("a score is not a number")
    is_tie = np.abs(difference) <= TIE_NATS
    outcomes = np.where(is_tie, 0.5, (difference > 0).astype(np.float64))
    names = np.array(paradigms, dtype=object)
    by_paradigm = {name: names == name for name in dict.fromkeys(paradigms)}
    rows = [_summarize(name, outcomes[chosen], is_tie[chosen]) for name, chosen in by_paradigm.items()]
    mean = float(np.mean([row["accuracy"] for row in rows]))
    return {
        "n": len(outcomes),
        "accuracy": float(outcomes.mean()),
        "accuracy_interval": wilson_interval(float(outcomes.sum()), len(outcomes)),
        "mean_of_paradigms": mean,
        "mean_of_paradigms_interval": _interval_of_mean(mean, [outcomes[chosen] for chosen in by_paradigm.values()]),
        "ties": int(is_tie.sum()),
        "paradigms": rows,
    }


def _summarize(name: str, outcomes: FloatArray, is_tie: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "paradigm": name,
        "pairs": len(outcomes),
        "accuracy": float(outcomes.mean()),
        "interval": wilson_interval(float(outcomes.sum()), len(outcomes)),
        "ties": int(is_tie.sum()),
    }


def _interval_of_mean(mean: float, groups: Sequence[FloatArray]) -> tuple[float, float]:
    """The interval of the mean of the groups' means.

    A single pair says nothing about how much the pairs of its group vary, so that group has the variance within the
    other groups; if all are single pairs, it is that of one outcome with the mean.
    """
    pairs = sum(map(len, groups))
    freedom = pairs - len(groups)
    pooled = sum(len(group) * float(group.var()) for group in groups) / freedom if freedom else mean * (1 - mean)
    variances = [float(group.var(ddof=1)) if len(group) > 1 else pooled for group in groups]
    squared = sum(each / len(group) for each, group in zip(variances, groups, strict=True))
    squared *= Z_95**2 / len(groups) ** 2
    count = Z_95**2 * mean * (1 - mean) / squared if squared > 0 and 0 < mean < 1 else pairs
    return wilson_interval(mean * count, count)
