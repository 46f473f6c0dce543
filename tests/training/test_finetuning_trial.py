"""A trial learns, keeps its best epoch, stops early without a better score, and resumes where it was stopped."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.data.labelled_rows import LabelledBatches, load_labeled
from pretune.data.special_ids import SpecialIds
from pretune.data.targets import Targets
from pretune.errors import EXIT_STOPPED, StoppedError
from pretune.runtime.events import Event, EventLog, read_events
from pretune.runtime.interruption import StopFlag
from pretune.scoring.metrics import summarize
from pretune.scoring.softmax import softmax
from pretune.scoring.uncertainty import ratio_error
from pretune.tasks.registry import task_named
from pretune.text.labels.labelling import Labelling
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.windows import WindowRule
from pretune.training.checkpoint import load_best
from pretune.training.finetuning_trial import FinetuningTrial, TrialSettings, predict_outputs
from pretune.training.objective import TaskObjective

NAMES = ("zero", "one", "two")
SETTINGS = TrialSettings(
    trial=2,
    learning_rate=5e-3,
    seed=0,
    epochs=3,
    patience=2,
    weight_decay=0.0,
    metric="accuracy",
    is_search=False,
    dtype=torch.float32,
    device="cpu",
)
TASK = task_named("classification")
Measure = Callable[[Any], dict[str, Any]]


def measure(logits: Any) -> dict[str, Any]:
    """The scores of outputs for the validation rows."""
    labels = np.random.default_rng(1).integers(0, 3, size=len(logits))  # as in `write_rows`
    figures = summarize(labels, softmax(logits), NAMES)
    return {name: figures[name] for name in ("n", "accuracy", "accuracy_interval", "macro_f1", "loss")}


def write_rows(folder: Path, name: str, count: int, seed: int, rule: WindowRule | None = None) -> LabelledBatches:
    """Texts whose label follows from one of their tokens."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=count).tolist()
    with ShardWriter(folder, name, 300) as writer:
        for label in labels:
            filler = rng.integers(20, 300, size=rng.integers(3, 12)).tolist()
            filler[rng.integers(len(filler))] = 10 + label
            writer.add([1, *filler, 2])
    special = SpecialIds(pad=0, mask=3, first_ordinary=4)
    targets = Targets.of_rows(np.array(labels))
    return LabelledBatches(
        load_labeled(folder, name, targets),
        special,
        batch_size=16,
        seed=0,
        mask_augment=0.1,
        window_rule=rule,
        train_windows=2 if name == "train" else None,
    )


@pytest.fixture
def make_trial(tmp_path: Path, tokenizer_folder: Path, make_classifier: Any) -> Callable[..., FinetuningTrial]:
    def make(name: str, measure: Measure = measure, rule: WindowRule | None = None, **settings: Any) -> FinetuningTrial:
        train = write_rows(tmp_path, "train", 96, 0, rule)
        validation = write_rows(tmp_path, "validation", 40, 1, rule)
        (tmp_path / name).mkdir(exist_ok=True)
        return FinetuningTrial(
            make_classifier(),
            train,
            validation,
            replace(SETTINGS, **settings),
            folder=tmp_path / name / "trial",
            tokenizer_folder=tokenizer_folder,
            task=TASK,
            labelling=Labelling(names=NAMES),
            log=EventLog(tmp_path / name, "finetune"),
            measure=measure,
        )

    return make


