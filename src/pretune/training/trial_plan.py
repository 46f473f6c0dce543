"""The trials of a fine-tuning: several rates on some of the rows, then the best rate on all rows with each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SCRATCH_EPOCH_FACTOR = 3  # the from-scratch control needs more epochs for a fair comparison
RATES, FOREIGN_RATES = (5e-4, 1.5e-3), (3e-5, 1e-4)  # large public encoders lose what they know at higher rates
_SEARCH_EPOCHS = 2
_EPOCHS_BY_TOKENS = ((1e6, 5), (3e6, 3), (float("inf"), 2))  # (tokens per epoch up to, default epochs)
_MANY_TOKENS = 2e6  # above this, one seed is the default


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One trial before it runs; a `learning_rate` of zero means the best one of the search."""

    trial: int
    learning_rate: float
    seed: int
    epochs: int
    num_rows: int
    is_search: bool


def plan_trials(
    *,
    rates: Sequence[float],
    search_rows: int,
    epochs: int | None,
    seeds: int | None,
    first_seed: int,
    from_scratch: bool,
    lengths: npt.NDArray[np.int64],
) -> list[PlannedTrial]:
    """The trials in order, for training texts of these lengths in tokens. One rate needs no search."""
    tokens = int(lengths.sum())
    factor = SCRATCH_EPOCH_FACTOR if from_scratch else 1
    num_epochs = factor * (epochs or next(count for limit, count in _EPOCHS_BY_TOKENS if tokens <= limit))
    num_seeds = seeds or (3 if tokens <= _MANY_TOKENS else 1)
    search = [(rate, first_seed, factor * _SEARCH_EPOCHS, min(search_rows, len(lengths)), True) for rate in rates]
    if len(rates) == 1:
        search = []
    rate = rates[0] if len(rates) == 1 else 0.0
    full = [(rate, first_seed + i, num_epochs, len(lengths), False) for i in range(num_seeds)]
    return [
        PlannedTrial(trial=i, learning_rate=r, seed=seed, epochs=e, num_rows=rows, is_search=is_search)
        for i, (r, seed, e, rows, is_search) in enumerate(search + full)
    ]
