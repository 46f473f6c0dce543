"""Commands given as two processes: short of memory, they leave word to the next attempt, which cuts its batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretune.runtime.artifacts import read_manifest
from pretune.runtime.events import read_events

ROOT = Path(__file__).parents[2]
PRETRAIN = (
    "--size tiny --tokens 2500 --row-tokens 16 --long-row-tokens 32 --tokens-per-step 128 --evaluations 3 "
    "--compile off --optimizer adamw --hang-seconds 6 --quiet"
)


def run_all(plan: list[dict[str, Any]]) -> list[list[tuple[int, str]]]:
    """Each command by so many processes, one command after the other: exit status and stderr of each process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("together.py"))],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env=environment,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[(status, told) for status, told in each] for each in json.loads(done.stdout)]


# Which process is short of memory, and at which pass: after the first checkpoint, and while the pace is measured.
SHORT = {"ddp": (1, 30), "fsdp": (0, 2)}


@pytest.fixture(scope="module")
def short_of_memory(tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with an undisturbed training and with one by each way that was short of memory; and what was said."""
    folder = tmp_path_factory.mktemp("short")
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), "--out"]
    plan: list[dict[str, Any]] = [{"words": [*words, str(folder / "whole")], "size": 2}]
    for mode, (rank, count) in SHORT.items():
        again = {"words": [*words, str(folder / mode), "--parallel", mode], "size": 2}
        plan += [{**again, "end": [rank, "memory", count]}, again]
    undisturbed, *attempts = run_all(plan)
    assert [status for status, _ in undisturbed] == [0, 0], undisturbed
    return folder, {mode: attempts[2 * index : 2 * index + 2] for index, mode in enumerate(SHORT)}


@pytest.mark.parametrize("mode", SHORT)
def test_short_of_memory_all_begin_again_in_smaller_pieces(
    short_of_memory: tuple[Path, dict[str, Any]], mode: str
) -> None:
    folder, attempts = short_of_memory
    (short, again), (rank, _), whole, cut = attempts[mode], SHORT[mode], folder / "whole", folder / mode
    assert [status for status, _ in short] == [75, 75], short
    assert f"The memory of process {rank} of 2 did not hold its part of a step" in short[rank][1]
    assert [status for status, _ in again] == [0, 0], again
    assert read_manifest(cut, "pretrain").summary["pieces"] == 2
    assert [event["pieces"] for event in read_events(cut) if event["event"] == "pieces_doubled"] == [2]
    [*_, last] = sorted((cut / "checkpoints").glob("step-*"))
    assert json.loads((last / "training_state" / "state.json").read_text())["pieces"]["count"] == 2
    one, other = (load_file(each / "checkpoint" / "model.safetensors") for each in (whole, cut))
    for name, tensor in one.items():
        # Twenty updates of Adam later, which divides by what is nearly zero and so enlarges a rounding.
        torch.testing.assert_close(other[name], tensor, atol=1e-3, rtol=0)
    losses = [[event["loss"] for event in read_events(each) if event["event"] == "evaluation"] for each in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_was_committed_before_is_gone_on_from(short_of_memory: tuple[Path, dict[str, Any]]) -> None:
    log = (short_of_memory[0] / "ddp" / "events.jsonl").read_text(encoding="utf-8")
    assert '"event": "resumed"' in log
    assert '"checkpoint": "step-' in log