class StopAfter(StopFlag):
    """Set when read for the n-th time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def without_times(events: list[Event]) -> list[Event]:
    times = ("time", "elapsed_seconds", "tokens_per_second")
    of_the_clock = ("train", "checkpoint")  # the latter says where a stopped trial resumes
    return [{k: v for k, v in e.items() if k not in times} for e in events if e["event"] not in of_the_clock]


def test_it_learns_and_keeps_the_best(make_trial: Callable[..., FinetuningTrial], tmp_path: Path) -> None:
    trial = make_trial("a")
    best = trial.run(StopFlag())
    events = read_events(tmp_path / "a")
    rows = [event for event in events if event["event"] == "evaluation"]
    assert [(row["step"], row["epoch"], row["trial"]) for row in rows] == [(6, 1.0, 2), (12, 2.0, 2), (18, 3.0, 2)]
    assert all(row["loss_error"] > 0 for row in rows)
    assert ["loss_change_error" in row for row in rows] == [False, True, True]
    assert ["accuracy_change_error" in row for row in rows] == [False, True, True]
    assert trial.state.more["row_corrects"].count(1) == round(rows[-1]["accuracy"] * rows[-1]["n"])
    assert best["accuracy"] == max(row["accuracy"] for row in rows) > 0.8
    others = [event["event"] for event in events if event["event"] not in ("evaluation", "train")]
    assert others == ["trial_started", "trial_finished"]
    assert events[-1]["best_step"] == best["step"]
    kept = load_best(tmp_path / "a" / "trial")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trial.model.state_dict().items())
    objective = TaskObjective(trial.model, TASK.losses, torch.float32, compiled=False)
    again = measure(predict_outputs(objective, trial.validation, "cpu"))
    assert again["loss"] == pytest.approx(best["loss"], abs=1e-6)


def test_rows_of_one_group_vary_together(make_trial: Callable[..., FinetuningTrial], tmp_path: Path) -> None:
    trial = make_trial("a", epochs=1)
    trial.validation_groups = np.arange(40) // 2
    trial.run(StopFlag())
    targets = trial.validation.targets
    losses, corrects = TASK.score_targets(predict_outputs(trial.objective, trial.validation, "cpu"), targets)
    [event] = [event for event in read_events(tmp_path / "a") if event["event"] == "evaluation"]
    of_pairs = ratio_error(losses.reshape(20, 2).sum(axis=1), np.full(20, 2))
    assert event["loss_error"] == pytest.approx(of_pairs, rel=1e-3)
    assert trial.state.more["row_corrects"] == corrects.reshape(20, 2).sum(axis=1).tolist()


def test_outputs_are_in_the_order_of_the_rows(make_trial: Callable[..., FinetuningTrial]) -> None:
    trial = make_trial("a")
    found = predict_outputs(trial.objective, trial.validation, "cpu")
    for row in (0, 7, 39):
        with torch.no_grad():
            [logits] = trial.objective.logits(trial.validation.batch(np.array([row])))
        np.testing.assert_allclose(found[row], logits.double(), atol=1e-6)


def test_outputs_are_the_same_if_they_are_reported_and_a_report_may_end_the_work(
    make_trial: Callable[..., FinetuningTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.training.finetuning_trial._BATCHES_OF_REPORT", 2)
    trial, reported = make_trial("a"), list[int]()
    found = predict_outputs(trial.objective, trial.validation, "cpu", report=reported.append)
    np.testing.assert_array_equal(found, predict_outputs(trial.objective, trial.validation, "cpu"))
    assert reported == [32, 40]  # three batches of 16

    def stop(done: int) -> None:
        raise StoppedError(f"{done}")

    with pytest.raises(StoppedError, match="32"):
        predict_outputs(trial.objective, trial.validation, "cpu", report=stop)


def test_an_evaluation_holds_one_batch_at_a_time(
    make_trial: Callable[..., FinetuningTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, alive, most = make_trial("a").validation, weakref.WeakSet[torch.Tensor](), 0
    make = LabelledBatches.batch

    def batch(self: LabelledBatches, chosen: Any) -> Any:
        nonlocal most
        made = make(self, chosen)
        alive.add(made.input_ids)
        most = max(most, len(alive))
        return made

    monkeypatch.setattr(LabelledBatches, "batch", batch)
    found = predict_outputs(make_trial("b").objective, rows, "cpu")
    assert len(found) == 40 and len(rows.in_order()) == 3
    assert 0 < most <= 2  # there may be two lanes


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_patience_ends_a_trial_and_the_best_epoch_is_kept(
    make_trial: Callable[..., FinetuningTrial], tmp_path: Path, metric: str
) -> None:
    scripted = iter([(0.5, 0.9), (0.7, 0.8), (0.7, 0.85), (0.6, 0.7)])  # score and loss, epoch by epoch

    def script(logits: Any) -> dict[str, Any]:
        score, loss = next(scripted)
        figures = measure(logits)
        return {**figures, "accuracy": 0.1, "macro_f1": 0.1, metric: score, "loss": loss}

    best = make_trial("a", script, epochs=9, patience=2, metric=metric).run(StopFlag())
    assert (best["epoch"], best[metric], best["loss"]) == (2.0, 0.7, 0.8)
    last = read_events(tmp_path / "a")[-1]
    assert (last["event"], last["stopped"], last["step"]) == ("trial_finished", "patience", 24)


def test_the_smaller_loss_decides_between_equal_scores(make_trial: Callable[..., FinetuningTrial]) -> None:
    scripted = iter([0.9, 0.8, 0.85])

    def script(logits: Any) -> dict[str, Any]:
        return {**measure(logits), "accuracy": 0.5, "loss": next(scripted)}

    assert make_trial("a", script).run(StopFlag())["epoch"] == 2.0


@pytest.mark.parametrize("looks", [0, 4, 13])
def test_a_stopped_trial_resumes_to_the_same_end(
    make_trial: Callable[..., FinetuningTrial], tmp_path: Path, looks: int
) -> None:
    whole = make_trial("whole")
    whole.run(StopFlag())
    with pytest.raises(StoppedError, match=r"Stopped at step .* of 18, trial 2.*same command") as caught:
        make_trial("stopped").run(StopAfter(looks))
    assert caught.value.exit_code == EXIT_STOPPED
    resumed = make_trial("stopped")
    resumed.run(StopFlag())
    assert all(torch.equal(t, resumed.model.state_dict()[name]) for name, t in whole.model.state_dict().items())
    assert all(torch.equal(t, resumed.optimizer.state()[name]) for name, t in whole.optimizer.state().items())
    assert without_times(read_events(tmp_path / "stopped")) == without_times(read_events(tmp_path / "whole"))
    assert whole.state.more == resumed.state.more


def test_a_trial_with_windows_learns_and_resumes_to_the_same_end(
    make_trial: Callable[..., FinetuningTrial],
) -> None:
    nowhere = np.zeros(300, dtype=np.bool_)
    rule = WindowRule(max_seq_len=6, is_sentence_end=nowhere, starts_word=~nowhere)  # rows have 5 to 13 tokens
    whole = make_trial("whole", rule=rule)
    best = whole.run(StopFlag())
    assert best["accuracy"] > 0.6
    with pytest.raises(StoppedError):
        make_trial("stopped", rule=rule).run(StopAfter(8))
    resumed = make_trial("stopped", rule=rule)
    assert resumed.run(StopFlag()) == best
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    rows = whole.validation
    together = predict_outputs(TaskObjective(whole.model, TASK.losses, torch.float32, compiled=False), rows, "cpu")
    with torch.no_grad():
        for row in range(len(rows.data)):
            alone = TaskObjective(whole.model, TASK.losses, torch.float32, compiled=False)
            [logits] = alone.logits(rows.batch(np.array([row]))).numpy()
            np.testing.assert_allclose(together[row], logits, atol=1e-5)


def test_a_finished_trial_is_not_trained_again(make_trial: Callable[..., FinetuningTrial], tmp_path: Path) -> None:
    """As if the process had been killed after the last epoch, before the stage recorded the result."""
    best = make_trial("a").run(StopFlag())
    again = make_trial("a")
    again.objective = None  # type: ignore[assignment]
    assert again.run(StopFlag()) == best
    kinds = [event["event"] for event in read_events(tmp_path / "a")]
    assert kinds.count("trial_finished") == kinds.count("trial_started") == 1


def test_the_rate_rises_and_falls_to_zero(make_trial: Callable[..., FinetuningTrial]) -> None:
    trial = make_trial("a", epochs=10)
    rates = [trial._rate(step) for step in range(1, 61)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.02


@pytest.mark.parametrize(("updates", "epochs", "every"), [(2, 1, 6), (40, 7, 6), (54, 9, 12), (600, 100, 78)])
def test_a_budget_in_updates_is_evaluated_after_whole_epochs(
    make_trial: Callable[..., FinetuningTrial], updates: int, epochs: int, every: int
) -> None:
    trial = make_trial("a", updates=updates, epochs=epochs)
    assert trial.steps_per_epoch == 6
    assert trial.steps_per_evaluation == every >= updates // 8
