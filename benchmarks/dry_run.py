"""What `pretrain --dry-run` says beside what then happens: `python benchmarks/dry_run.py PREPROCESSED [--only NAME]`.

Three configurations that differ in size, batch, row length and optimizer, each as whole processes.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import render_table, say, write_result

CONFIGURATIONS = {
    "tiny": "--size tiny --tokens 300000 --initial-embedding random --compile off",
    "micro": "--size micro --tokens 200000 --tokens-per-step 2048 --optimizer adamw --compile off",
    "mini": "--size mini --tokens 100000 --tokens-per-step 4096 --row-tokens 128 --compile off",
}
_EXPECTED = re.compile(r"Expected: ([\d.]+) minutes, ([\d.]+) GB of memory, ([\d.]+) MB of disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("--only", choices=list(CONFIGURATIONS), action="append")
    parser.add_argument("--name", default="dry-run")
    options = parser.parse_args()
    found = [_measure(options.preprocessed, name) for name in options.only or CONFIGURATIONS]
    say(_render(found))
    say(str(write_result(options.name, {"configurations": found}).name))


def _measure(preprocessed: Path, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        words = [sys.executable, "-m", "pretune", "--quiet", "pretrain", str(preprocessed), "--out", str(out)]
        words += CONFIGURATIONS[name].split()
        started = time.monotonic()
        said = subprocess.run([*words, "--dry-run"], check=True, capture_output=True, text=True).stdout
        dry_seconds = time.monotonic() - started
        match = _EXPECTED.search(said)
        if match is None:
            raise RuntimeError(said)
        expected = dict(zip(("minutes", "memory_gb", "disk_mb"), map(float, match.groups()), strict=True))
        started = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = _wait(process)
        if status:
            raise RuntimeError(f"{name} ended with {status}")
        real = {
            "minutes": (time.monotonic() - started) / 60,
            "memory_gb": usage.ru_maxrss * 1024 / 1e9,
            "disk_mb": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6,
        }
    say(f"  {name}: {expected}, then {real}")
    return {
        "name": name,
        "options": CONFIGURATIONS[name],
        "dry_run_seconds": dry_seconds,
        "expected": expected,
        "real": real,
        "ratio": {key: expected[key] / real[key] for key in expected},
    }


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int, resource.struct_rusage]:
    import os

    return os.wait4(process.pid, 0)


def _render(found: list[dict[str, Any]]) -> str:
    rows = [
        [f"{each['name']}: {key}", f"{each['expected'][key]:.2f}", f"{each['real'][key]:.2f}", f"{ratio:.2f}"]
        for each in found
        for key, ratio in each["ratio"].items()
    ]
    return render_table(["configuration", "expected", "real", "ratio"], rows)


if __name__ == "__main__":
    main()
