"""What a run does in its folder beside its stages: the recipe, and a control that is no longer wanted."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune import pipeline
from pretune.recipe import Recipe, override
from pretune.runtime.manifest import Manifest
from pretune.runtime.stage_folder import open_stage
from pretune.settings import to_dict


def stage_module(monkeypatch: pytest.MonkeyPatch, path: str, name: str, function: Callable[..., Any]) -> None:
    module = types.ModuleType(path)
    setattr(module, name, function)
    monkeypatch.setitem(sys.modules, path, module)


def test_a_control_that_is_not_wanted_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --without-control and --redo, the control of the old settings was trained with the new ones."""
    trained, compared = list[str](), list[bool]()

    def finetune(_pretrained: Path, _prepared: Path, out: Path, config: Any, *, redo: bool, alone: bool) -> Manifest:
        assert alone
        folder = open_stage(out, out.name, config=to_dict(config), inputs={}, redo=redo)
        if not folder.is_finished:
            trained.append(out.name)
            folder.finish()
        return folder.manifest

    def compare(_finetuned: Path, control: Path | None, _prepared: Path, _out: Path, **_more: Any) -> Manifest:
        compared.append(control is not None)
        return Manifest(stage="compare", status="finished", version="", config={}, inputs={})

    stage_module(monkeypatch, "pretune.stages.finetune.stage", "finetune", finetune)
    stage_module(monkeypatch, "pretune.stages.compare", "compare", compare)

    def run(recipe: Recipe) -> None:
        for step in pipeline.plan_stages(recipe, tmp_path):
            if step.name in ("finetune", "scratch", "compare"):
                pipeline._do(step, redo=True)

    run(Recipe())
    run(override(Recipe(), {"control": False}))
    assert (trained, compared) == (["finetune", "scratch"], [True, True])
    trained.clear()
    changed = override(Recipe(), {"finetune": {"epochs": 2}, "control": False})
    run(changed)
    run(changed)
    assert (trained, compared[2:]) == (["finetune"], [False, False])
    assert not (tmp_path / "scratch").exists()
    assert (tmp_path / "scratch.old-1" / "manifest.json").is_file()
    run(override(changed, {"control": True}))
    assert (trained, compared[-1]) == (["finetune", "scratch"], True)
