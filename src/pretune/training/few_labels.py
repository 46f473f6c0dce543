"""The rules for few labels: which method, how many updates, and what is not chosen on a hundred rows.

The figures behind them are in docs/experiments.md, measured by benchmarks/few_labels.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.scoring.uncertainty import t_quantile

CLOZE_ROWS = 1000  # --method auto may take cloze for at most so many training rows in all
LEAST_EXPECTED = 0.01  # if the base expects the words of each label with this probability, on average over rows
LEAST_PICKING_ROWS = 200  # with fewer validation rows, neither an epoch nor a seed is chosen on them
LEAST_UPDATES = 40
UPDATES_PER_ROOT = 4


def least_updates(num_rows: int) -> int:
    """The updates that a model needs, however few rows there are: 40, or four times the root of their number."""
    return max(LEAST_UPDATES, round(UPDATES_PER_ROOT * num_rows**0.5))


def is_clearly_worse(losses: npt.NDArray[np.float64], than: npt.NDArray[np.float64]) -> bool:
    """Whether the losses (N,) are on average above the others of the same rows by more than noise (the interval of 95 %
    by Student's t), or not finite."""
    if not np.isfinite(losses).all():
        return True
    if len(losses) < 2 or not np.isfinite(than).all():
        return False
    difference = losses - than
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5
    return float(difference.mean()) > t_quantile(len(difference) - 1) * error
