"""The commands of docs/guide/continued-pretraining.md do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.run_trace.training import read_phase
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "continued-pretraining.md"
SMALL = "--tokens 40000 --tokens-per-step 1024 --compile off --evaluations 2"


@pytest.mark.slow
def test_the_three_commands_go_on_from_a_run(
    tmp_path: Path, small_run: Path, small_world: Path, start_pretune: Callable[..., subprocess.Popen[str]]
) -> None:
    [commands, _] = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "reviews").symlink_to(small_run)
    shutil.copyfile(small_world / "reviews.txt", tmp_path / "notes.txt")
    for line in commands.splitlines():
        words = line.removeprefix("pretune ").split()
        process = start_pretune(*words, *(SMALL.split() if words[0] == "pretrain" else []), cwd=tmp_path)
        _, told = process.communicate(timeout=250)
        assert process.returncode == 0, told
    phase, before = (
        read_phase(read_events(f), "pretrain") for f in (tmp_path / "work/pretrain", small_run / "pretrain")
    )
    assert phase is not None
    assert before is not None
    assert phase.evaluations[0].loss < before.evaluations[0].loss - 1
    assert phase.evaluations[-1].loss < phase.evaluations[0].loss
    assert read_manifest(tmp_path / "work" / "pretrain").summary["base"]["path"] == "runs/reviews"
