"""Commands given as two processes: equal to one, whole after an interruption, in pieces where memory is short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest

# In fp32: the weights of twenty updates are compared, and in bf16 their roundings add up to more than a mistake would.
PRETRAIN = (
    "--precision fp32 --size tiny --tokens 2500 --row-tokens 16 --long-row-tokens 32 --tokens-per-step 128 "
    "--evaluations 3 --compile off --optimizer adamw --hang-seconds 6 --quiet"
)
Run = Callable[[list[dict[str, Any]]], list[list[tuple[int, str]]]]
TIMES = ("time", "elapsed_seconds")
FINETUNE = "--epochs 2 --learning-rates 1e-3 --seeds 1 --no-stack --quiet"


# Which process is short of memory, at which pass, and how many processes resume the run.
SHORT = {"resumed by one": (1, 30, 1), "resumed by two": (0, 30, 2)}


@pytest.fixture(scope="module")
def short_of_memory(
    tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path, run_together: Run
) -> tuple[Path, dict[str, Any]]:
    """A folder with an undisturbed training and those that were short of memory; and what was said."""
    folder = tmp_path_factory.mktemp("short")
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), "--out"]
    plan: list[dict[str, Any]] = [{"words": [*words, str(folder / "whole")], "size": 2}]
    for case, (rank, count, size) in SHORT.items():
        command = [*words, str(folder / case)]
        plan += [{"words": command, "size": 2, "end": [rank, "memory", count]}, {"words": command, "size": size}]
    undisturbed, *attempts = run_together(plan)
    assert [status for status, _ in undisturbed] == [0, 0], undisturbed
    return folder, {case: attempts[2 * index : 2 * index + 2] for index, case in enumerate(SHORT)}


@pytest.mark.slow
@pytest.mark.parametrize("case", SHORT)
def test_short_of_memory_all_begin_again_in_smaller_pieces_or_another_number(
    short_of_memory: tuple[Path, dict[str, Any]], case: str
) -> None:
    folder, attempts = short_of_memory
    (short, again), (rank, _, size), whole, cut = attempts[case], SHORT[case], folder / "whole", folder / case
    assert [status for status, _ in short] == [75, 75], short
    assert f"Process {rank} of 2 ran out of memory" in short[rank][1]
    assert [status for status, _ in again] == [0] * size, again
    assert read_manifest(cut, "pretrain").summary["pieces"] == 2
    assert [event["pieces"] for event in read_events(cut) if event["event"] == "pieces_doubled"] == [2]
    [*_, last] = sorted((cut / "checkpoints").glob("step-*"))
    assert json.loads((last / "training_state" / "state.json").read_text())["microbatch_split"]["count"] == 2
    one, other = (load_file(each / "checkpoint" / "model.safetensors") for each in (whole, cut))
    for name, tensor in one.items():
        # Twenty updates of Adam later, which divides by what is nearly zero and so enlarges a rounding.
        torch.testing.assert_close(other[name], tensor, atol=1e-3, rtol=0)
    losses = [[event["loss"] for event in read_events(each) if event["event"] == "evaluation"] for each in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_a_change_of_processes_is_said(short_of_memory: tuple[Path, dict[str, Any]]) -> None:
    log = (short_of_memory[0] / "resumed by one" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in log]
    [resumed] = [event for event in events if event["event"] == "resumed"]
    assert resumed["checkpoint"].startswith("step-")
    [warning] = [event["sentence"] for event in events if event["event"] == "warning"]
    assert "processes 2 (now 1)" in warning


@pytest.mark.slow
def test_two_processes_go_on_from_a_base_as_one_does(
    tmp_path: Path, preprocessed_folder: Path, run_folder: Path, run_together: Run
) -> None:
    settings = PRETRAIN.replace("--size tiny ", "").split()
    words = ["pretrain", str(preprocessed_folder), "--from", str(run_folder), *settings, "--out"]
    one, killed, again, two = run_together(
        [
            {"words": [*words, str(tmp_path / "one")], "size": 1},
            {"words": [*words, str(tmp_path / "killed")], "size": 2, "end": [1, "kill", 25]},
            {"words": [*words, str(tmp_path / "killed")], "size": 2},
            {"words": [*words, str(tmp_path / "two")], "size": 2},
        ]
    )
    assert [status for status, _ in one + again + two] == [0] * 5, one + again + two
    assert [status for status, _ in killed] == [75, -9], killed
    rows = [
        [event["loss"] for event in read_events(tmp_path / name) if event["event"] == "evaluation"]
        for name in ("one", "two", "killed")
    ]
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)
    assert rows[2] == rows[1]
    weights = [(tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("two", "killed")]
    assert weights[0] == weights[1]
    assert read_manifest(tmp_path / "two").summary["base"]["path"] == str(run_folder)


@pytest.mark.slow
def test_two_processes_train_a_hybrid_of_a_base_as_one_does(
    tmp_path: Path, preprocessed_folder: Path, run_folder: Path, run_together: Run
) -> None:
    settings = PRETRAIN.replace("--size tiny ", "").split()
    words = ["pretrain", str(preprocessed_folder), "--from", str(run_folder), *settings, "--objective", "hybrid"]
    one, killed, again, two = run_together(
        [
            {"words": [*words, "--out", str(tmp_path / "one")], "size": 1},
            {"words": [*words, "--out", str(tmp_path / "killed")], "size": 2, "end": [1, "kill", 25]},
            {"words": [*words, "--out", str(tmp_path / "killed")], "size": 2},
            {"words": [*words, "--out", str(tmp_path / "two")], "size": 2},
        ]
    )
    assert [status for status, _ in one + again + two] == [0] * 5, one + again + two
    assert [status for status, _ in killed] == [75, -9], killed
    rows = [
        [e for e in read_events(tmp_path / name) if e["event"] == "evaluation"] for name in ("one", "two", "killed")
    ]
    losses = [[(row["loss"], row["causal"]["loss"], row["weighted_loss"]) for row in each] for each in rows]
    for alone, shared in zip(losses[0], losses[1], strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
    assert losses[2] == losses[1]
    assert rows[1][-1]["weighted_train_loss"] == pytest.approx(rows[0][-1]["weighted_train_loss"], rel=1e-5)
    assert rows[2][-1]["weighted_train_loss"] == rows[1][-1]["weighted_train_loss"]
    weights = [(tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("two", "killed")]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def finetunings(
    tmp_path_factory: pytest.TempPathFactory, run_folder: Path, prepared_folder: Path, run_together: Run
) -> Path:
    """A folder with a fine-tuning by one process and by two, both in fp32; and with one by two and one by two of which
    one was killed on the way, both in the precision that the chip chooses."""
    folder = tmp_path_factory.mktemp("finetune")
    num_rows = read_manifest(prepared_folder, "prepare").summary["train"]
    batch_size = next(size for size in range(16, 100) if num_rows % size == 1)  # one is left
    words = ["finetune", str(run_folder / "pretrain"), str(prepared_folder), *FINETUNE.split()]
    words += ["--batch-size", str(batch_size), "--out"]
    # A rounding grows to some per cent in so many updates in bf16; training/test_parallel.py compares single ones.
    in_fp32 = ["--precision", "fp32"]
    one, two, whole, killed, again = run_together(
        [
            {"words": [*words, str(folder / "one"), *in_fp32], "size": 1},
            {"words": [*words, str(folder / "two"), *in_fp32], "size": 2},
            {"words": [*words, str(folder / "whole")], "size": 2},
            {"words": [*words, str(folder / "killed")], "size": 2, "end": [1, "kill", num_rows // batch_size + 3]},
            {"words": [*words, str(folder / "killed")], "size": 2},
        ]
    )
    assert [status for status, _ in one + two + whole + again] == [0] * 7, one + two + whole + again
    assert [status for status, _ in killed] == [75, -9], killed
    return folder


@pytest.mark.slow
@pytest.mark.precision
def test_two_processes_finetune_as_one_does(finetunings: Path) -> None:
    one, two = finetunings / "one", finetunings / "two"
    wanted = ("evaluation", "test", "example")
    found = [[event for event in read_events(folder) if event["event"] in wanted] for folder in (one, two)]
    assert len(found[0]) == 4
    for alone, shared in zip(*found, strict=True):
        assert alone.keys() == shared.keys()
        figures = {name: value for name, value in alone.items() if isinstance(value, float) and name not in TIMES}
        assert {name: shared[name] for name in figures} == pytest.approx(figures, rel=1e-5)
        assert (alone.get("tokens"), alone.get("step")) == (shared.get("tokens"), shared.get("step"))
    weights = [load_file(folder / "checkpoint" / "model.safetensors") for folder in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.precision
def test_a_finetuning_by_two_that_lost_one_ends_as_an_undisturbed_one(finetunings: Path) -> None:
    for name in ("checkpoint/model.safetensors", "predictions/seed-0.jsonl"):
        assert (finetunings / "killed" / name).read_bytes() == (finetunings / "whole" / name).read_bytes()
    assert '"event": "resumed"' in (finetunings / "killed" / "events.jsonl").read_text(encoding="utf-8")
