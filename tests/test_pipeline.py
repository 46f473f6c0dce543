"""`run` calls the stages in order; here they are stand-ins that write real stage folders."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretune import pipeline
from pretune.errors import FolderInTheWayError, InputDataError, StageDiffersError, UsageError
from pretune.model import base_folder
from pretune.model.base_folder import read_base_folder
from pretune.recipe import Recipe, override, read_recipe
from pretune.run_trace.codec import from_json, read_run_trace
from pretune.runtime.atomic import write_json
from pretune.runtime.manifest import Manifest, hash_file, is_seal_intact, read_manifest, sealed
from pretune.runtime.stage_folder import open_stage
from pretune.settings import to_dict
from pretune.trace_schema import FillTrace, PredictionTrace

STAGES = ("collect", "split", "preprocess", "pretrain", "prepare", "finetune", "scratch", "compare")
WITH_LABELS = ("split", "collect", *STAGES[2:])


class Stages:
    """Stand-ins for the stage functions: each writes one file that depends on its settings and its inputs."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.bases: dict[str, Path | None] = {}  # that the stages were given
        self.done: list[str] = []
        self.traced: list[Path] = []
        self.has_control: list[bool] = []  # in each call of `compare`
        self.num_test_rows = 20
        self.interrupted = ""  # the stage that is stopped after its folder has been opened, once

    def do(
        self,
        stage: str,
        out: Path,
        config: Any,
        redo: bool,
        *sources: Path | None,
        read: dict[str, str] | None = None,
        **given: Any,
    ) -> Manifest:
        """Open, write and finish a folder, as every stage does; a finished one is skipped. `read` are more inputs."""
        self.calls.append((stage, given))
        settings = {} if config is None else to_dict(config)
        inputs = {s.name: read_manifest(s).fingerprint for s in sources if s is not None} | (read or {})
        if stage == "split" and given["labels"].is_file():
            inputs["labels"] = hash_file(given["labels"])
        folder = open_stage(out, stage, config=settings, inputs=inputs, redo=redo)
        if not folder.is_finished and stage == self.interrupted:
            self.interrupted = ""
            with folder.at_work():
                raise KeyboardInterrupt
        if not folder.is_finished:
            self.done.append(out.name)
            (out / "result.txt").write_text(f"{settings} {inputs}", encoding="utf-8")
            folder.finish(example={"text": "A small example."}, test=self.num_test_rows)
        return folder.manifest

    def trace_examples(self, run: Path) -> tuple[list[PredictionTrace], list[FillTrace]]:
        self.traced.append(run)
        token = {"surface": "[MASK]", "start": None, "end": None, "is_special": True, "word": None, "count": None}
        fill = {"id": "example", "masked_text": "The [MASK].", "true_word": "sun", "mask_position": 0, "words": ["The"]}
        fill |= {"tokens": [{"position": 0, "id": 3, **token}], "predictions": [], "readouts": [], "occlusion": [0.5]}
        return [], [from_json(FillTrace, fill)]

    def split(
        self, labels: Path, out: Path, config: Any, *, test_labels: Path | None, redo: bool, synthetic: bool
    ) -> Manifest:
        return self.do("split", out, config, redo, labels=labels, test_labels=test_labels, synthetic=synthetic)

    def collect(
        self, paths: Any, out: Path, config: Any, *, split: Path | None = None, redo: bool = False, **public: Any
    ) -> Manifest:
        self.public = public
        return self.do("collect", out, config, redo, split, paths=tuple(paths), split=split)

    def preprocess(
        self,
        collected: Path,
        out: Path,
        config: Any,
        *,
        split: Path | None,
        protect: tuple[str, ...],
        base: Path | None,
        redo: bool,
    ) -> Manifest:
        self.protected = protect
        read = {} if base is None else {"tokenizer": read_base_folder(base).tokenizer_hash}
        self.bases["preprocess"] = base
        return self.do("preprocess", out, config, redo, collected, split, read=read, split=split)

    def pretrain(self, preprocessed: Path, out: Path, config: Any, *, base: Path | None, redo: bool) -> Manifest:
        read = {} if base is None else {"base": read_base_folder(base).fingerprint}
        self.bases["pretrain"] = base
        return self.do("pretrain", out, config, redo, preprocessed, read=read)

    def prepare(self, labels: Path, out: Path, config: Any, *, base: Path, redo: bool) -> Manifest:
        return self.do("prepare", out, config, redo, base, labels, labels=labels)

    def finetune(
        self, pretrained: Path, prepared: Path, out: Path, config: Any, *, corpus: Path | None, redo: bool, alone: bool
    ) -> Manifest:
        assert alone and corpus is None
        return self.do("finetune", out, config, redo, pretrained, prepared)

    def compare(self, finetuned: Path, scratch: Path | None, prepared: Path, out: Path, *, redo: bool) -> Manifest:
        self.has_control.append(scratch is not None)
        return self.do("compare", out, None, redo, finetuned, scratch, prepared)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Stand-ins that replace the stage modules."""
    made = Stages()
    functions: dict[str, Callable[..., Any]] = {
        name: getattr(made, name)
        for name in ("split", "collect", "preprocess", "pretrain", "prepare", "finetune", "compare")
    }
    for name, function in functions.items():
        path = f"pretune.stages.{name}" + (
            ".stage" if name in ("collect", "preprocess", "pretrain", "finetune") else ""
        )
        module = types.ModuleType(path)
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, path, module)
    sys.modules["pretune.stages.prepare"].refuse_notice = lambda _config: None  # type: ignore[attr-defined]
    tracing = types.ModuleType("pretune.tracing.examples")
    tracing.trace_examples = made.trace_examples  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pretune.tracing.examples", tracing)
    monkeypatch.setattr(pipeline, "_check_labels", lambda _recipe: None)
    monkeypatch.setattr(pipeline, "_check_base", lambda _recipe, _base: None)
    monkeypatch.setattr(pipeline, "estimate_run", lambda _recipe: None)
    monkeypatch.setattr(pipeline, "describe", lambda _estimate, _folder: [])
    return made


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A label file, which the stand-ins do not read."""
    path = tmp_path / "labels.csv"
    path.write_text("text,label\na,b\n", encoding="utf-8")
    return path


