"""Throughput with one core taken by another process, beside that of the quiet machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from contenders import Contender, rounds
from machine import median, render_table, say

_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # it ends with who started it
_SIZE = "5M"
WAYS = {
    "two threads, sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "two threads, spinning": {"OMP_WAIT_POLICY": "ACTIVE"},
    "one thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}


def measure(folder: Path, *, repeats: int, seconds: float) -> dict[str, Any]:
    """Ours with threads that wait asleep (the product's default) or spinning, and with one thread; first quiet, then
    beside a process that never rests. Run it at ordinary priority: under real-time scheduling a thread that waits for
    its turn does so for a whole slice."""
    spec = {"task": "pretrain", "folder": str(folder), "size": _SIZE, "row_tokens": 64, "tokens_per_step": 4096}
    contenders = []
    for name, environment in WAYS.items():
        say(f"  starting {name}")
        contenders.append(Contender(name, "ours.py", {**spec, "compile": "off"}, environment))
    for _ in rounds(contenders, repeats, seconds):
        pass
    neighbour = subprocess.Popen([sys.executable, "-c", _BUSY])
    try:
        time.sleep(1)
        for _ in rounds(contenders, repeats, seconds):
            pass
    finally:
        neighbour.kill()
        neighbour.wait()
    for contender in contenders:
        contender.stop()
    return {
        "size": _SIZE,
        "ways": [
            {
                "name": contender.name,
                "quiet": _rate(contender.turns[:repeats]),
                "beside_a_neighbour": _rate(contender.turns[repeats:]),
            }
            for contender in contenders
        ],
    }


def _rate(turns: list[dict[str, Any]]) -> float:
    return median([turn["tokens"] / turn["seconds"] for turn in turns])


def render(result: dict[str, Any]) -> str:
    """Tokens per second of each way, quiet and not."""
    rows = [
        [
            way["name"],
            f"{way['quiet']:,.0f}",
            f"{way['beside_a_neighbour']:,.0f}",
            f"{way['beside_a_neighbour'] / way['quiet']:.0%}",
        ]
        for way in result["ways"]
    ]
    title = f"Pre-training of {result['size']} uncompiled, tokens per second, one core taken by another process\n"
    return title + render_table(["threads", "quiet", "with a neighbour", "kept"], rows)
