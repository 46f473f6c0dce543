"""The paired error is that of the differences, and it is the same after a checkpoint is restored."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem

from pretune.training.row_losses import compare_rows

ONES, NONE = np.ones(300, dtype=np.int64), np.zeros(300, dtype=np.int64)


def draw(num_rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Losses before and after some training: rows differ a lot in difficulty, and all improve a little."""
    random = np.random.default_rng(0)
    before = random.gamma(1.0, 2.0, size=num_rows)
    return before, before - 0.05 + random.normal(0, 0.1, size=num_rows)


def test_paired_rows_show_what_unpaired_ones_cannot() -> None:
    before, after = draw()
    kept: dict[str, Any] = {}
    assert compare_rows(kept, before, NONE, ONES).keys() == {"loss_error"}
    found = compare_rows(kept, after, NONE, ONES)
    assert found["loss_change_error"] == pytest.approx(sem(after - before), rel=1e-4)
    fall = before.mean() - after.mean()
    assert 2 * found["loss_change_error"] < fall < found["loss_error"]


def test_the_error_of_a_change_in_accuracy_is_that_of_the_texts_that_changed() -> None:
    before, after = np.repeat([0, 1, 1, 0], [60, 200, 10, 30]), np.repeat([0, 1, 0, 1], [60, 200, 10, 30])
    kept: dict[str, Any] = {}
    compare_rows(kept, np.zeros(300), before, ONES)
    found = compare_rows(kept, np.zeros(300), after, ONES)["accuracy_change_error"]
    assert found == pytest.approx(sem(after - before))
    assert found == pytest.approx(np.sqrt(40 - 20**2 / 300) / 300, rel=0.01)


def test_a_checkpoint_changes_nothing() -> None:
    before, after = draw()
    kept: dict[str, Any] = {}
    compare_rows(kept, before, NONE, ONES)
    restored = json.loads(json.dumps(kept))
    assert compare_rows(restored, after, ONES, ONES) == compare_rows(kept, after, ONES, ONES)


def test_fields_that_cannot_be_computed_are_omitted() -> None:
    kept: dict[str, Any] = {}
    assert compare_rows(kept, np.array([1.0]), np.array([2]), np.array([3])) == {}
    assert compare_rows(kept, np.array([1.0, 2.0]), np.array([2, 0]), np.array([3, 3])).keys() == {"loss_error"}
    del kept["row_corrects"]  # a checkpoint of an earlier version
    found = compare_rows(kept, np.array([1.5, 2.0]), np.array([2, 0]), np.array([3, 3]))
    assert found.keys() == {"loss_error", "loss_change_error"}
