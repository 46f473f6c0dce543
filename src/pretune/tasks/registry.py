"""The tasks by name."""

from __future__ import annotations

from pretune.errors import CorruptModelError
from pretune.tasks.classification import Classification
from pretune.tasks.multilabel import Multilabel
from pretune.tasks.regression import Regression
from pretune.tasks.task import Task
from pretune.tasks.tokens import Tokens

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), Multilabel(), Regression(), Tokens())}


def task_named(name: str) -> Task:
    """The task with this name, as in `labels.json`. Raises CorruptModelError if there is none."""
    if name not in TASKS:
        raise CorruptModelError(f"The task {name!r} is unknown; expected one of {', '.join(TASKS)}. Update pretune.")
    return TASKS[name]
