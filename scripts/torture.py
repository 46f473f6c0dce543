"""Kill a training at random moments and show that it ends as if nobody had.

`python scripts/torture.py --kills 50 pretrain work/preprocess --tokens 200000`, or with `finetune PRETRAINED PREPARED`
and its options. First some uninterrupted runs, which must give the same bytes; then runs that are ended again and again
(by SIGKILL, every other one inside a save, and now and then by SIGTERM or Ctrl-C) and resumed until they are done. That
must give the same bytes again: weights, predictions, and the state of the optimizer where it is kept. `--report NAME`
writes benchmarks/results/NAME.json. Exits with 1 where one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
_POLL_SECONDS = 0.002
_GENTLE_SHARE = 0.2  # of the ends: by a signal that lets the command save first
_RESUMABLE = {signal.SIGKILL: -9, signal.SIGTERM: 75, signal.SIGINT: 130}
_MOST_IDLE_RUNS = 5  # that are done before they could be ended, one after the other: too short to be tortured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="uninterrupted runs (default: 3)")
    parser.add_argument("--kills", type=int, default=20, help="kills in all (default: 20)")
    parser.add_argument("--kills-per-run", type=int, default=3, help="before a run may end (default: 3)")
    parser.add_argument("--torture-seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--report", help="the name of a result to write")
    given, words = parser.parse_known_args()
    if not words:
        parser.error("name a training: pretrain PREPROCESSED or finetune PRETRAINED PREPARED, with its options")
    command = [sys.executable, "-m", "pretune", *words, "--quiet"]
    rng = random.Random(given.torture_seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = _run_whole(command, Path(folder), given.runs)
        killed = _run_killed(command, Path(folder), given.kills, given.kills_per_run, rng, seconds)
    hashes = {run["sha256"] for run in [*whole, *killed]}
    is_identical = len(hashes) == 1 and all(end["is_as_expected"] for run in killed for end in run["ends"])
    num_kills = sum(len(run["ends"]) for run in killed)
    _say(
        f"{len(whole)} uninterrupted runs, {len(killed)} runs ended {num_kills} times: {len(hashes)} different results"
    )
    if given.report:
        sys.path.append(str(BENCHMARKS))
        from machine import write_result

        fields = {"is_identical": is_identical, "num_kills": num_kills, "uninterrupted": whole, "killed": killed}
        _say(str(write_result(given.report, fields)))
    sys.exit(0 if is_identical else 1)


def _run_whole(command: list[str], folder: Path, count: int) -> tuple[list[dict[str, Any]], float]:
    """The results of uninterrupted runs, and the seconds of the last."""
    found, seconds = [], 0.0
    for number in range(count):
        start = time.monotonic()
        sha256 = _finish(command, folder / f"whole-{number}")
        seconds = time.monotonic() - start
        found.append({"sha256": sha256, "seconds": round(seconds, 1)})
        _say(f"uninterrupted {number + 1}: {sha256[:16]}  {seconds:.1f} s")
    return found, seconds


def _run_killed(
    command: list[str], folder: Path, kills: int, kills_per_run: int, rng: random.Random, seconds: float
) -> list[dict[str, Any]]:
    """Runs that are ended so many times in all, a few times each, and then finished."""
    found: list[dict[str, Any]] = []
    num_kills = num_idle = 0
    while num_kills < kills and num_idle < _MOST_IDLE_RUNS:
        out, ends = folder / f"killed-{len(found)}", list[dict[str, Any]]()
        for _ in range(min(kills_per_run, kills - num_kills)):
            end = _end(command, out, rng, seconds, in_save=(num_kills + len(ends)) % 2 == 1)
            if end is None:
                break
            ends.append(end)
        num_kills += len(ends)
        num_idle = 0 if ends else num_idle + 1
        found.append({"sha256": _finish(command, out), "ends": ends})
        told = ", ".join(f"{end['signal']} after {end['seconds']} s{' in a save' * end['in_save']}" for end in ends)
        _say(f"{num_kills} of {kills}: {told or 'done before it could be ended'}; resumed: {found[-1]['sha256'][:16]}")
    return found


def _finish(command: list[str], out: Path) -> str:
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return _hash(out)


def _hash(out: Path) -> str:
    """One hash of the weights, the predictions, and the optimizer of the last checkpoint."""
    files = [out / "checkpoint" / "model.safetensors", *sorted((out / "predictions").glob("*.jsonl"))]
    files += sorted((out / "checkpoints").glob("step-*/training_state/optimizer.safetensors"))[-1:]
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def _end(command: list[str], out: Path, rng: random.Random, seconds: float, *, in_save: bool) -> dict[str, Any] | None:
    """Start or resume the run and end it: after a random time, or as soon as a save after that time is under way."""
    number = signal.SIGKILL
    if not in_save and rng.random() < _GENTLE_SHARE:
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start, delay = time.monotonic(), rng.uniform(0.1, 0.7) * seconds
    while process.poll() is None:
        is_late = time.monotonic() - start > delay
        if is_late and (not in_save or any((out / "checkpoints").rglob(".*.partial"))):
            process.send_signal(number)
            took = round(time.monotonic() - start, 1)
            status = process.wait()
            # A signal that comes before training begins ends the command as Python does.
            is_as_expected = status in (_RESUMABLE[number], -number)
            return {
                "signal": number.name,
                "seconds": took,
                "in_save": in_save,
                "status": status,
                "is_as_expected": is_as_expected or status == 0,
            }
        time.sleep(_POLL_SECONDS)
    return None


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
