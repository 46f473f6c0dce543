"""The trials of a fine-tuning: several rates on some of the rows, then the best rate on all rows with each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.model import cost
from pretune.model.config import ForeignConfig, ModelConfig
from pretune.training.few_labels import LEAST_UPDATES, least_updates

SCRATCH_EPOCH_FACTOR = 3  # the from-scratch control needs more epochs for a fair comparison
RATES = (5e-4, 1.5e-3)  # of pretune's own small models
# At higher ones they lose what they know. The first is used where none is chosen: for few rows, so for few updates.
SMALL_FOREIGN_RATES, WIDE_RATES = (3e-4, 1e-4), (3e-5, 1e-4)
_SEARCH_EPOCHS = 2
_EPOCHS_BY_TOKENS = ((1e6, 5), (3e6, 3), (float("inf"), 2))  # (tokens per epoch up to, default epochs)
_EPOCHS_OF_WINDOWS = ((1e6, 5), (3e6, 4), (float("inf"), 2))  # the same if an epoch reads one window of a long text
_MANY_TOKENS = 2e6  # above this, one seed is the default


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One trial before it runs; a `learning_rate` of zero means the best one of the search.

    `updates` is the exact budget, if it is not a number of whole epochs; `epochs` is then rounded up.
    """

    trial: int
    learning_rate: float
    seed: int
    epochs: int
    num_rows: int
    is_search: bool
    updates: int | None = None


def default_rates(config: ModelConfig) -> tuple[float, ...]:
    """The peak rates that are tried for a base, by its width and by whether transformers computes it."""
    if cost.is_wide(config):
        return WIDE_RATES
    return SMALL_FOREIGN_RATES if isinstance(config, ForeignConfig) else RATES


def plan_trials(
    *,
    rates: Sequence[float],
    search_rows: int,
    epochs: int | None,
    seeds: int | None,
    first_seed: int,
    from_scratch: bool,
    lengths: npt.NDArray[np.int64],
    updates: int | None = None,
    batch_size: int = 32,
    is_searching: bool = True,
    reads_windows: bool = False,
) -> list[PlannedTrial]:
    """The trials in order, for training texts of which an epoch reads so many tokens (N,), all or with `reads_windows`
    those of one window.

    One rate needs no search, and without `is_searching` the first rate is used. If neither `epochs` nor `updates` is
    given, few rows get more epochs than many, and at least the updates that `least_updates` asks for. A trial of the
    search has at least 40 updates, if a full trial has: two epochs of few rows cannot tell rates apart.
    """
    tokens = int(lengths.sum())
    factor = SCRATCH_EPOCH_FACTOR if from_scratch else 1
    by_tokens = _EPOCHS_OF_WINDOWS if reads_windows else _EPOCHS_BY_TOKENS
    num_epochs = factor * (epochs or next(count for limit, count in by_tokens if tokens <= limit))
    steps_per_epoch = -(-len(lengths) // batch_size)
    floor = factor * least_updates(len(lengths))
    if updates is not None:
        updates *= factor
    elif epochs is None and num_epochs * steps_per_epoch < floor:
        updates = floor
    if updates is not None:
        num_epochs = -(-updates // steps_per_epoch)
    num_seeds = seeds or (3 if tokens <= _MANY_TOKENS else 1)
    search_rows, search_epochs, search_updates = min(search_rows, len(lengths)), factor * _SEARCH_EPOCHS, None
    search_steps = -(-search_rows // batch_size)
    least = min(factor * LEAST_UPDATES, updates or num_epochs * steps_per_epoch)
    if search_epochs * search_steps < least:
        search_epochs, search_updates = -(-least // search_steps), least
    search = [(rate, first_seed, search_epochs, search_rows, True, search_updates) for rate in rates]
    if len(rates) == 1 or not is_searching:
        search = []
    rate = 0.0 if search else rates[0]
    full = [(rate, first_seed + i, num_epochs, len(lengths), False, updates) for i in range(num_seeds)]
    return [
        PlannedTrial(trial=i, learning_rate=r, seed=seed, epochs=e, num_rows=rows, is_search=is_search, updates=u)
        for i, (r, seed, e, rows, is_search, u) in enumerate(search + full)
    ]
