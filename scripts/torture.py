"""Kill a training run at random moments, resume it, and check that its result does not change.

`python scripts/torture.py --kills 50 pretrain work/preprocess --tokens 200000`, or with `finetune PRETRAINED PREPARED`
and its options. First come uninterrupted runs, which must all write the same bytes. Then come runs that are killed and
resumed until they finish, which must write the same bytes again: weights, predictions, and the optimizer of the last
checkpoint (of every trial). The kills alternate: at any moment, some of them by SIGTERM or Ctrl-C; and by SIGKILL
during a save, during an evaluation, and at the end of an epoch before it is saved. `--report NAME` writes
benchmarks/results/NAME.json. Exits with 1 if a result differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
_PLACES = ("any moment", "save", "evaluation", "any moment", "save", "epoch")
_INSIDE = ("evaluation", "epoch")  # places that the process detects itself
_POLL_SECONDS = 0.002
_GENTLE_FRACTION = 0.4  # of the kills at any moment: by a signal that lets the command save first
_RESUMABLE = {signal.SIGKILL: -9, signal.SIGTERM: 75, signal.SIGINT: 130}
_MOST_IDLE_RUNS = 5  # give up after so many runs in a row that finished before they could be killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="number of uninterrupted runs (default: 3)")
    parser.add_argument("--kills", type=int, default=20, help="total number of kills (default: 20)")
    parser.add_argument("--kills-per-run", type=int, default=3, help="kills before a run may finish (default: 3)")
    parser.add_argument("--torture-seed", type=int, default=0, help="seed for the moments (default: 0)")
    parser.add_argument("--report", help="name of a result file to write")
    given, words = parser.parse_known_args()
    if not words:
        parser.error("name a training: pretrain PREPROCESSED or finetune PRETRAINED PREPARED, with its options")
    words = [*words, "--quiet"]
    rng = random.Random(given.torture_seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = _run_whole(words, Path(folder), given.runs)
        killed = _run_killed(words, Path(folder), given.kills, given.kills_per_run, rng, seconds)
        compute = _compute_of(Path(folder) / "whole-0")
    hashes = {run["sha256"] for run in [*whole, *killed]}
    ends = [end for run in killed for end in run["ends"]]
    is_identical = len(hashes) == 1 and all(end["is_as_expected"] for end in ends)
    by_place = dict(Counter(f"{end['signal']} at {end['place']}" for end in ends))
    _print(f"{len(whole)} uninterrupted runs, {len(killed)} runs killed {len(ends)} times: {by_place}")
    _print(f"{len(hashes)} different results")
    if given.report:
        sys.path.append(str(BENCHMARKS))
        from machine import write_result

        fields = {
            "is_identical": is_identical,
            "num_kills": len(ends),
            "kills": by_place,
            "compute": compute,
            "uninterrupted": whole,
            "killed": killed,
        }
        _print(str(write_result(given.report, fields)))
    sys.exit(0 if is_identical else 1)


def _run_whole(words: list[str], folder: Path, count: int) -> tuple[list[dict[str, Any]], float]:
    """The results of uninterrupted runs, and the seconds of the last one."""
    found, seconds = [], 0.0
    for number in range(count):
        start = time.monotonic()
        sha256 = _finish(words, folder / f"whole-{number}")
        seconds = time.monotonic() - start
        found.append({"sha256": sha256, "seconds": round(seconds, 1)})
        _print(f"uninterrupted {number + 1}: {sha256[:16]}  {seconds:.1f} s")
    return found, seconds


def _run_killed(
    words: list[str], folder: Path, kills: int, kills_per_run: int, rng: random.Random, seconds: float
) -> list[dict[str, Any]]:
    """The results of runs that are killed a few times each, `kills` times in total, and then finished."""
    found: list[dict[str, Any]] = []
    num_kills = num_idle = 0
    while num_kills < kills and num_idle < _MOST_IDLE_RUNS:
        out, ends = folder / f"killed-{len(found)}", list[dict[str, Any]]()
        for _ in range(min(kills_per_run, kills - num_kills)):
            end = _end(words, out, rng, seconds, _PLACES[(num_kills + len(ends)) % len(_PLACES)])
            if end is None:
                break
            ends.append(end)
        num_kills += len(ends)
        num_idle = 0 if ends else num_idle + 1
        found.append({"sha256": _finish(words, out), "resumed_from": _resumes(out), "ends": ends})
        kinds = ", ".join(f"{end['signal']} at {end['place']} after {end['seconds']} s" for end in ends)
        _print(f"{num_kills} of {kills}: {kinds or 'finished before a kill'}; resumed: {found[-1]['sha256'][:16]}")
    return found


def _finish(words: list[str], out: Path) -> str:
    subprocess.run(_attempt(words, out), check=True, stdout=subprocess.DEVNULL)
    return _hash(out)


def _hash(out: Path) -> str:
    """One hash of the weights, the predictions, and the optimizer of the last checkpoint of every trial."""
    files = [out / "checkpoint" / "model.safetensors", *sorted((out / "predictions").glob("*.jsonl"))]
    states = sorted((out / "checkpoints").rglob("step-*/training_state/optimizer.safetensors"))
    last = {state.parents[2]: state for state in states}
    assert last, f"{out} has no optimizer to compare"
    total = hashlib.sha256()
    for file in [*files, *last.values()]:
        total.update(file.read_bytes())
    return total.hexdigest()


def _resumes(out: Path) -> list[str]:
    """The step from which each attempt resumed, from the log; a repeated step is a checkpoint that was used twice."""
    events = [
        json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").split("\n") if line[-1:] == "}"
    ]
    resumed = [event for event in events if event["event"] == "resumed"]
    return [
        f"trial {event['trial']}, step {event['from_step']}" if "trial" in event else f"step {event['from_step']}"
        for event in resumed
    ]


def _compute_of(out: Path) -> dict[str, Any]:
    """The hardware and precision of a run, from its last checkpoint."""
    state = sorted((out / "checkpoints").rglob("step-*/training_state/state.json"))[-1]
    return dict(json.loads(state.read_text(encoding="utf-8"))["compute"])


# -- one attempt -----------------------------------------------------------------------------------------------------


def _end(words: list[str], out: Path, rng: random.Random, seconds: float, place: str) -> dict[str, Any] | None:
    """Start or resume the run and kill it at the first such place after a random time; None if it finished first."""
    number = signal.SIGKILL
    if place == "any moment" and rng.random() < _GENTLE_FRACTION:
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
    start, delay = time.monotonic(), rng.uniform(0.1, 0.7) * seconds
    if place == "epoch":
        delay = 0.0  # there are few, so use the next one
    command = _attempt(words, out, place if place in _INSIDE else "", delay)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        is_there = place == "any moment" or (place == "save" and _is_saving(out / "checkpoints"))
        if is_there and time.monotonic() - start > delay:
            process.send_signal(number)
            process.wait()
        time.sleep(_POLL_SECONDS)
    status = process.returncode
    if status == 0:
        return None
    # Before training begins, a signal ends the command with Python's own exit code.
    is_as_expected = status in (_RESUMABLE[number], -number)
    took = round(time.monotonic() - start, 1)
    return {"signal": number.name, "place": place, "seconds": took, "status": status, "is_as_expected": is_as_expected}


def _is_saving(checkpoints: Path) -> bool:
    """Whether a checkpoint is being written; folders may disappear during the search."""
    return any(name.endswith(".partial") for _, names, _ in os.walk(checkpoints) for name in names)


def _attempt(words: list[str], out: Path, place: str = "", after: float = 0.0) -> list[str]:
    """The command line of one attempt, which kills itself at the first such place after so many seconds."""
    return [sys.executable, __file__, "--attempt", place, str(after), *words, "--out", str(out)]


def _run_attempt(place: str, after: float, words: list[str]) -> int:
    """Run the command in this process, but keep the checkpoints of trials, so that optimizers can be compared."""
    start = time.monotonic()
    from pretune.cli.main import run_command_line  # first: it sets how idle threads wait

    # isort: split
    import torch

    from pretune.runtime import atomic
    from pretune.stages.finetune import stage as finetune
    from pretune.training import finetuning_trial, objective, pretraining_run

    def end(is_there: bool) -> None:
        if is_there and time.monotonic() - start > after:
            os.kill(os.getpid(), signal.SIGKILL)

    epochs: list[int] = []  # at each step

    def is_new_epoch(run: pretraining_run.PretrainingRun) -> bool:
        epochs.append(int(run.state.tokens / run.corpus.tokens_per_epoch))
        return epochs[-1] != epochs[-2:][0]

    if place == "evaluation":
        _then(objective.TokenObjective, "__call__", lambda _: end(not torch.is_grad_enabled()))
        _then(objective.ClassificationObjective, "logits", lambda _: end(not torch.is_grad_enabled()))
    elif place == "epoch":
        _then(pretraining_run.PretrainingRun, "_count", lambda run: end(is_new_epoch(run)))
        _then(finetuning_trial.FinetuningTrial, "_evaluate", lambda _: end(True))
    finetune.remove_folder = lambda path: None if path.name == "checkpoints" else atomic.remove_folder(path)
    sys.argv = ["pretune", *words]
    return run_command_line(words)


def _then(owner: type, name: str, then: Callable[[Any], None]) -> None:
    """Call `then` with the object after each call of one of its methods."""
    original = getattr(owner, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        then(self)
        return result

    setattr(owner, name, call)


def _print(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attempt"]:
        sys.exit(_run_attempt(sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
    main()
