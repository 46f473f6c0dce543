"""The rules for few labels: which method, how many updates, and what is not chosen on a hundred rows.

The figures behind them are in docs/experiments.md, measured by benchmarks/few_labels.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

MethodName = Literal["head", "cloze"]
CLOZE_ROWS = 64  # with more training rows in all, a head is as good or better
LEAST_PICKING_ROWS = 200  # with fewer validation rows, nothing is chosen on them
LEAST_UPDATES = 40
UPDATES_PER_ROOT = 4
NOISE_ERRORS = 2.0  # a difference of the validation loss of fewer standard errors is noise


def method_for(num_rows: int) -> MethodName:
    """The method for this number of training rows in all, if the base has a mask token and label words are known."""
    return "cloze" if num_rows <= CLOZE_ROWS else "head"


def least_updates(num_rows: int) -> int:
    """The updates that a model needs, however few rows there are: 40, or four times the root of their number."""
    return max(LEAST_UPDATES, round(UPDATES_PER_ROOT * num_rows**0.5))


def average_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of several models that started from the same ones (a soup, arXiv:2203.05482)."""
    first, *others = states
    if any(state.keys() != first.keys() for state in others):
        raise ValueError("the models have different weights")
    return {name: sum((state[name] for state in others), first[name]) / len(states) for name in first}


def is_clearly_worse(losses: npt.NDArray[np.float64], than: npt.NDArray[np.float64]) -> bool:
    """Whether the losses (N,) are on average above the others of the same rows by more than noise."""
    if len(losses) < 2:
        return False
    difference = losses - than
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5
    return float(difference.mean()) > NOISE_ERRORS * error
