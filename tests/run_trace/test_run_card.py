from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.run_card import read_folder
from pretune.runtime.stage_folder import open_stage
from pretune.trace_schema import RunTrace


def test_the_card_says_what_the_run_is(traced: RunTrace) -> None:
    card = traced.run
    assert (card.name, card.status, card.task, card.is_synthetic) == ("tested", "finished", "classification", True)
    assert card.command == "pretune run tested/recipe.toml --out tested-again"
    assert card.started == "2023-11-14T22:13:21+00:00"
    assert card.seconds == sum(stage.seconds or 0 for stage in traced.stages)
    assert card.hardware is not None
    assert (card.hardware.threads, card.hardware.precision, card.hardware.is_compiled) == (2, "bf16", True)


@pytest.mark.parametrize("missing", ["split", "finetune", "scratch", "compare"])
def test_a_run_is_finished_when_every_stage_of_its_recipe_is(tested_run: Path, missing: str) -> None:
    shutil.rmtree(tested_run / missing)
    assert build_run_trace(tested_run).run.status == "running"


def test_a_run_without_control_is_finished_without_it(tested_run: Path) -> None:
    shutil.rmtree(tested_run / "scratch")
    (tested_run / "recipe.toml").write_text('labels = "labelled.csv"\ncontrol = false\n', encoding="utf-8")
    assert build_run_trace(tested_run).run.status == "finished"


def test_a_control_that_was_stopped_and_is_no_longer_wanted_is_not_awaited(tested_run: Path) -> None:
    """After Ctrl-C and --without-control, the run stayed unfinished for good: no command went on with its control."""
    log, recipe = tested_run / "scratch" / "events.jsonl", tested_run / "recipe.toml"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"stage_finished"' not in line), encoding="utf-8")
    assert build_run_trace(tested_run).run.status == "running"
    recipe.write_text('labels = "labelled.csv"\ncontrol = false\n', encoding="utf-8")
    trace = build_run_trace(tested_run)
    assert trace.run.status == "finished"
    assert "at its stage scratch" not in trace.run.headline + (trace.run.detail or "")
    assert [check.id for check in trace.checks if not check.is_ok] == []
    # One that is trained by hand can be followed.
    assert trace.phases.scratch is not None
    assert next(stage.status for stage in trace.stages if stage.name == "scratch") == "running"


def test_a_run_without_test_rows_is_finished_without_a_comparison(tested_run: Path) -> None:
    for stage in ("scratch", "compare"):
        shutil.rmtree(tested_run / stage)
    log = tested_run / "finetune" / "events.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"event": "test"' not in line), encoding="utf-8")
    assert build_run_trace(tested_run).run.status == "finished"


@pytest.mark.parametrize("stage", ["split", "prepare"])
def test_a_run_has_pairs_if_its_labelled_texts_do(tmp_path: Path, stage: str) -> None:
    """A run that was made stage by stage need not have a split stage."""
    (tmp_path / stage).mkdir()
    event = {"event": "detected", "stage": stage, "time": 1.0, "text_column": "a", "text_pair_column": "b"}
    (tmp_path / stage / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    assert build_run_trace(tmp_path).run.has_pairs


def test_the_id_follows_from_what_the_stages_wrote(tmp_path: Path) -> None:
    ids = []
    for content in ("a", "a", "b"):
        folder = tmp_path / str(len(ids)) / "run"
        stage = open_stage(folder / "collect", "collect", config={}, inputs={})
        (folder / "collect" / "x.txt").write_text(content, encoding="utf-8")
        stage.finish()
        (folder / "recipe.toml").write_text("", encoding="utf-8")
        ids.append(build_run_trace(folder).run.id)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("recipe", ["= =", "a = " + "[" * 100_000])
def test_what_is_damaged_is_left_out(tmp_path: Path, recipe: str) -> None:
    (tmp_path / "collect").mkdir()
    (tmp_path / "collect" / "manifest.json").write_text("{", encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    folder = read_folder(tmp_path)
    assert (folder.name, dict(folder.manifests), folder.recipe) == (tmp_path.name, {}, None)
