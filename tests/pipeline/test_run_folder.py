"""What a run does in its folder beside its stages: the recipe, and a control that is no longer wanted."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretune import pipeline
from pretune.errors import FolderInTheWayError, InputDataError, UsageError
from pretune.recipe import Recipe, override, read_recipe, save_recipe
from pretune.runtime.manifest import Manifest, is_text_seal_intact
from pretune.runtime.stage_folder import open_stage
from pretune.settings import to_dict


def stage_module(monkeypatch: pytest.MonkeyPatch, path: str, name: str, function: Callable[..., Any]) -> None:
    module = types.ModuleType(path)
    setattr(module, name, function)
    monkeypatch.setitem(sys.modules, path, module)


@pytest.fixture
def bare_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs have no stages, and write neither trace nor page."""
    monkeypatch.setattr(pipeline, "_check", lambda _recipe, _folder: None)
    monkeypatch.setattr(pipeline, "plan_stages", lambda _recipe, _folder, **_more: [])
    monkeypatch.setattr(pipeline, "write_run_trace", lambda _folder: None)
    monkeypatch.setattr(pipeline, "write_page", lambda _folder, _say: None)


@pytest.mark.usefixtures("bare_runs")
def test_a_run_that_is_refused_leaves_the_recipe_of_the_one_at_work(tmp_path: Path) -> None:
    """It wrote its own recipe over the other one before the first stage refused it."""
    recipe, refused = Recipe(out=str(tmp_path / "run")), list[str]()

    def begin_another(_sentence: str) -> None:
        if not refused:
            with pytest.raises(FolderInTheWayError, match="Another process is writing to") as caught:
                pipeline.run(override(recipe, {"pretrain": {"minutes": 3}}))
            refused.append(str(caught.value))

    pipeline.run(recipe, say=begin_another)
    assert len(refused) == 1
    assert read_recipe(tmp_path / "run" / "recipe.toml").pretrain.minutes is None
    pipeline.run(override(recipe, {"pretrain": {"minutes": 3}}))  # it is free again
    assert read_recipe(tmp_path / "run" / "recipe.toml").pretrain.minutes == 3


def test_settings_that_the_objective_does_not_have_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """In a run that had begun, they were refused in pre-training, after the stages before it."""
    recipe = override(Recipe(out=str(tmp_path / "run")), {"pretrain": {"causal_share": 0.3}})
    with pytest.raises(UsageError, match=r"^--causal-share is given, but the objective is masked"):
        pipeline.run(recipe)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("bare_runs")
def test_a_recipe_that_was_edited_by_hand_is_sealed_again(tmp_path: Path) -> None:
    """To add a control, the page says to edit the recipe and run it; `verify` then found fault with it for good."""
    saved = tmp_path / "run" / "recipe.toml"
    pipeline.run(Recipe(out=str(tmp_path / "run"), control=False))
    saved.write_text(saved.read_text().replace("control = false", "control = true"))
    assert not is_text_seal_intact(saved.read_text())
    pipeline.run(read_recipe(saved))
    assert is_text_seal_intact(saved.read_text())
    assert read_recipe(saved).control is True


@pytest.mark.usefixtures("bare_runs")
def test_a_run_killed_before_its_recipe_was_saved_may_begin_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    pipeline.run(Recipe(out=str(tmp_path)))
    assert (tmp_path / "recipe.toml").is_file()


def finish_stages(folder: Path, recipe: Recipe) -> None:
    """Write the folder of a finished run, with stages that have no outputs."""
    for stage in pipeline.plan_stages(recipe, folder):
        open_stage(folder / stage.name, stage.name, config={}, inputs={}).finish()
    save_recipe(recipe, folder)


