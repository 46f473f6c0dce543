"""Figures as functions of row weights: what each row adds to a figure, so that rows can be drawn again and again.

A bootstrap of a figure needs no second look at predictions: drawing a row twice is giving it the weight 2.
Shapes: N test rows, K statistics of a row, R sets of weights, C classes, labels or types of entities, S seeds (runs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pretune.scoring.metrics import Counts, macro_f1_of, micro_f1_of
from pretune.scoring.uncertainty import (
    Difference,
    accuracy_difference,
    accuracy_over_seeds,
    bootstrap_difference,
    bootstrap_over_seeds,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FRACTION, CORRELATION, ERROR, EXPLAINED = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf), (-math.inf, 1.0)
_NEARLY_CONSTANT = 1e-13  # of the largest value: deviations below it are rounding; scipy warns from there on
_ROUNDING = 1e-12  # of the mean square: a variance below it is rounding


@dataclass(frozen=True, kw_only=True)
class RowStatistics:
    """One figure of one run, kept as what each row adds to it.

    The figure of weighted rows is `reduce(weights @ values)`, for `values` (N, K) and `reduce` from (..., K) to (...).
    With whole numbers as weights, it is the figure of the rows repeated that often. `bounds` are the smallest and the
    largest value that the figure can have. `groups` (N,) is the number of each row's group if rows are not independent,
    such as the parts of one document or of one sentence; intervals then draw whole groups.
    """

    name: str
    values: FloatArray
    reduce: Callable[[FloatArray], FloatArray]
    bounds: tuple[float, float] = FRACTION
    groups: IntArray | None = None

    @property
    def num_rows(self) -> int:
        return len(self.values)

    def figure(self, weights: FloatArray | None = None) -> float:
        """The figure of all rows, each with its weight (N,) or, without weights, with the same."""
        given = np.ones(self.num_rows) if weights is None else np.asarray(weights, dtype=np.float64)
        return float(self.figures(given[None])[0])

    def figures(self, weights: FloatArray) -> FloatArray:
        """The figure (R,) for each of the sets of weights (R, N)."""
        return self.reduce(weights @ self.values)

    def select(self, mask: npt.NDArray[np.bool_]) -> Self:
        """The same for the rows where `mask` (N,) is true: those of a slice."""
        groups = None if self.groups is None else self.groups[mask]
        return replace(self, values=self.values[mask], groups=groups)

    def over(self, groups: IntArray | None) -> Self:
        """The same over these groups (N,) of rows; unchanged without them."""
        return self if groups is None else replace(self, groups=groups)


class RankStatistics(RowStatistics):
    """Spearman's correlation, whose ranks depend on the other rows: they are taken again for each set of weights.

    `values` (N, 2) are the targets and the predictions. Ranks taken once over all rows would be cheaper, but the
    bootstrap would then miss that ranks vary: for normal values with a correlation of 0.8, its standard error is 14 %
    too small at 30 rows and 9 % at 200.
    """

    def figures(self, weights: FloatArray) -> FloatArray:
        columns = np.ascontiguousarray(weights.T)  # (N, R): rows are then taken in order of rank as whole lines
        count = columns.sum(axis=0)
        x, y = (_weighted_ranks(numbers, columns) / count - 0.5 for numbers in self.values.T)
        x_w, y_w = x * columns, y * columns
        products = [np.einsum("nr,nr->r", *pair) for pair in ((x_w, y), (x_w, x), (y_w, y))]
        return _correlation_of_sums(np.stack([count, x_w.sum(axis=0), y_w.sum(axis=0), *products], axis=-1))


def accuracy_rows(labels: IntArray, predicted: IntArray) -> RowStatistics:
    """The accuracy of predicted classes (N,)."""
    correct = np.asarray(labels == predicted, dtype=np.float64)
    return RowStatistics(name="accuracy", values=np.stack([correct, np.ones_like(correct)], axis=1), reduce=_mean)


def macro_f1_rows(counts: Counts) -> RowStatistics:
    """Macro-F1 of counts (N, C): the mean over the classes, labels or types that occur or are predicted."""
    return _f1_rows("macro_f1", counts, macro_f1_of)


def micro_f1_rows(counts: Counts) -> RowStatistics:
    """Micro-F1 of counts (N, C)."""
    return _f1_rows("micro_f1", Counts(*(part.sum(axis=1, keepdims=True) for part in counts)), micro_f1_of)


def entity_f1_rows(counts: Counts) -> RowStatistics:
    """F1 of all entities, of counts (N, C) by type as `pretune.scoring.entities.count_entities` gives them."""
    return replace(micro_f1_rows(counts), name="entity_f1")


def absolute_error_rows(targets: FloatArray, predicted: FloatArray) -> RowStatistics:
    """The mean absolute error of predicted numbers (N,), in the units of the targets."""
    return _mean_rows("mean_absolute_error", np.abs(targets - predicted), _mean)


def squared_error_rows(targets: FloatArray, predicted: FloatArray) -> RowStatistics:
    """The root of the mean squared error of predicted numbers (N,), in the units of the targets."""
    return _mean_rows("root_mean_squared_error", np.square(targets - predicted), _root_mean)


def r2_rows(targets: FloatArray, predicted: FloatArray) -> RowStatistics:
    """The coefficient of determination R2 of predicted numbers (N,): 1 - squared error / variance of the targets.

    It is negative if the mean of the targets would be the better prediction. For targets that are all alike it is 1
    if the predictions equal them and 0 otherwise, as in scikit-learn.
    """
    y, scale = _centre_and_scale(targets)
    error = (targets - predicted) / scale
    return RowStatistics(
        name="r2",
        values=np.stack([np.ones_like(y), y, y * y, error * error], axis=1),
        reduce=_explained,
        bounds=EXPLAINED,
    )


def pearson_rows(targets: FloatArray, predicted: FloatArray) -> RowStatistics:
    """Pearson's correlation of targets and predictions (N,); 0 if either are all alike."""
    (x, _), (y, _) = (_centre_and_scale(numbers) for numbers in (targets, predicted))
    return RowStatistics(
        name="pearson",
        values=np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1),
        reduce=_correlation_of_sums,
        bounds=CORRELATION,
    )


