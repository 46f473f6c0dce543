"""A run that is stopped and killed on its way ends with the very weights of one that nobody disturbed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Where each attempt ends, by what, and with which exit code; the last one ends by itself.
ATTEMPTS = [
    ("after checkpoint 1", "SIGINT", 130),
    ("after checkpoint 2", "SIGTERM", 75),
    ("inside update 3", "SIGKILL", -9),
    ("after trial_started 1", "SIGKILL", -9),
    ("after comparison 1", "SIGINT", 130),
    ("", "", 0),
]


def hashes(run: Path) -> dict[str, str]:
    """The weights and the predictions of a run, by hash."""
    files = [
        run / "pretrain" / "checkpoint" / "model.safetensors",
        run / "finetune" / "checkpoint" / "model.safetensors",
        run / "scratch" / "checkpoint" / "model.safetensors",
        *sorted(run.glob("*/predictions/*.jsonl")),
    ]
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_a_disturbed_run_equals_an_undisturbed_one(
    small_run: Path, small_run_words: list[str], tmp_path: Path, run_attempts: Callable[..., Any]
) -> None:
    out = tmp_path / "run"
    plan = [{"words": [*small_run_words, "--out", str(out)], "attempts": [attempt[:2] for attempt in ATTEMPTS]}]
    [found] = run_attempts(plan, seconds=250)
    assert [status for status, *_ in found] == [status for *_, status in ATTEMPTS], found
    for (_, what, _), (_, _, told) in zip(ATTEMPTS, found, strict=True):
        assert "Traceback" not in told
        if what in ("SIGINT", "SIGTERM"):
            assert "the same command" in told.splitlines()[-1]
    assert hashes(out) == hashes(small_run)
    log = (out / "pretrain" / "events.jsonl").read_text(encoding="utf-8")
    assert log.count('"event": "resumed"') == 3
