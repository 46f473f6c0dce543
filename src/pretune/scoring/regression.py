"""From true and predicted numbers to the figures of a regression, with intervals.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.row_statistics import (
    RowStatistics,
    absolute_error_rows,
    over_seeds,
    pearson_rows,
    r2_rows,
    spearman_rows,
    squared_error_rows,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FIGURES: tuple[Callable[[FloatArray, FloatArray], RowStatistics], ...] = (
    pearson_rows,
    spearman_rows,
    absolute_error_rows,
    squared_error_rows,
    r2_rows,
)


def summarize_scores(targets: FloatArray, predicted: FloatArray, groups: IntArray | None = None) -> dict[str, Any]:
    """All figures of predicted numbers (N,) as JSON values, each with an interval at 95 %.

    Pearson's correlation, Spearman's, the mean absolute error and the root of the mean squared error in the units of
    the targets, and R2. The intervals come from a bootstrap over rows, or over the `groups` (N,) of rows that are not
    independent, see `pretune.scoring.uncertainty.bootstrap_over_seeds`; Fisher's formula for a correlation would need
    normal values. A correlation is 0 if the predictions or the targets are all alike: they order nothing.
    `predicted_range` and `target_range` are the smallest and the largest value. Raises ValueError if there are no rows
    or a number is not finite.
    """
    targets, predicted = (np.asarray(numbers, dtype=np.float64) for numbers in (targets, predicted))
    if len(targets) == 0:
        raise ValueError("no rows to evaluate")
    if not (np.isfinite(targets).all() and np.isfinite(predicted).all()):
        raise ValueError("found a number that is not finite, such as NaN; every row needs a true and a predicted one")
    found: dict[str, Any] = {"n": len(targets)}
    for make in _FIGURES:
        statistics = make(targets, predicted).over(groups)
        figure, interval = over_seeds([statistics])
        found |= {statistics.name: figure, f"{statistics.name}_interval": list(interval)}
    return found | {
        "target_range": [float(targets.min()), float(targets.max())],
        "predicted_range": [float(predicted.min()), float(predicted.max())],
    }
