"""Scores of single validation rows, kept between evaluations, give the standard errors of a loss and of its change, and
that of a change of accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.uncertainty import ratio_error

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DIGITS = 6  # of a loss in a checkpoint; rounded before use, so that a resumed run computes the same


def compare_rows(kept: dict[str, Any], losses: FloatArray, corrects: IntArray, counts: IntArray) -> dict[str, float]:
    """The fields `loss_error`, `loss_change_error` and `accuracy_change_error` of an `evaluation` event; stores these
    rows in `kept`.

    `losses` (R,) are summed over the labels of each row, `corrects` (R,) are its correct predictions, `counts` (R,) its
    labels. The first field is the standard error of the mean loss per label; the others are those of the changes since
    the rows in `kept`, which is part of a checkpoint. A field is omitted if it cannot be computed.
    """
    losses = np.round(losses, _DIGITS)
    fields = {
        "loss_error": losses,
        "loss_change_error": _changes(kept, "row_losses", losses),
        "accuracy_change_error": _changes(kept, "row_corrects", corrects),
    }
    errors = {name: ratio_error(sums, counts) for name, sums in fields.items() if sums is not None}
    return {name: error for name, error in errors.items() if error is not None}


def _changes(kept: dict[str, Any], name: str, present: npt.NDArray[Any]) -> FloatArray | None:
    """The change of each row since the rows in `kept`, which are replaced; None if there are none, or other ones."""
    before, kept[name] = kept.get(name), present.tolist()
    if before is None or len(before) != len(present):
        return None
    return (present - np.array(before)).astype(np.float64)
