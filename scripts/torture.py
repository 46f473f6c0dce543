"""Kill pre-training at random moments and show that it ends as if nobody had: `python scripts/torture.py PREPROCESSED`.

First some uninterrupted runs, which must give identical weights; then runs that are killed (SIGKILL) at random moments,
every other one inside a save, and resumed until they are done, which must give the same weights again. Exits with 1
where one differs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pretune.runtime.artifacts import hash_file

_POLL_SECONDS = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("--runs", type=int, default=3, help="uninterrupted runs")
    parser.add_argument("--killed-runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=2, help="kills in each of them")
    parser.add_argument("--seed", type=int, default=0)
    given, options = parser.parse_known_args()
    command = [
        *(sys.executable, "-m", "pretune", "pretrain", str(given.preprocessed), "--quiet"),
        *(options or ["--tokens", "600000", "--compile", "on", "--checkpoint-minutes", "0.03"]),
    ]
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        hashes, seconds = [], 0.0
        for number in range(given.runs):
            start = time.monotonic()
            hashes.append(_finish(command, Path(folder) / f"whole-{number}"))
            seconds = time.monotonic() - start
            _say(f"uninterrupted {number + 1}: {hashes[-1][:16]}  {seconds:.1f} s")
        for number in range(given.killed_runs):
            out = Path(folder) / f"killed-{number}"
            moments = [_kill(command, out, rng, seconds, in_save=(number + i) % 2 == 1) for i in range(given.kills)]
            hashes.append(_finish(command, out))
            _say(f"killed {', '.join(moments)}, resumed: {hashes[-1][:16]}")
    same = len(set(hashes)) == 1
    _say(f"{len(hashes)} runs, {'all identical' if same else f'{len(set(hashes))} different results'}")
    sys.exit(0 if same else 1)


def _finish(command: list[str], out: Path) -> str:
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return hash_file(out / "checkpoint" / "model.safetensors")


def _kill(command: list[str], out: Path, rng: random.Random, seconds: float, *, in_save: bool) -> str:
    """Start or resume the run and kill it: after a random time, or as soon as a save after that time is under way."""
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    start, delay = time.monotonic(), rng.uniform(0.2, 0.9) * seconds
    while process.poll() is None:
        is_late = time.monotonic() - start > delay
        if is_late and (not in_save or any((out / "checkpoints").glob(".*.partial"))):
            process.kill()
            process.wait()
            return f"after {time.monotonic() - start:.1f} s" + (" inside a save" if in_save else "")
        time.sleep(_POLL_SECONDS)
    return "not at all (it was done before)"


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
