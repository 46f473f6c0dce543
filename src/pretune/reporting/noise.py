"""How far two evaluations may differ by chance: the yardstick without which nothing is called better or worse.

The noise of an accuracy is half of its 95 % interval. The noise of a loss is its standard error, with the spread that
the single losses have when all of the loss comes from the wrong answers (at least as large as their mean). Both are
cautious: two evaluations on the same texts differ by less than that by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pretune.runtime.events import Event


def accuracy_noise(row: Event) -> float:
    """Half of the row's 95 % interval, as a share."""
    if row.get("accuracy_interval"):
        low, high = row["accuracy_interval"]
        return float(high - low) / 2
    variance: float = row["accuracy"] * (1 - row["accuracy"])
    return 1.96 * math.sqrt(max(variance, 0.0) / max(row.get("n", 1), 1))


def loss_noise(row: Event) -> float:
    """A cautious standard error of the row's mean loss, in nats.

    If a share e of the answers is wrong and all of the loss L is theirs, the spread is L * sqrt((1 - e) / e).
    """
    n = max(row.get("n", 1), 1)
    wrong = max(1 - row["accuracy"], 1 / n)
    return float(row["loss"]) * max(1.0, math.sqrt((1 - wrong) / wrong)) / math.sqrt(n)


def noise_of(measure: Callable[[Event], float], *rows: Event) -> float:
    """The noise of a difference between rows: that of the noisiest of them."""
    return max(measure(row) for row in rows)


def is_measurable(before: Event, after: Event) -> bool:
    """Whether two rows differ by more than noise, in loss or in accuracy."""
    by_loss: float = abs(after["loss"] - before["loss"])
    by_accuracy: float = abs(after["accuracy"] - before["accuracy"])
    return by_loss > noise_of(loss_noise, before, after) or by_accuracy > noise_of(accuracy_noise, before, after)
