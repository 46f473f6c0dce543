"""Weights by the rarity of a class are for tasks with classes; others refuse them before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pretune.errors import UsageError
from pretune.pipeline import dry_run
from pretune.recipe import Recipe
from pretune.settings import FinetuneConfig
from pretune.tasks.registry import TASKS, task_named
from pretune.tasks.task import refuse_class_weights

BALANCED = FinetuneConfig(class_weights="balanced")


@pytest.mark.parametrize("name", list(TASKS))
def test_only_classes_and_entities_have_weights(name: str) -> None:
    for wanted in ("auto", "none"):
        refuse_class_weights(task_named(name), wanted)
    if name in ("classification", "tokens"):
        refuse_class_weights(task_named(name), "balanced")
    else:
        with pytest.raises(UsageError, match=f"these labels are of the task {name};"):
            refuse_class_weights(task_named(name), "balanced")


def test_a_run_refuses_them_before_its_first_stage(tmp_path: Path) -> None:
    """They would have been refused, or done nothing, after an hour of pre-training."""
    rows = [json.dumps({"text": f"A text of number {n}", "label": n / 7}) + "\n" for n in range(100)]
    (tmp_path / "scores.jsonl").write_text("".join(rows), encoding="utf-8")
    recipe = Recipe(labels=str(tmp_path / "scores.jsonl"), out=str(tmp_path / "run"), finetune=BALANCED)
    with pytest.raises(UsageError, match="these labels are of the task regression"):
        dry_run(recipe, print)
    dry_run(replace(recipe, finetune=FinetuneConfig()), print)
    assert not (tmp_path / "run").exists()