def test_the_built_in_world_goes_through_all_stages(tmp_path: Path, stages: Stages) -> None:
    out = tmp_path / "run"
    assert pipeline.run(Recipe(out=str(out))) == out
    assert tuple(stages.done) == STAGES
    assert {p.name for p in out.iterdir()} == {*STAGES, ".lock", "recipe.toml", "trace.json", "report.html"}
    given = dict(stages.calls)
    assert given["collect"] == {"paths": (), "split": None}
    own = {"labels": out / "collect" / "labels-train.jsonl", "test_labels": out / "collect" / "labels-test.jsonl"}
    assert given["split"] == {**own, "synthetic": True}
    assert given["preprocess"] == {"split": out / "split"}
    assert given["prepare"] == {"labels": out / "split"}


def test_the_split_comes_first_and_is_given_to_the_stages_that_need_it(
    tmp_path: Path, stages: Stages, labels: Path
) -> None:
    (tmp_path / "c.txt").write_text("x", encoding="utf-8")
    pipeline.run(Recipe(out=str(tmp_path / "run"), corpus=(str(tmp_path / "c.txt"),), labels=str(labels)))
    given = dict(stages.calls)
    split = tmp_path / "run" / "split"
    assert stages.done == list(WITH_LABELS)
    assert given["split"] == {"labels": labels, "test_labels": None, "synthetic": False}
    assert given["collect"] == {"paths": (str(tmp_path / "c.txt"),), "split": split}
    assert given["preprocess"] == {"split": split}
    assert given["prepare"] == {"labels": split}
    assert stages.protected == ()


