"""Is the built-in world rigged? The demo again with other generator seeds and other halves of the polar words.

`python benchmarks/other_worlds.py OUT [--worlds 1:1 2:2]` writes, for each seed:split, corpus, labels and test labels,
gives them to `pretune run` with the demo's settings, and writes what came out on the unseen slice to
results/other-worlds.json. Every run takes about as long as `make demo`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import say, write_result  # beside this file

from pretune.builtin_world.world import FamilySplit, WorldRow, iter_documents, labeled_rows, test_rows
from pretune.runtime.events import read_run

_DEMO = "--minutes 1.5 --finetune-epochs 2 --finetune-learning-rates 1e-3 --seeds 1 --quiet"
_DOCUMENTS = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--worlds", nargs="+", default=["1:1", "2:2"], metavar="SEED:SPLIT")
    given = parser.parse_args()
    results = []
    for world in given.worlds:
        seed, split = map(int, world.split(":"))
        folder = given.out / f"seed-{seed}-split-{split}"
        results.append({"seed": seed, "split": split, **_run(folder, seed, FamilySplit(split))})
        say(json.dumps(results[-1]))
    write_result("other-worlds", {"worlds": results})


def _run(folder: Path, seed: int, split: FamilySplit) -> dict[str, Any]:
    """Accuracy on all test rows and on the unseen slice, by kind of model, and the verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "corpus.jsonl", ({"text": text} for text in iter_documents(_DOCUMENTS, seed)))
    _write(folder / "labels.jsonl", map(_plain, labeled_rows(seed=seed, split=split)))
    _write(folder / "test.jsonl", map(_plain, test_rows(seed=seed, split=split)))
    files = [f"--corpus={folder}/corpus.jsonl", f"--labels={folder}/labels.jsonl", f"--test-labels={folder}/test.jsonl"]
    command = [sys.executable, "-m", "pretune", "run", *files, f"--out={folder}/run", *_DEMO.split()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    comparison = next(event for event in read_run(folder / "run") if event["event"] == "comparison")
    rows = comparison["rows"]
    return {
        "accuracy": {row["kind"]: row["accuracy"] for row in rows},
        "unseen": {row["kind"]: row["slices"]["unseen"]["accuracy"] for row in rows},
        "verdicts": [verdict["sentence"] for verdict in comparison["verdicts"]],
    }


def _plain(row: WorldRow) -> dict[str, str]:
    return {"text": row.text, "label": row.label, "slice": row.slice}


def _write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