def spearman_rows(targets: FloatArray, predicted: FloatArray) -> RankStatistics:
    """Spearman's rank correlation of targets and predictions (N,), equal values with their mean rank; 0 if either are
    all alike."""
    return RankStatistics(
        name="spearman", values=np.stack([targets, predicted], axis=1), reduce=_mean, bounds=CORRELATION
    )


def over_seeds(runs: Sequence[RowStatistics]) -> tuple[float, tuple[float, float]]:
    """The mean figure of the runs, with a 95 % interval that covers the choice of rows and, from two runs on, of seeds.

    Accuracy has a formula, `pretune.scoring.uncertainty.accuracy_over_seeds`; for others the rows are drawn again.
    """
    if runs[0].name == "accuracy":
        return accuracy_over_seeds(_correct(runs), runs[0].groups)
    figures = np.array([run.figure() for run in runs])
    num_units, unit_of = _units(runs[0])
    return bootstrap_over_seeds(figures, lambda weights: _score(runs, weights[:, unit_of]), num_units, runs[0].bounds)


def describe_part(runs: Sequence[RowStatistics]) -> dict[str, Any]:
    """The rows and the figure of the runs on a part of the test, with its interval, as JSON values."""
    mean, interval = over_seeds(runs)
    return {"n": runs[0].num_rows, runs[0].name: mean, f"{runs[0].name}_interval": list(interval)}


def difference_of_runs(a: Sequence[RowStatistics], b: Sequence[RowStatistics]) -> Difference:
    """The difference of one figure between the runs of two models, S_a and S_b, on the same rows in the same order.

    Accuracy has a formula, `pretune.scoring.uncertainty.accuracy_difference`; for others, the same rows are drawn for
    both sides. Raises ValueError if the figures or the numbers of rows differ.
    """
    kinds = {(run.name, run.num_rows) for run in (*a, *b)}
    if len(kinds) != 1:
        raise ValueError(f"found {sorted(kinds)}; a difference needs one figure on the same rows")
    if a[0].name == "accuracy":
        return accuracy_difference(_correct(a), _correct(b), a[0].groups)
    low, high = a[0].bounds
    ours, theirs = (np.array([run.figure() for run in side]) for side in (a, b))
    num_units, unit_of = _units(a[0])
    return bootstrap_difference(
        ours,
        theirs,
        lambda weights: (_score(a, weights[:, unit_of]), _score(b, weights[:, unit_of])),
        num_units,
        limit=high - low,
    )


