"""Events of a run: what is logged when, and with which fields."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.runtime.events import EventLog, read_events
from pretune.training.checkpoint import TrainingState
from pretune.training.guard import Refusal
from pretune.training.loop import StepResult
from pretune.training.run_log import LOG_SECONDS, RunLog, describe_refusals


def result(step: int, refusal: Refusal | None = None) -> StepResult:
    return StepResult(
        step=step, loss=2.0, accuracy=0.5, grad_norm=1.0, rate=0.5, num_labels=4, num_tokens=20, refusal=refusal
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"now": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["now"])
    return now


def make_log(folder: Path, **trial: int) -> RunLog:
    return RunLog(EventLog(folder, "finetune"), peak_rate=0.01, **trial)


def test_a_step_is_logged_every_two_seconds(tmp_path: Path, clock: dict[str, float]) -> None:
    log, state = make_log(tmp_path, trial=3), TrainingState()
    for step in (1, 2, 3):
        clock["now"] += 0.6 * LOG_SECONDS
        assert not log.count(state, result(step), lambda: {"epoch": 0.25})
    [event] = read_events(tmp_path)
    expected = {"trial": 3, "step": 2, "tokens": 40, "epoch": 0.25, "loss": 2.0, "learning_rate": 0.005}
    assert {name: event[name] for name in expected} == expected
    assert event["elapsed_seconds"] == pytest.approx(1.2 * LOG_SECONDS)
    assert event["tokens_per_second"] == pytest.approx(40 / (1.2 * LOG_SECONDS))
    assert state.step == 3


def test_every_refused_update_is_logged_and_kept_out_of_the_means(tmp_path: Path) -> None:
    log, state = make_log(tmp_path), TrainingState()
    for step in (1, 2):
        log.count(state, result(step, Refusal(reason="spike", sentence="Too high.")), dict)
    assert [(e["event"], e["step"], e["reason"]) for e in read_events(tmp_path)] == [
        ("skipped_update", 1, "spike"),
        ("skipped_update", 2, "spike"),
    ]
    assert state.take_means() == (None, None)


def test_a_new_microbatch_split_is_logged_once(tmp_path: Path) -> None:
    log, state = make_log(tmp_path), TrainingState()
    state.microbatch_split.count = 2
    assert log.count(state, result(1), dict)
    assert not log.count(state, result(2), dict)
    [event] = read_events(tmp_path)
    assert (event["event"], event["step"], event["pieces"]) == ("pieces_doubled", 1, 2)


@pytest.mark.parametrize(("split_count", "expected"), [(1, 2), (4, 4)])
def test_a_resumed_run_keeps_its_time_and_its_split(
    tmp_path: Path, clock: dict[str, float], split_count: int, expected: int
) -> None:
    state = TrainingState(step=7, elapsed_seconds=60.0)
    state.microbatch_split.count = 2
    log = make_log(tmp_path)
    log.resume(state, split_count)
    clock["now"] += 5.0
    assert log.elapsed() == 65.0
    assert state.microbatch_split.count == expected
    assert log.log_split(state) is (expected != 2)  # logged already by the earlier attempt, or new


def test_the_clock_stands_still_in_an_untimed_block(tmp_path: Path, clock: dict[str, float]) -> None:
    log = make_log(tmp_path)
    clock["now"] += 5.0
    with pytest.raises(KeyError), log.untimed():
        clock["now"] += 30.0
        raise KeyError
    clock["now"] += 2.0
    assert log.elapsed() == 7.0


@pytest.mark.parametrize("weighted", [None, 0.7])
def test_an_evaluation_has_training_losses_on_the_scale_of_validation(tmp_path: Path, weighted: float | None) -> None:
    log, state = make_log(tmp_path), TrainingState()
    log.count(state, result(1), dict)
    ones = np.array([1, 1])
    rows: dict[str, Any] = {"row_losses": np.array([0.5, 1.5]), "row_corrects": ones, "row_counts": ones}
    log.log_evaluation(state, {"loss": 1.0}, epoch=1.0, weighted_loss=weighted, **rows)
    [event] = read_events(tmp_path)
    found = {name: event.get(name) for name in ("train_loss", "weighted_train_loss", "weighted_loss")}
    if weighted is None:
        assert found == {"train_loss": 2.0, "weighted_train_loss": None, "weighted_loss": None}
    else:
        assert found == {"train_loss": None, "weighted_train_loss": 2.0, "weighted_loss": weighted}
    assert (event["loss"], event["train_accuracy"]) == (1.0, 0.5)
    assert event["loss_error"] == pytest.approx(0.5)
    assert state.take_means() == (None, None)


def test_several_refusals_are_counted() -> None:
    state, refused = TrainingState(), result(1, Refusal(reason="spike", sentence="Too high."))
    state.guard.refused_in_a_row = 1
    assert describe_refusals(state, refused) == "Too high."
    state.guard.refused_in_a_row = 5
    assert describe_refusals(state, refused) == "Too high. 5 updates in a row were skipped."
