"""The files in a stage's folder of predictions for the test rows: their names, and their lines.

A fine-tuning has one file for each seed, one for the mean of the seeds' weights if that is delivered or labelled the
corpus, and one for the network with linear models stacked on it, if there are some. If a student that learned from the
corpus is delivered, it has a file, and so has its teacher. A comparison has one file for each baseline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretune.runtime.atomic import write_text

PREDICTIONS = "predictions"
SEED_PREDICTIONS = "seed-*.jsonl"  # a pattern
AVERAGED_PREDICTIONS = "averaged.jsonl"
STACK_PREDICTIONS = "stack.jsonl"
STUDENT_PREDICTIONS = "student.jsonl"
TEACHER_PREDICTIONS = "teacher.jsonl"


def seed_predictions(seed: int) -> str:
    """The name of the file of a seed."""
    return SEED_PREDICTIONS.replace("*", str(seed))


def write_predictions(
    path: Path, rows: Sequence[Mapping[str, Any]], fields_of: Callable[[int], dict[str, Any]]
) -> None:
    """Write a JSON line for each row: its label, and the fields of its prediction."""
    lines = []
    for index, row in enumerate(rows):
        fields = {"row": row["row"], "label": row["label"], **fields_of(index)}
        fields |= {name: row[name] for name in ("part", "slice") if name in row}
        lines.append(json.dumps(fields) + "\n")
    write_text(path, "".join(lines))
