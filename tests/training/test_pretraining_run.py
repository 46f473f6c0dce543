"""A pre-training that fails rolls back and continues with other text, exactly so when interrupted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.data.batch import Batch
from pretune.data.pretraining_data import Corpus
from pretune.errors import EXIT_MODEL, DivergedError
from pretune.runtime.events import Event, read_events
from pretune.runtime.workers import num_cores
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.stage import pretrain
from pretune.training import objective as objectives
from pretune.training.checkpoint import list_steps
from pretune.training.loop import Evaluation
from pretune.training.pretraining_run import PretrainingRun
from pretune.training.run_log import RunLog

SETTINGS: dict[str, Any] = {
    "size": "tiny",
    "tokens": 4200,
    "row_tokens": 16,
    "tokens_per_step": 128,
    "long_row_tokens": 32,
    "evaluations": 4,
    "optimizer": "adamw",
    "compile": "off",
    "initial_embedding": "random",
}
STEPS, DECAY = 34, 20  # the plan for these settings, and the start of its decay, which has a checkpoint
TIMES = ("time", "elapsed_seconds", "tokens_per_second", "seconds", "peak_memory_bytes", "minutes")


class Killed(BaseException):
    pass


class Machine:
    """Runs the stage on text with poison in some places, and raises Killed at a given call."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.poison: frozenset[int] = frozenset()  # positions in the text, in steps, whose loss is not finite
        self.kill_at: int | None = None  # the number of the call that requests batches
        self.rows = 10**9  # that fit into memory
        self.place, self.calls = 0, 0
        self.places: list[int] = []

    def run(self, out: Path, kill_at: int | None = None, **settings: Any) -> list[Event]:
        self.kill_at, self.calls, self.places = kill_at, 0, []
        pretrain(self.source, out, PretrainConfig(**{**SETTINGS, **settings}))
        return read_events(out)

    def batches(self, corpus: Corpus, step: int, long_start_step: int, shift: int = 0) -> list[Batch]:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        self.place = step + shift
        self.places.append(self.place)
        return ORIGINAL_BATCHES(corpus, step, long_start_step, shift)

    def loss(self, objective: Any, batch: Batch) -> objectives.LossSum:
        if torch.is_grad_enabled() and len(batch.input_ids) > self.rows:
            raise torch.OutOfMemoryError("out of memory")
        sums: objectives.LossSum = ORIGINAL_LOSS(objective, batch)
        is_poison = torch.is_grad_enabled() and self.place in self.poison
        return replace(sums, loss=sums.loss * math.nan) if is_poison else sums


ORIGINAL_BATCHES, ORIGINAL_LOSS = Corpus.batches, objectives.TokenObjective.__call__


