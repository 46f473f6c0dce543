"""A dry run writes nothing, and the numbers that it works out match those of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pretune.errors import UsageError
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.forecast import forecast
from pretune.stages.pretrain.stage import pretrain

SETTINGS: dict[str, Any] = {
    "size": "tiny",
    "tokens": 2700,
    "row_tokens": 16,
    "tokens_per_step": 128,
    "long_row_tokens": 32,
    "evaluations": 2,
    "compile": "off",
}


@pytest.mark.parametrize("optimizer", [pytest.param("muon", marks=pytest.mark.slow), "adamw"])
def test_plan_and_disk_are_those_of_the_run(preprocessed_folder: Path, tmp_path: Path, optimizer: str) -> None:
    config = PretrainConfig(**SETTINGS, optimizer=optimizer)  # type: ignore[arg-type]
    before = sorted(preprocessed_folder.iterdir())
    found = forecast(preprocessed_folder, config)
    assert sorted(preprocessed_folder.iterdir()) == before
    pretrain(preprocessed_folder, tmp_path / "out", config)
    events = read_events(tmp_path / "out")
    [plan], [estimate] = ([event for event in events if event["event"] == kind] for kind in ("plan", "estimate"))
    assert found.plan.steps == plan["steps"]
    assert found.parameters == 2 * (4 * 128 * 128 + 3 * 128 * 352 + 2 * 128) + 128 * (
        read_manifest(tmp_path / "out", "pretrain").summary["model"]["vocab_size"] + 1
    )
    size = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert found.disk_bytes == estimate["disk_bytes"] == pytest.approx(size, rel=0.02)


def test_minutes_are_met_and_more_tokens_take_longer(preprocessed_folder: Path) -> None:
    def seconds(**settings: Any) -> float:
        return forecast(preprocessed_folder, PretrainConfig(**{**SETTINGS, **settings})).seconds

    assert seconds(tokens=None, minutes=3.0) == pytest.approx(180, rel=0.1)
    assert seconds() < seconds(tokens=4_200_000)


def test_it_names_its_measurement(preprocessed_folder: Path) -> None:
    found = forecast(preprocessed_folder, PretrainConfig(**SETTINGS))
    described = " ".join(found.describe())
    for words in ("tiny", "minutes", "GB of memory", "MB of disk", "trial updates", "Nothing was written"):
        assert words in described
    assert found.memory_bytes > 100_000_000


def test_of_several_processes_it_is_the_part_of_one(preprocessed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was that of a single process, and passed where the run was refused."""
    config = PretrainConfig(**SETTINGS)
    alone = forecast(preprocessed_folder, config)
    assert "process" not in " ".join(alone.describe())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    found = forecast(preprocessed_folder, config)
    described = " ".join(found.describe())
    assert "memory for each of 4 processes" in described
    assert "its part of an update" in described
    assert (found.plan.steps, found.disk_bytes) == (alone.plan.steps, alone.disk_bytes)
    monkeypatch.setenv("WORLD_SIZE", "16")
    with pytest.raises(UsageError, match="16 processes cannot divide a step of"):
        forecast(preprocessed_folder, config)