def test_a_public_data_set_is_asked_for_by_name(tmp_path: Path, stages: Stages) -> None:
    def agree(_plan: str) -> bool:
        return True

    recipe = Recipe(out=str(tmp_path / "run"), corpus=("imdb", "hf:owner/name"), data_root=str(tmp_path / "data"))
    pipeline.run(recipe, agree=agree)
    assert dict(stages.calls)["collect"]["paths"] == ("imdb", "hf:owner/name")
    assert stages.public["data_root"] == tmp_path / "data"
    assert stages.public["encoding_option"] == "--corpus-encoding"
    assert stages.public["agree"] is agree
    saved = (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    assert "public:imdb" in saved and "hf:owner/name" in saved
    pipeline.run(Recipe(out=str(tmp_path / "run"), corpus=("public:imdb", "hf:owner/name")))  # the same run
    assert stages.done == ["collect", "preprocess", "pretrain"]


def test_without_labels_it_ends_with_the_pretrained_model(tmp_path: Path, stages: Stages) -> None:
    (tmp_path / "c.txt").write_text("x", encoding="utf-8")
    pipeline.run(Recipe(out=str(tmp_path / "run"), corpus=(str(tmp_path / "c.txt"),)))
    assert stages.done == ["collect", "preprocess", "pretrain"]


def test_the_control_may_come_later(tmp_path: Path, stages: Stages, labels: Path) -> None:
    """A run can skip the control; the same call with it adds the control and compares again."""
    recipe = Recipe(out=str(tmp_path / "run"), labels=str(labels), control=False)
    pipeline.run(recipe)
    assert stages.done == [name for name in WITH_LABELS if name != "scratch"]
    assert stages.has_control == [False]
    stages.done.clear()
    pipeline.run(replace(recipe, control=True))
    assert stages.done == ["scratch", "compare"]
    assert stages.has_control == [False, True]
    assert "control = true" in (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    stages.done.clear()
    pipeline.run(recipe)  # finished stages are used
    assert stages.done == []
    assert stages.has_control[-1]


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("stage", [name for name in STAGES if name != "scratch"])  # which is `finetune` again
def test_a_run_stopped_in_any_stage_is_resumed_by_the_same_call(
    tmp_path: Path, stages: Stages, stage: str, control: bool
) -> None:
    """A run that was stopped in `compare` was refused, because its folder was read as a finished one."""
    recipe = Recipe(out=str(tmp_path / "run"), control=control)
    stages.interrupted = stage
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe)
    pipeline.run(recipe)
    assert stages.done == [name for name in STAGES if control or name != "scratch"]
    assert not list((tmp_path / "run").glob("*.old-*"))


def test_a_control_may_be_added_to_a_comparison_that_was_stopped(tmp_path: Path, stages: Stages, labels: Path) -> None:
    recipe = Recipe(out=str(tmp_path / "run"), labels=str(labels), control=False)
    stages.interrupted = "compare"
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe)
    pipeline.run(replace(recipe, control=True))
    assert stages.done == [*WITH_LABELS]
    assert stages.has_control[-1]


def test_without_test_rows_nothing_is_compared(tmp_path: Path, stages: Stages, labels: Path) -> None:
    """With few rows there may be no test rows: the run still ends well, with a model."""
    stages.num_test_rows = 0
    printed: list[str] = []
    out = pipeline.run(Recipe(out=str(tmp_path / "run"), labels=str(labels)), say=printed.append)
    assert stages.done == list(WITH_LABELS[:6])
    assert [line for line in printed if line.startswith("Skipping")] == [
        f"Skipping {name}: there are no test rows." for name in ("scratch", "compare")
    ]
    assert (out / "trace.json").is_file()


