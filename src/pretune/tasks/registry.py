"""The tasks by name."""

from __future__ import annotations

from pathlib import Path

from pretune.errors import CorruptModelError
from pretune.tasks.classification import Classification
from pretune.tasks.task import Task
from pretune.text.labels.label_rules import Columns

TASKS: dict[str, Task] = {task.name: task for task in (Classification(),)}


def task_named(name: str) -> Task:
    """The task with this name, as in `labels.json`. Raises CorruptModelError if there is none."""
    if name not in TASKS:
        raise CorruptModelError(f"The task {name!r} is unknown; expected one of {', '.join(TASKS)}. Update pretune.")
    return TASKS[name]


def find_task(wanted: str, path: Path, columns: Columns) -> Task:  # noqa: ARG001
    """The task of a labelled file: the wanted one, or for "auto" the one that its columns and labels show."""
    return TASKS["classification" if wanted == "auto" else wanted]