def _correct(runs: Sequence[RowStatistics]) -> npt.NDArray[np.bool_]:
    return np.stack([run.values[:, 0] > 0 for run in runs])


def _units(run: RowStatistics) -> tuple[int, IntArray | slice]:
    """How many groups of rows there are to draw, and the place of each row's group among them (N,)."""
    if run.groups is None:
        return run.num_rows, slice(None)
    known, places = np.unique(run.groups, return_inverse=True)
    return len(known), places


def _score(runs: Sequence[RowStatistics], weights: FloatArray) -> FloatArray:
    return np.stack([run.figures(weights) for run in runs], axis=1)


def _f1_rows(name: str, counts: Counts, f1_of: Callable[..., FloatArray]) -> RowStatistics:
    values = np.concatenate([np.asarray(part, dtype=np.float64) for part in counts], axis=1)
    return RowStatistics(name=name, values=values, reduce=lambda sums: f1_of(*np.split(sums, 3, axis=-1)))


def _mean_rows(name: str, numbers: FloatArray, reduce: Callable[[FloatArray], FloatArray]) -> RowStatistics:
    values = np.stack([numbers, np.ones_like(numbers)], axis=1)
    return RowStatistics(name=name, values=values, reduce=reduce, bounds=ERROR)


def _mean(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def _root_mean(sums: FloatArray) -> FloatArray:
    return np.sqrt(_mean(sums))


def _explained(sums: FloatArray) -> FloatArray:
    count, y, y_y, squared_error = np.moveaxis(sums, -1, 0)
    variance, error = _variance(y / count, y_y / count), squared_error / count
    varies = variance > 0
    return np.where(varies, 1 - error / np.where(varies, variance, 1.0), np.where(error > 0, 0.0, 1.0))


def _correlation_of_sums(sums: FloatArray) -> FloatArray:
    count, x, y, x_y, x_x, y_y = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = x / count, y / count
    product = _variance(mean_x, x_x / count) * _variance(mean_y, y_y / count)
    varies = product > 0
    deviation = np.sqrt(np.where(varies, product, 1.0))
    return np.where(varies, np.clip((x_y / count - mean_x * mean_y) / deviation, -1.0, 1.0), 0.0)


def _variance(mean: FloatArray, mean_square: FloatArray) -> FloatArray:
    """The variance (R,); exactly 0 where it is no more than rounding, since the values are then all alike."""
    variance = mean_square - mean**2
    return np.where(variance > _ROUNDING * mean_square, variance, 0.0)


def _centre_and_scale(numbers: FloatArray) -> tuple[FloatArray, float]:
    """The numbers (N,) moved to a mean of 0 and divided by their largest deviation from it, so that sums of squares
    lose no digits, and that deviation. Numbers that are all alike become 0, and the deviation 1."""
    deviations = numbers - np.mean(numbers)
    widest, largest = float(np.abs(deviations).max()), float(np.abs(numbers).max())
    if widest <= _NEARLY_CONSTANT * largest:
        return np.zeros_like(deviations), 1.0
    return deviations / widest, widest


def _weighted_ranks(numbers: FloatArray, weights: FloatArray) -> FloatArray:
    """The rank (N, R) of each number (N,) among numbers repeated by their weights (N, R); ties share their mean."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order], append=np.nan) != 0)  # the last row of each value
    up_to = np.cumsum(weights[order], axis=0)[ends]
    below = np.concatenate([np.zeros_like(up_to[:1]), up_to[:-1]])
    places = np.empty(len(numbers), dtype=np.int64)
    places[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    return np.asarray((up_to + below + 1)[places] / 2)