def test_a_second_call_does_nothing_and_says_so(tmp_path: Path, stages: Stages) -> None:
    recipe, printed = Recipe(out=str(tmp_path / "run")), []
    pipeline.run(recipe)
    stages.done.clear()
    pipeline.run(recipe, say=printed.append)
    assert stages.done == []
    assert sum("finished" in line for line in printed) == len(STAGES) + 1


def test_a_dry_run_refuses_what_a_run_refuses(tmp_path: Path, stages: Stages) -> None:
    recipe, printed = Recipe(out=str(tmp_path / "run")), list[str]()
    pipeline.run(recipe)
    assert tuple(stages.done) == STAGES
    changed = override(recipe, {"pretrain": {"minutes": 3}})
    with pytest.raises(FolderInTheWayError, match=r"pretrain\.minutes \(was None, now 3\.0\)"):
        pipeline.dry_run(changed, printed.append)
    assert printed == []
    pipeline.dry_run(changed, printed.append, redo=True)
    assert read_recipe(tmp_path / "run" / "recipe.toml").pretrain.minutes is None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(FolderInTheWayError, match="files that are not a run"):
        pipeline.dry_run(Recipe(out=str(tmp_path / "mine")), printed.append)


def test_a_dry_run_estimates_a_run_that_has_begun(
    tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "describe", lambda _estimate, _folder: ["Expected: a while."])
    recipe = Recipe(out=str(tmp_path / "run"))
    pipeline.run(recipe)
    printed: list[str] = []
    pipeline.dry_run(recipe, printed.append)
    assert tuple(stages.done) == STAGES
    assert "Expected: a while." not in printed  # all is finished
    shutil.rmtree(tmp_path / "run" / "compare")
    printed.clear()
    pipeline.run(recipe, say=printed.append)
    assert "Expected: a while." not in printed
    shutil.rmtree(tmp_path / "run" / "compare")
    pipeline.dry_run(recipe, printed.append)
    assert printed[-2:] == [
        "The estimate is for the whole run; what is finished is not done again.",
        "Expected: a while.",
    ]


def test_predictions_are_traced_again_only_for_another_model(tmp_path: Path, stages: Stages) -> None:
    recipe = Recipe(out=str(tmp_path / "run"))
    out = pipeline.run(recipe)
    pipeline.run(recipe)
    assert stages.traced == [out]
    trace = read_run_trace(out / "trace.json")
    assert trace.fingerprint == read_manifest(out / "finetune").fingerprint
    assert [fill.masked_text for fill in trace.fills] == ["The [MASK]."]
    pipeline.run(override(recipe, {"finetune": {"epochs": 7}}), redo=True)
    assert stages.traced == [out, out]