def test_a_redo_without_labels_renames_the_stages_of_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They kept their names: `predict` used the old classifier beside the new pre-trained model."""
    for name in ("corpus.txt", "labels.csv"):
        (tmp_path / name).write_text("text,label\na,b\n", encoding="utf-8")
    out, said = tmp_path / "run", list[str]()
    recipe = Recipe(out=str(out), corpus=(str(tmp_path / "corpus.txt"),))
    finish_stages(out, replace(recipe, labels=str(tmp_path / "labels.csv")))
    monkeypatch.setattr(pipeline, "_check", lambda _recipe, _folder: None)
    monkeypatch.setattr(pipeline, "_do", lambda _stage, *, redo: None)
    monkeypatch.setattr(pipeline, "write_run_trace", lambda _folder: None)
    stages = ("split", "prepare", "finetune", "scratch", "compare")
    sentence = f"The run no longer has labels, so the folders of these stages are renamed: {', '.join(stages)}."
    pipeline.dry_run(recipe, said.append, redo=True)
    assert sentence in said
    assert (out / "finetune").is_dir()
    said.clear()
    pipeline.run(recipe, redo=True, say=said.append, report=False)
    assert sentence in said
    for stage in stages:
        assert not (out / stage).exists()
        assert (out / f"{stage}.old-1" / "manifest.json").is_file()
    assert (out / "pretrain").is_dir()


def test_a_redo_that_is_refused_leaves_the_recipe_of_the_finished_run(tmp_path: Path, run_folder: Path) -> None:
    """The bad setting was saved before it was refused, and then the command of the finished run was refused."""
    for name, rows in (("corpus.txt", ""), ("labels.csv", "a,b\n"), ("other.csv", "a,b\nc,b\n")):
        (tmp_path / name).write_text(f"text,label\n{rows}", encoding="utf-8")
    corpus, base = (str(tmp_path / "corpus.txt"),), str(run_folder / "pretrain" / "checkpoint")
    recipe = Recipe(out=str(tmp_path / "run"), corpus=corpus, labels=str(tmp_path / "labels.csv"), base=base)
    finish_stages(tmp_path / "run", recipe)
    saved = (tmp_path / "run" / "recipe.toml").read_bytes()
    with pytest.raises(UsageError, match=r"--causal-share is given, but the objective is masked"):
        pipeline.run(override(recipe, {"pretrain": {"causal_share": 0.3}}), redo=True)
    with pytest.raises(UsageError, match=r"--vocab-size is given, but the tokenizer is that of the base"):
        pipeline.run(override(recipe, {"preprocess": {"vocab_size": 500}}), redo=True)
    with pytest.raises(InputDataError, match=r"other\.csv"):
        pipeline.run(replace(recipe, labels=str(tmp_path / "other.csv")), redo=True)
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == saved
    assert not list((tmp_path / "run").glob("*.old-*"))


def dry_run(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, *, redo: bool) -> list[str]:
    """What a dry run says, with the ends of the lines about stages."""
    monkeypatch.setattr(pipeline, "_check", lambda _recipe, _folder: None)
    monkeypatch.setattr(pipeline, "estimate_run", lambda _recipe: None)
    monkeypatch.setattr(pipeline, "describe", lambda _estimate, _folder: ["Expected: a while."])
    said = list[str]()
    pipeline.dry_run(recipe, said.append, redo=redo)
    return [f"{line.split()[0]}: {line.partition(' - ')[2]}" if line.startswith("  ") else line for line in said[1:]]


ESTIMATE = ["The estimate is for the whole run; what is finished is not done again.", "Expected: a while."]


def test_a_run_says_which_finished_stages_are_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --redo, it said that all stages are finished, gave no estimate, and then trained for an hour."""
    recipe = Recipe(out=str(tmp_path / "run"))
    finish_stages(tmp_path / "run", recipe)
    before, after = ("collect", "split", "preprocess", "pretrain"), ("prepare", "finetune", "scratch", "compare")
    kept = [f"{name}: finished" for name in before]
    assert dry_run(monkeypatch, recipe, redo=True) == [
        *kept,
        *(f"{name}: finished" for name in after),
        "All stages are finished; the results are read from their logs.",
    ]
    changed = override(recipe, {"prepare": {"max_seq_len": 64}})
    again = [f"{name}: to be done again" for name in after]
    assert dry_run(monkeypatch, changed, redo=True) == [*kept, *again, *ESTIMATE]
    again[2] = "scratch: renamed, since no control is wanted"
    assert dry_run(monkeypatch, override(changed, {"control": False}), redo=True) == [*kept, *again, *ESTIMATE]


def test_what_follows_a_stage_that_was_stopped_in_a_redo_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = Recipe(out=str(tmp_path / "run")), tmp_path / "run"
    finish_stages(run, recipe)
    (run / "finetune").rename(run / "finetune.old-1")
    open_stage(run / "finetune", "finetune", config={}, inputs={}).close()
    said = dry_run(monkeypatch, recipe, redo=True)
    again = ["finetune: resuming", "scratch: to be done again", "compare: to be done again"]
    assert said[5:] == [*again, *ESTIMATE]


def test_a_redo_is_estimated_when_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, said = Recipe(out=str(tmp_path / "run")), list[str]()
    finish_stages(tmp_path / "run", recipe)
    dry_run(monkeypatch, recipe, redo=True)  # for its stand-ins
    monkeypatch.setattr(pipeline, "_do", lambda _stage, *, redo: None)
    monkeypatch.setattr(pipeline, "_has_test_rows", lambda _folder: True)
    monkeypatch.setattr(pipeline, "write_run_trace", lambda _folder: None)
    pipeline.run(override(recipe, {"finetune": {"epochs": 2}}), redo=True, say=said.append, report=False)
    assert said[-2:] == ESTIMATE


def test_a_control_that_is_not_wanted_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --without-control and --redo, the control of the old settings was trained with the new ones."""
    trained, compared = list[str](), list[bool]()

    def finetune(_pretrained: Path, _prepared: Path, out: Path, config: Any, *, alone: bool, **more: Any) -> Manifest:
        assert alone
        folder = open_stage(out, out.name, config=to_dict(config), inputs={}, redo=more["redo"])
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
        for stage in pipeline.plan_stages(recipe, tmp_path):
            if stage.name in ("finetune", "scratch", "compare"):
                pipeline._do(stage, redo=True)

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


@pytest.mark.parametrize(
    ("base", "objective", "title"),
    [
        (None, "auto", "learn to predict missing words"),
        (None, "causal", "learn to predict the next token"),
        ("base", "auto", "go on learning to predict words of the text"),  # what the base does, read only later
        ("base", "hybrid", "go on learning to predict missing words and the next token"),
    ],
)
def test_a_run_says_what_it_learns_to_predict(base: str | None, objective: str, title: str, tmp_path: Path) -> None:
    recipe = override(Recipe(base=base), {"pretrain": {"objective": objective}})
    assert [stage.title for stage in pipeline.plan_stages(recipe, tmp_path) if stage.name == "pretrain"] == [title]


@pytest.mark.parametrize(
    "start", [pipeline.run, lambda recipe: pipeline.dry_run(recipe, print)], ids=["run", "dry run"]
)
def test_a_terminal_in_place_of_a_text_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Recipe], object]
) -> None:
    """The folder was claimed, and the labels were split, before the run was refused."""
    monkeypatch.setattr("sys.stdin", typed := io.StringIO())
    monkeypatch.setattr(typed, "isatty", lambda: True)
    with pytest.raises(UsageError, match=r"standard input \(-\), which is the terminal"):
        start(Recipe(out=str(tmp_path / "run"), corpus=("-",)))
    assert not (tmp_path / "run").exists()
