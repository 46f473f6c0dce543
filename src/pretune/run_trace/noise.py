"""Evaluations in, and out how far they may differ by chance; a smaller difference is not called better or worse.

All evaluations use the same validation rows, so a change of loss or accuracy is judged row by row: its noise is half
its 95 % interval, from the paired standard error in the log. For evaluations that are further apart, the errors of the
changes in between are added up, which gives at least the error of the whole change. The noise of a single loss or
accuracy is half its own 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pretune.trace_schema import Evaluation

Z_95 = 1.96


def half_interval(accuracy: float, interval: Sequence[float] | None, n: int | None) -> float:
    """Half the 95 % interval of an accuracy, as a fraction; without an interval, that of the normal approximation."""
    if interval:
        return (interval[1] - interval[0]) / 2
    variance = accuracy * (1 - accuracy)
    return Z_95 * math.sqrt(max(variance, 0.0) / max(n or 1, 1))


def loss_noise(row: Evaluation) -> float:
    """Half the 95 % interval of a row's mean loss, in nats.

    A row without a standard error (one validation text has none) gets an estimate, as if the wrong answers caused all
    of the loss and each of them the same: with a fraction e of wrong answers, the loss L has the standard deviation
    L * sqrt((1 - e) / e), and at least L.
    """
    if row.loss_error is not None:
        return Z_95 * row.loss_error
    n = max(row.n or 1, 1)
    wrong = max(1 - min(row.score, 1.0), 1 / n)
    return row.loss * max(1.0, math.sqrt(max(1 - wrong, 0.0) / wrong)) / math.sqrt(n)


def loss_change_noise(rows: Sequence[Evaluation]) -> float:
    """The noise of the change in loss from the first to the last of some consecutive rows, in nats.

    Without a paired error, it is the larger of the two rows' own noise.
    """
    own = [loss_noise(rows[0]), loss_noise(rows[-1])]
    paired = _sum_of_errors([row.loss_change_error for row in rows[1:]])
    return max(own) if paired is None else min(Z_95 * paired, sum(own))


def score_change_noise(rows: Sequence[Evaluation]) -> float:
    """The noise of the change in the score from the first to the last of some consecutive rows, as a fraction.

    One answer is added, because answers are counted: the correction for continuity of McNemar's test (Edwards 1948).
    Without a paired error, it is the larger of the two rows' own noise.
    """
    own = [rows[0].score_noise, rows[-1].score_noise]
    paired = _sum_of_errors([row.accuracy_change_error for row in rows[1:]])
    return max(own) if paired is None else min(Z_95 * paired + 1 / max(rows[-1].n or 1, 1), sum(own))


def _sum_of_errors(errors: Sequence[float | None]) -> float | None:
    """The sum of the paired errors of all rows but the first; None if one has none."""
    paired = [error for error in errors if error is not None]
    return sum(paired) if len(paired) == len(errors) else None


def is_measurable(rows: Sequence[Evaluation]) -> bool:
    """Whether the first and the last of some consecutive rows differ by more than noise, in loss or score."""
    before, after = rows[0], rows[-1]
    by_loss, by_score = abs(after.loss - before.loss), abs(after.score - before.score)
    return by_loss > loss_change_noise(rows) or by_score > score_change_noise(rows)
