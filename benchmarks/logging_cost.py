"""What the log costs a training: `python benchmarks/logging_cost.py NAME`.

Compares the time spent in `EventLog.write` with that of the whole stage, in a short pre-training and fine-tuning on the
built-in corpus, without a display. A stage this short logs more for each second than a longer one: the number of
evaluations does not depend on the length of a run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import RESULTS, chip, git

from pretune import pipeline
from pretune.recipe import Recipe
from pretune.runtime.events import EventLog, read_events
from pretune.version import VERSION

TOKENS, DOCUMENTS = 1_000_000, 20_000
STAGES = ("pretrain", "finetune")


def main() -> None:
    result = {
        "name": sys.argv[1],
        "version": VERSION,
        "commit": git("rev-parse", "HEAD"),
        "machine": {"chip": chip(), "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "stages": measure(),
    }
    path = RESULTS / f"{sys.argv[1]}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def measure() -> list[dict[str, Any]]:
    """For each stage: events, seconds in the log, seconds of the stage, and their ratio."""
    spent: dict[str, list[float]] = {}
    plain_write = EventLog.write

    def timed_write(log: EventLog, event: str, **fields: Any) -> None:
        start = time.perf_counter()
        try:
            plain_write(log, event, **fields)
        finally:
            spent.setdefault(log.stage, []).append(time.perf_counter() - start)

    EventLog.write = timed_write  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            pipeline.run(_recipe(run), report=False)
            return [_row(run / stage, stage, spent[stage]) for stage in STAGES]
    finally:
        EventLog.write = plain_write  # type: ignore[method-assign]


def _recipe(run: Path) -> Recipe:
    """A run on the built-in corpus: one learning rate and one seed, without the control."""
    plain = Recipe()
    return replace(
        plain,
        out=str(run),
        control=False,
        collect=replace(plain.collect, builtin_documents=DOCUMENTS),
        pretrain=replace(plain.pretrain, size="tiny", tokens=TOKENS),
        finetune=replace(plain.finetune, epochs=1, seeds=1, learning_rates=(1e-3,)),
    )


def _row(folder: Path, stage: str, seconds: list[float]) -> dict[str, Any]:
    (finished,) = [event for event in read_events(folder) if event["event"] == "stage_finished"]
    return {
        "stage": stage,
        "events": len(seconds),
        "log_seconds": round(sum(seconds), 4),
        "slowest_event_seconds": round(max(seconds), 5),
        "stage_seconds": round(finished["seconds"], 2),
        "fraction": float(f"{sum(seconds) / finished['seconds']:.2g}"),
    }


if __name__ == "__main__":
    main()