def test_a_run_without_labels_has_a_trace_of_its_pre_trained_model(tmp_path: Path, stages: Stages) -> None:
    text = tmp_path / "texts.txt"
    text.write_text("A text.", encoding="utf-8")
    out = pipeline.run(Recipe(out=str(tmp_path / "run"), corpus=(str(text),)))
    trace = read_run_trace(out / "trace.json")
    assert (stages.traced, trace.fingerprint) == ([out], read_manifest(out / "pretrain").fingerprint)
    assert is_seal_intact(json.loads((out / "trace.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("damaged", ['{"text": ', "[]", '{"layers": {}, "text": "a"}'])
def test_a_damaged_trace_is_written_again(tmp_path: Path, stages: Stages, damaged: str) -> None:
    out = pipeline.run(Recipe(out=str(tmp_path / "run")))
    whole = (out / "trace.json").read_text(encoding="utf-8")
    (out / "trace.json").write_text(damaged, encoding="utf-8")
    pipeline.run(Recipe(out=str(out)))
    assert (out / "trace.json").read_text(encoding="utf-8") == whole
    assert stages.done == list(STAGES)


def test_the_saved_recipe_means_the_same_run(tmp_path: Path, stages: Stages) -> None:
    out = tmp_path / "run"
    pipeline.run(override(Recipe(out=str(out)), {"pretrain": {"minutes": 2}}))
    stages.done.clear()
    pipeline.run(read_recipe(out / "recipe.toml"))
    assert stages.done == []


def test_another_setting_is_refused_before_anything_happens(tmp_path: Path, stages: Stages) -> None:
    recipe = Recipe(out=str(tmp_path / "run"))
    pipeline.run(recipe)
    stages.calls.clear()
    with pytest.raises(FolderInTheWayError) as caught:
        pipeline.run(override(recipe, {"pretrain": {"minutes": 3}}))
    assert "pretrain.minutes (was None, now 3.0)" in str(caught.value)
    assert stages.calls == []


def test_a_setting_of_a_stage_that_has_not_begun_may_be_corrected(tmp_path: Path, stages: Stages) -> None:
    """An error before a stage begins leaves no stage folder, so the corrected command needs no --redo."""
    recipe, out = Recipe(out=str(tmp_path / "run")), tmp_path / "run"
    pipeline.run(recipe)
    for stage in STAGES[3:]:
        (out / stage).rename(tmp_path / stage)
    stages.done.clear()
    pipeline.run(override(recipe, {"pretrain": {"minutes": 3}}))
    assert stages.done == list(STAGES[3:])
    with pytest.raises(FolderInTheWayError, match=r"run that differs in: collect.seed \(was 0, now 1\)\."):
        pipeline.run(override(recipe, {"pretrain": {"minutes": 3}, "collect": {"seed": 1}}))


def test_what_acts_after_training_may_be_changed_until_the_stage_is_finished(tmp_path: Path, stages: Stages) -> None:
    recipe, out = Recipe(out=str(tmp_path / "run")), tmp_path / "run"
    pipeline.run(recipe)
    changed = override(recipe, {"finetune": {"stack": False}})
    with pytest.raises(FolderInTheWayError, match=r"finetune\.stack \(was True, now False\)"):
        pipeline.run(changed)
    manifest = json.loads((out / "finetune" / "manifest.json").read_text(encoding="utf-8"))
    config = {**manifest["config"], "stack": False}  # the stand-in of the stage has no late settings
    write_json(out / "finetune" / "manifest.json", sealed({**manifest, "status": "running", "config": config}))
    for stage in ("scratch", "compare"):
        (out / stage).rename(tmp_path / stage)
    stages.done.clear()
    pipeline.run(changed)
    assert stages.done == ["finetune", "scratch", "compare"]
    assert read_recipe(out / "recipe.toml").finetune.stack is False


def test_inputs_are_compared_by_content(tmp_path: Path, stages: Stages, labels: Path) -> None:
    """A run whose labels have moved is the same run, as long as their bytes are the same."""
    out = tmp_path / "run"
    recipe = Recipe(out=str(out), labels=str(labels))
    pipeline.run(recipe)
    stages.done.clear()
    moved = tmp_path / "elsewhere" / "renamed.csv"
    moved.parent.mkdir()
    labels.rename(moved)
    pipeline.run(replace(recipe, labels=str(moved)))
    assert stages.done == []
    assert read_recipe(out / "recipe.toml").labels == str(moved)
    other = tmp_path / "other.csv"
    other.write_text("text,label\nc,d\n", encoding="utf-8")
    with pytest.raises(FolderInTheWayError, match="a run that differs in: labels"):
        pipeline.run(replace(recipe, labels=str(other)))
    assert read_recipe(out / "recipe.toml").labels == str(moved)


def test_a_base_is_given_to_the_stages_that_start_from_it_and_compared_by_content(
    tmp_path: Path, stages: Stages, labels: Path, run_folder: Path
) -> None:
    base = shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path / "base")
    recipe = Recipe(out=str(tmp_path / "run"), labels=str(labels), base=str(base))
    pipeline.run(recipe)
    assert stages.bases == {"preprocess": base, "pretrain": base}
    assert read_recipe(tmp_path / "run" / "recipe.toml") == replace(recipe, out=str(tmp_path / "run"))
    stages.done.clear()
    moved = base.rename(tmp_path / "moved")
    pipeline.run(replace(recipe, base=str(moved)))
    assert stages.done == []
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    other = replace(recipe, base=str(shutil.copytree(moved, tmp_path / "other")))
    with pytest.raises(FolderInTheWayError, match="a run that differs in: base"):
        pipeline.run(other)
    with pytest.raises(FolderInTheWayError, match="a run that differs in: base"):
        pipeline.run(replace(recipe, base=None))


def test_a_base_on_the_hub_keeps_its_name(
    tmp_path: Path, stages: Stages, labels: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_folder, "local_folder", lambda _name: run_folder / "pretrain" / "checkpoint")
    recipe = Recipe(out=str(tmp_path / "run"), labels=str(labels), base="hf:owner/name")
    pipeline.run(recipe)
    assert stages.bases == dict.fromkeys(("preprocess", "pretrain"), Path("hf:owner/name"))
    assert read_recipe(tmp_path / "run" / "recipe.toml") == recipe
    stages.done.clear()
    pipeline.run(recipe)
    assert stages.done == []


def test_a_missing_base_is_said_at_once(tmp_path: Path, stages: Stages) -> None:
    with pytest.raises(InputDataError, match="nothing does not exist; give --from a run"):
        pipeline.run(Recipe(out=str(tmp_path / "run"), base=str(tmp_path / "nothing")))
    assert stages.calls == []


def test_redo_does_again_what_differs_and_what_follows_from_it(tmp_path: Path, stages: Stages) -> None:
    recipe, out = Recipe(out=str(tmp_path / "run")), tmp_path / "run"
    pipeline.run(recipe)
    stages.done.clear()
    pipeline.run(override(recipe, {"finetune": {"epochs": 2}}), redo=True)
    assert stages.done == ["finetune", "scratch", "compare"]
    assert (out / "finetune.old-1" / "result.txt").is_file()
    assert not (out / "pretrain.old-1").exists()


def test_redo_leaves_alone_what_is_not_a_stage_of_this_kind(tmp_path: Path, stages: Stages) -> None:
    """Only folders of stages with other settings or inputs are renamed, never foreign ones."""
    out = tmp_path / "run"
    pipeline.run(Recipe(out=str(out)))
    (out / "compare" / "manifest.json").unlink()
    with pytest.raises(FolderInTheWayError) as caught:
        pipeline.run(Recipe(out=str(out)), redo=True)
    assert not isinstance(caught.value, StageDiffersError)
    assert (out / "compare").is_dir()
    assert stages.done == list(STAGES)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, stages: Stages) -> None:
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(FolderInTheWayError, match=r"files that are not a run \(mine.txt\)"):
        pipeline.run(Recipe(out=str(tmp_path)))
    with pytest.raises(FolderInTheWayError, match="is a file"):
        pipeline.run(Recipe(out=str(tmp_path / "mine.txt")))
    with pytest.raises(UsageError, match="Give --out DIR"):
        pipeline.run(Recipe())
    assert stages.calls == []


def test_what_a_killed_writer_of_the_recipe_leaves_is_no_obstacle(tmp_path: Path, stages: Stages) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".recipe.toml.tmp").write_text("version = ", encoding="utf-8")
    pipeline.run(Recipe(out=str(out)))
    assert tuple(stages.done) == STAGES
    assert not (out / ".recipe.toml.tmp").exists()


def test_a_missing_input_leaves_no_folder(tmp_path: Path, stages: Stages) -> None:
    with pytest.raises(InputDataError, match="does not exist; give --corpus"):
        pipeline.run(Recipe(out=str(tmp_path / "run"), corpus=("none.txt",)))
    assert not (tmp_path / "run").exists()
    assert stages.calls == []
