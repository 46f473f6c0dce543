"""Progress counts the seconds of a step in this attempt, and tells what an earlier attempt had done of it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from pretune.runtime import events
from pretune.runtime.events import read_events
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess import stage
from pretune.stages.preprocess.stage import preprocess


def test_a_step_is_timed_from_its_own_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"Number {n} liked the {word} near the river.\n" for n in range(80) for word in ("film", "hotel", "soup")]
    (tmp_path / "text.txt").write_text("".join(lines), encoding="utf-8")
    collect([tmp_path / "text.txt"], tmp_path / "collect")
    clock = count()  # each reading is a second later
    for module in (events, stage):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(clock)), time=lambda: 0.0))
    monkeypatch.setattr(events, "PROGRESS_SECONDS", 0.0)
    preprocess(tmp_path / "collect", tmp_path / "out")
    logged = [event for event in read_events(tmp_path / "out") if event["event"] == "progress"]
    assert [(event["unit"], event["elapsed_seconds"]) for event in logged] == [
        ("documents cleaned", 1.0),
        ("documents encoded", 1.0),
    ]


def test_what_an_earlier_attempt_did_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of all documents would be far too high."""
    (tmp_path / "text.txt").write_text("".join(f"Guest {n} liked the soup.\n" for n in range(40)), encoding="utf-8")
    collect([tmp_path / "text.txt"], tmp_path / "collect")
    with monkeypatch.context() as patch:
        patch.setattr(
            "pretune.stages.preprocess.steps.Steps.encode", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            preprocess(tmp_path / "collect", tmp_path / "out")
    monkeypatch.setattr(events, "PROGRESS_SECONDS", 0.0)
    preprocess(tmp_path / "collect", tmp_path / "out")
    logged = [event for event in read_events(tmp_path / "out") if event["event"] == "progress"]
    assert [(event["unit"], event["done_before"]) for event in logged] == [
        ("documents cleaned", 40),
        ("documents encoded", 0),
    ]
