"""Losses of single validation rows, kept between evaluations, give the standard errors of a loss and of its change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_KEPT = "row_losses"
_DIGITS = 6  # in a checkpoint; rounded before use, so that a resumed run computes the same


def compare_rows(kept: dict[str, Any], losses: FloatArray, counts: IntArray) -> dict[str, float]:
    """The fields `loss_error` and `loss_change_error` of an `evaluation` event; stores these rows in `kept`.

    `losses` (R,) are summed over the labels of each row, `counts` (R,) are its labels. The first field is the standard
    error of the mean loss per label, the second that of its change since the rows in `kept`, which is part of a
    checkpoint. A field is omitted if it cannot be computed.
    """
    losses = np.round(losses, _DIGITS)
    before, kept[_KEPT] = kept.get(_KEPT), losses.tolist()
    changes = None if before is None or len(before) != len(losses) else losses - np.array(before)
    fields = {"loss_error": losses, "loss_change_error": changes}
    errors = {name: standard_error(sums, counts) for name, sums in fields.items() if sums is not None}
    return {name: error for name, error in errors.items() if error is not None}


def standard_error(sums: FloatArray, counts: IntArray) -> float | None:
    """Standard error of sum(sums) / sum(counts) if the rows were drawn at random; None for fewer than two rows.

    It is the error of a ratio (Cochran 1977, "Sampling Techniques", section 6.4), so labels of a row may be correlated.
    """
    num_rows, total = len(counts), int(counts.sum())
    if num_rows < 2 or total == 0:
        return None
    remainders = sums - float(sums.sum()) / total * counts
    return math.sqrt(float((remainders**2).sum()) * num_rows / (num_rows - 1)) / total
