"""A dry run writes nothing, and the numbers that it works out match those of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import EXIT_DONE, EXIT_RESOURCES, EXIT_USAGE, InputDataError, UsageError
from pretune.runtime.atomic import remove_folder
from pretune.runtime.events import read_events
from pretune.runtime.stage_folder import open_stage
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning import choices
from pretune.stages.chat_tuning.forecast import forecast
from pretune.stages.chat_tuning.stage import tune_chat
from pretune.training import training_stage

FAST: dict[str, Any] = {"updates": 20, "batch_size": 8, "evaluations": 1, "precision": "fp32"}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"adapter": "lora", "rank": 4},
        pytest.param({"freeze": 1}, marks=pytest.mark.slow),
        pytest.param({"from_scratch": True}, marks=pytest.mark.slow),
    ],
    ids=["all weights", "lora", "freeze", "from scratch"],
)
def test_plan_and_disk_are_those_of_the_run(
    base_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    config, sizes = ChatTuningConfig(**{**FAST, **settings}), []
    found = forecast(base_folder, prepared_folder, config)

    def measure_and_remove(folder: Path) -> None:
        sizes.append(size_of(folder.parent))
        remove_folder(folder)

    monkeypatch.setattr(training_stage, "remove_folder", measure_and_remove)
    summary = tune_chat(base_folder, prepared_folder, tmp_path / "out", config).summary
    [plan], [estimate] = (
        [event for event in read_events(tmp_path / "out") if event["event"] == kind] for kind in ("plan", "estimate")
    )
    assert found.plan.steps == plan["steps"] and found.parameters == estimate["parameters"]
    assert (found.trained_parameters or found.parameters) == summary["trained_parameters"]
    logs = sum((tmp_path / "out" / name).stat().st_size for name in ("events.jsonl", "manifest.json"))
    assert found.disk_bytes == estimate["disk_bytes"] == pytest.approx(max(sizes) - logs, rel=0.03)


def test_a_slow_model_from_scratch_has_the_checkpoints_of_adamw(
    base_folder: Path, prepared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ChatTuningConfig(**FAST, from_scratch=True)
    usual = forecast(base_folder, prepared_folder, config).disk_bytes
    monkeypatch.setattr("pretune.model.cost.is_slow", lambda _model, _device: True)
    assert forecast(base_folder, prepared_folder, config).disk_bytes > 1.1 * usual


def test_more_updates_take_longer_and_minutes_are_met(base_folder: Path, prepared_folder: Path) -> None:
    def seconds(**budget: Any) -> float:
        return forecast(base_folder, prepared_folder, ChatTuningConfig(**{**FAST, "updates": None, **budget})).seconds

    assert seconds(minutes=3.0) == pytest.approx(180, rel=0.1)
    assert seconds(updates=20) < seconds(updates=20_000)


def test_processes_without_work_are_refused(
    base_folder: Path, prepared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = forecast(base_folder, prepared_folder, ChatTuningConfig(**FAST))
    assert "memory for each of 2 processes" in " ".join(found.describe())
    monkeypatch.setenv("WORLD_SIZE", "5000")
    with pytest.raises(UsageError, match="5000 processes cannot divide an update of"):
        forecast(base_folder, prepared_folder, ChatTuningConfig(**FAST))


def test_a_budget_that_is_too_small_is_refused(base_folder: Path, prepared_folder: Path) -> None:
    with pytest.raises(InputDataError, match="give --updates 20 or more"):
        forecast(base_folder, prepared_folder, ChatTuningConfig(**{**FAST, "updates": 3}))


def test_the_command_needs_no_out_and_writes_nothing(
    base_folder: Path, prepared_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [sorted(folder.rglob("*")) for folder in (base_folder, prepared_folder)]
    words = ["finetune", str(base_folder), str(prepared_folder), "--updates", "20", "--adapter", "lora"]
    assert run_command_line([*words, "--dry-run"]) == EXIT_DONE
    said = capsys.readouterr().out
    for expected in ("trained)", "20 updates", "minutes", "GB of memory", "MB of disk", "Nothing was written"):
        assert expected in said
    assert [sorted(folder.rglob("*")) for folder in (base_folder, prepared_folder)] == before
    assert run_command_line(words) == EXIT_USAGE
    assert "Give --out DIR" in capsys.readouterr().err


def test_a_model_that_does_not_fit_is_refused_with_what_would(
    base_folder: Path, prepared_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "available_bytes", lambda _device: 1_000)
    assert run_command_line(["finetune", str(base_folder), str(prepared_folder), "--dry-run"]) == EXIT_RESOURCES
    assert "give --adapter lora or --freeze" in capsys.readouterr().err


def test_labelled_examples_have_no_dry_run_of_their_own(
    base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_stage(tmp_path / "prepared", "prepare", config={}, inputs={}).finish()
    assert run_command_line(["finetune", str(base_folder), str(tmp_path / "prepared"), "--dry-run"]) == EXIT_USAGE
    assert "--dry-run is for conversations" in capsys.readouterr().err