@pytest.fixture
def machine(preprocessed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = Machine(preprocessed_folder)
    monkeypatch.setattr(Corpus, "batches", lambda *args: found.batches(*args))
    monkeypatch.setattr(objectives.TokenObjective, "__call__", lambda *args: found.loss(*args))
    return found


def weights(out: Path) -> bytes:
    return (out / "checkpoint" / "model.safetensors").read_bytes()


def state(out: Path) -> dict[str, Any]:
    newest = out / "checkpoints" / f"step-{list_steps(out / 'checkpoints')[-1]:08d}"
    found: dict[str, Any] = json.loads((newest / "training_state" / "state.json").read_text(encoding="utf-8"))
    return found


def tables(events: list[Event]) -> list[Event]:
    kinds = ("train", "checkpoint")
    return [{k: v for k, v in e.items() if k not in TIMES} for e in events if e["event"] not in kinds]


def of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def test_after_five_refusals_it_rolls_back_and_skips_text(machine: Machine, tmp_path: Path) -> None:
    machine.poison = frozenset(range(23, 28))
    events = machine.run(tmp_path / "out")
    assert machine.places == [*range(1, 28), *range(28, 28 + STEPS - DECAY)]
    [event] = of_kind(events, "rolled_back")
    assert (event["step"], event["from_step"]) == (DECAY + 1, 27)
    assert "5 updates in a row were skipped. Rolled back to the checkpoint of step 20" in event["sentence"]
    assert of_kind(events, "skipped_update") == []  # discarded by the rollback
    rows = of_kind(events, "evaluation")
    assert [row["step"] for row in rows] == [0, 8, 17, 26, 34]
    assert all(math.isfinite(row["loss"]) for row in rows)
    for name in ("loss_change_error", "accuracy_change_error"):
        assert [name in row for row in rows] == [False, True, True, True, True]
    found = state(tmp_path / "out")
    assert (found["data_shift"], found["rollbacks"], found["anchors"]) == (7, 0, [DECAY, STEPS])


def test_the_time_lost_in_a_rollback_does_not_make_the_updates_slow(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a run with a budget in minutes was planned as if its updates took as long as those lost, too."""
    clock, taken = {"now": 0.0}, list[tuple[int, float]]()
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    make, correct = Corpus._slice_of, PretrainingRun._correct_plan

    def slice_of(corpus: Corpus, *rows: Any) -> list[Batch]:
        clock["now"] += 1.0
        return make(corpus, *rows)

    def note(run: PretrainingRun) -> bool:
        taken.append((run.state.step, run.elapsed() - run.state.more["seconds_before_training"]))
        return correct(run)

    monkeypatch.setattr(Corpus, "_slice_of", slice_of)
    monkeypatch.setattr(PretrainingRun, "_correct_plan", note)
    machine.poison = frozenset(range(5, 10))
    events = machine.run(tmp_path / "out")
    assert len(of_kind(events, "rolled_back")) == 1
    assert [step for step, _ in taken] == [DECAY]
    assert taken[0][1] == pytest.approx(DECAY, abs=2.5)  # seconds; with those lost, they were nine more


def test_four_refusals_are_logged_and_survived(machine: Machine, tmp_path: Path) -> None:
    machine.poison = frozenset(range(23, 27))
    events = machine.run(tmp_path / "out")
    assert [event["step"] for event in of_kind(events, "skipped_update")] == [23, 24, 25, 26]
    assert of_kind(events, "rolled_back") == []
    assert machine.places == list(range(1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [(25,), (28,), (31, 9, 12)],
    ids=str,
)
def test_a_rollback_is_exact_when_interrupted(
    machine: Machine, tmp_path: Path, kills: tuple[int, ...], undisturbed: Callable[[], tuple[bytes, list[Event]]]
) -> None:
    """Killed during the refusals, at the rollback, after it, and several times."""
    machine.poison = frozenset(range(23, 28))
    for kill in kills:
        with pytest.raises(Killed):
            machine.run(tmp_path / "out", kill_at=kill)
    events = machine.run(tmp_path / "out")
    expected, tables_expected = undisturbed()
    assert weights(tmp_path / "out") == expected
    assert tables(events) == tables_expected


@pytest.fixture
def undisturbed(machine: Machine, tmp_path: Path) -> Callable[[], tuple[bytes, list[Event]]]:
    def run() -> tuple[bytes, list[Event]]:
        events = machine.run(tmp_path / "whole")
        return weights(tmp_path / "whole"), tables(events)

    return run


@pytest.mark.slow
@pytest.mark.skipif(num_cores() < 2, reason="needs two cores")
def test_two_lanes_resume_with_the_same_bits(machine: Machine, tmp_path: Path) -> None:
    """As on most machines: uncompiled on a CPU, with half of the rows on each of two cores."""
    before = torch.get_num_threads()
    try:
        whole = machine.run(tmp_path / "whole", threads=2)
        for kill in (9, 12):
            with pytest.raises(Killed):
                machine.run(tmp_path / "out", kill_at=kill, threads=2)
        events = machine.run(tmp_path / "out", threads=2)
    finally:
        torch.set_num_threads(before)
    assert [event["threads"] for event in of_kind(events, "estimate")] == [2]
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert tables(events) == tables(whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_resumes_with_the_same_bits(machine: Machine, tmp_path: Path) -> None:
    """Twice uninterrupted, and once killed and resumed: in bf16, with Muon and variable-length attention."""
    tables_of = []
    for name, kills in (("whole", ()), ("again", ()), ("killed", (9, 25))):
        for kill in kills:
            with pytest.raises(Killed):
                machine.run(tmp_path / name, kill_at=kill, optimizer="muon")
        tables_of.append(tables(machine.run(tmp_path / name, optimizer="muon")))
    assert weights(tmp_path / "whole") == weights(tmp_path / "again") == weights(tmp_path / "killed")
    assert tables_of[0] == tables_of[1] == tables_of[2]


@pytest.mark.slow
def test_a_resumed_run_compiles_everything_before_its_clock_goes_on(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With short and long rows, and with an evaluation; the weights are those of an uninterrupted run."""
    monkeypatch.setattr(torch, "compile", lambda function, **_settings: function)
    monkeypatch.setattr("pretune.stages.pretrain.stage.refuse_without_compiler", lambda _compile: None)
    for name in ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    machine.run(tmp_path / "whole", compile="on")
    with pytest.raises(Killed):
        machine.run(tmp_path / "out", kill_at=DECAY + 3, compile="on")
    untimed, compute, is_untimed, passes = RunLog.untimed, machine.loss, [False], list[tuple[bool, int, bool]]()

    @contextmanager
    def stopped(log: RunLog) -> Iterator[None]:
        with untimed(log):
            is_untimed[0] = True
            yield
            is_untimed[0] = False

    def loss(objective: Any, batch: Batch) -> objectives.LossSum:
        passes.append((torch.is_grad_enabled(), batch.input_ids.shape[1], is_untimed[0]))
        return compute(objective, batch)

    monkeypatch.setattr(RunLog, "untimed", stopped)
    machine.loss = loss  # type: ignore[method-assign]
    machine.run(tmp_path / "out", compile="on")
    assert passes[:3] == [(True, 16, True), (True, 32, True), (False, 16, True)]
    assert passes[3][2] is False
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_if_rolling_back_does_not_help_it_stops_and_explains(machine: Machine, tmp_path: Path) -> None:
    machine.poison = frozenset(range(23, 1000))
    for _ in range(2):  # the same command fails in the same way
        with pytest.raises(DivergedError, match="Training diverged") as caught:
            machine.run(tmp_path / "out")
        assert caught.value.exit_code == EXIT_MODEL
        assert "--learning-rate lower than 0.002, with --redo" in str(caught.value)
        assert list_steps(tmp_path / "out" / "checkpoints")[0] == 0
        events = read_events(tmp_path / "out")
        assert events[-1]["event"] == "diverged"
        assert events[-1]["sentence"] == str(caught.value)


def test_weights_that_cannot_be_evaluated_cause_a_rollback(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretune.stages.pretrain import measurement

    original, calls = measurement.evaluate_rows, [0]

    def evaluate_rows(*args: Any) -> Evaluation:
        calls[0] += 1
        found = original(*args)
        # Two calls for the calibration, then steps 0, 8, 17 and 26.
        return replace(found, loss=math.nan) if calls[0] == 6 else found

    monkeypatch.setattr(measurement, "evaluate_rows", evaluate_rows)
    events = machine.run(tmp_path / "out")
    [event] = of_kind(events, "rolled_back")
    assert event["sentence"].startswith("The loss on the validation text was not finite at step 26.")
    assert [row["step"] for row in of_kind(events, "evaluation")] == [0, 8, 17, 26, 34]


@pytest.mark.slow
def test_a_lack_of_memory_is_handled_and_remembered(machine: Machine, tmp_path: Path) -> None:
    """In fp32, where losses stay close to the end; test_microbatch_split.py compares single updates in bf16."""
    machine.run(tmp_path / "whole", precision="fp32")
    machine.rows = 3
    with pytest.raises(Killed):
        machine.run(tmp_path / "out", kill_at=25, precision="fp32")
    assert state(tmp_path / "out")["microbatch_split"] == {"count": 4}  # of eight rows
    machine.rows = 10**9
    events = machine.run(tmp_path / "out", precision="fp32")
    [event] = of_kind(events, "pieces_doubled")
    assert (event["pieces"], event["step"]) == (4, 0)
    assert "A micro-batch did not fit into memory, so each is now split into 4 pieces" in event["sentence"]
    assert state(tmp_path / "out")["microbatch_split"] == {"count": 4}
    one, two = (of_kind(read_events(tmp_path / name), "evaluation") for name in ("whole", "out"))
    # Sums are in another order, so the last bits differ, and training amplifies that: in bf16 to several per cent.
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)


def test_a_save_out_of_turn_leaves_no_further_checkpoint(machine: Machine, tmp_path: Path) -> None:
    """The estimate of the disk space counts on it."""
    original = machine.batches

    def batches(corpus: Corpus, step: int, long_start_step: int, shift: int = 0) -> list[Batch]:
        machine.rows = 4 if step > DECAY + 4 else 10**9
        return original(corpus, step, long_start_step, shift)

    machine.batches = batches  # type: ignore[method-assign]
    events = machine.run(tmp_path / "out")
    saved = [event["step"] for event in of_kind(events, "checkpoint")]
    assert len(saved) == 4 and DECAY < saved[2] < STEPS
    assert list_steps(tmp_path / "out" / "checkpoints") == [DECAY, STEPS]


def test_a_later_lack_of_memory_is_saved_at_once(machine: Machine, tmp_path: Path) -> None:
    original = machine.batches

    def batches(corpus: Corpus, step: int, long_start_step: int, shift: int = 0) -> list[Batch]:
        machine.rows = 4 if step >= 11 else 10**9
        return original(corpus, step, long_start_step, shift)

    machine.batches = batches  # type: ignore[method-assign]
    with pytest.raises(Killed):
        machine.run(tmp_path / "out", kill_at=13)
    assert list_steps(tmp_path / "out" / "checkpoints") == [0, 11]
    assert state(tmp_path / "out")["microbatch_split"] == {"count": 2}
    assert state(tmp_path / "out")["anchors"] == [0]
