"""What feeding the trainer costs: the share of a training step that goes by while its batches are made, as JSON.

python benchmarks/feeding.py NAME PREPROCESSED [--steps N]

A batch is made on the thread that trains: rows are gathered from the token shard, masks are drawn. So the share is what
a worker that made batches ahead could save at most.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from machine import median, render_table, write_result  # beside this file
from profile_step import Step, time_parts

SETTINGS = (("tiny", 64, 4096), ("micro", 64, 4096), ("mini", 64, 4096), ("mini", 512, 4096))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    rows = [measure(given.folder, *setting, steps=given.steps) for setting in SETTINGS]
    write_result(given.name, {"steps": given.steps, "feeding": rows})
    shown = [[str(row[name]) for name in rows[0]] for row in rows]
    sys.stdout.write(render_table(list(rows[0]), shown) + "\n")


def measure(folder: Path, size: str, row_tokens: int, tokens_per_step: int, *, steps: int) -> dict[str, Any]:
    """Medians over some steps, after two that are not counted; eager, in the precision that the chip is best at."""
    step = Step(folder, size, row_tokens, tokens_per_step, compiled=False)
    for _ in range(2):
        step.run()
    parts = time_parts(step, steps)
    alone = []
    for _ in range(5 * steps):
        start = time.perf_counter()
        step.feed()
        alone.append(time.perf_counter() - start)
    return {
        "size": size,
        "row_tokens": row_tokens,
        "tokens_per_step": tokens_per_step,
        "step_milliseconds": round(parts["step"], 2),
        "feed_milliseconds": round(parts["feed"], 3),
        "feed_share": round(parts["feed"] / parts["step"], 5),
        "feed_tokens_per_second": round(tokens_per_step / median(alone)),
    }


if __name__ == "__main__":
    main()
