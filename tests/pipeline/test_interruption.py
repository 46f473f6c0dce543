"""A run that is stopped and killed on its way ends with the very weights of one that nobody disturbed."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Start = Callable[..., subprocess.Popen[str]]


def events(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of a stage's log, whatever attempt wrote them."""
    path = folder / "events.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def wait_for(process: subprocess.Popen[str], folder: Path, kind: str, count: int) -> None:
    """Wait until so many events of a kind are in a log."""
    for _ in range(6000):
        if sum(event["event"] == kind for event in events(folder)) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"no {count} events {kind} in {folder}")


def hashes(run: Path) -> dict[str, str]:
    """The weights and the predictions of a run, by hash."""
    files = [
        run / "pretrain" / "checkpoint" / "model.safetensors",
        run / "finetune" / "checkpoint" / "model.safetensors",
        run / "scratch" / "checkpoint" / "model.safetensors",
        *sorted(run.glob("*/predictions/*.jsonl")),
    ]
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_disturbed_run_equals_an_undisturbed_one(
    small_run: Path, small_run_words: list[str], start_pretune: Start, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = [*small_run_words, "--out", str(out)]

    process = start_pretune(*words)
    wait_for(process, out / "pretrain", "checkpoint", 1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "give the same command again" in told.splitlines()[-1]
    assert "Traceback" not in told

    process = start_pretune(*words)
    wait_for(process, out / "pretrain", "resumed", 1)
    seen = sum(event["event"] == "checkpoint" for event in events(out / "pretrain"))
    wait_for(process, out / "pretrain", "checkpoint", seen + 1)
    process.kill()
    process.communicate(timeout=60)

    process = start_pretune(*words)
    wait_for(process, out / "finetune", "stage_started", 1)
    process.kill()
    process.communicate(timeout=60)

    process = start_pretune(*words)
    _, told = process.communicate(timeout=250)
    assert process.returncode == 0, told
    assert hashes(out) == hashes(small_run)


def test_sigterm_has_an_exit_code_of_its_own(small_run_words: list[str], start_pretune: Start, tmp_path: Path) -> None:
    process = start_pretune(*small_run_words, "--out", str(tmp_path / "run"))
    wait_for(process, tmp_path / "run" / "pretrain", "checkpoint", 1)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert "Traceback" not in told
