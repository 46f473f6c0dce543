"""Every changed, truncated or missing file of a run is found and named; an undamaged run is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.runtime.atomic import commit_folder, write_json
from pretune.runtime.manifest import read_manifest, sealed, sealed_text
from pretune.runtime.stage_folder import open_stage
from pretune.runtime.verification import Fault, Verified, verify


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(range(200)))
    (folder / "config.json").write_text('{"a": 1}\n')


def write_checkpoint(folder: Path) -> None:
    write_model(folder)
    (folder / "training_state").mkdir()
    (folder / "training_state" / "state.json").write_text('{"step": 4}\n')


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a finished stage, one with a model, and one that was interrupted with two checkpoints."""
    top = tmp_path / "run"
    (top / "preprocess").mkdir(parents=True)
    (top / "recipe.toml").write_text(sealed_text("seed = 0\n"))
    stage = open_stage(top / "preprocess", "preprocess", config={"a": 1}, inputs={})
    (top / "preprocess" / "train-00000.tokens").write_bytes(bytes(300))
    stage.log.write("stage_finished", seconds=1.5)
    stage.finish()
    source = {"preprocessed": stage.manifest.fingerprint}
    stage = open_stage(top / "pretrain", "pretrain", config={}, inputs=source)
    commit_folder(top / "pretrain" / "checkpoints" / "step-00000009", write_checkpoint, step=9)
    commit_folder(top / "pretrain" / "checkpoint", write_model, step=9)
    stage.log.write("stage_finished", seconds=2.5)
    stage.finish()
    model = stage.manifest.outputs["checkpoint/manifest.json"]["sha256"]
    stage = open_stage(top / "finetune", "finetune", config={}, inputs={"pretrained": model})
    for step in (2, 4):
        commit_folder(top / "finetune" / "checkpoints" / "trial-00" / f"step-{step:08d}", write_checkpoint, step=step)
    stage.log.write("stage_started")
    stage.close()
    write_json(top / "trace.json", sealed({"text": "A fine day.", "fingerprint": "of a model that is not finished"}))
    return top


def faults(results: list[Verified]) -> list[Fault]:
    return [fault for result in results for fault in result.faults]


def test_an_undamaged_run_is_whole(run: Path) -> None:
    results = verify(run)
    assert [(result.path, result.kind, result.status, result.num_files) for result in results] == [
        (".", "run", "finished", 2),
        ("finetune", "finetune", "running", 0),
        ("finetune/checkpoints/trial-00/step-00000002", "checkpoint", "finished", 3),
        ("finetune/checkpoints/trial-00/step-00000004", "checkpoint", "finished", 3),
        ("preprocess", "preprocess", "finished", 2),  # the second is its log
        ("pretrain", "pretrain", "finished", 2),  # its log, and the manifest of its model, which lists the rest
        ("pretrain/checkpoint", "model", "finished", 2),
        ("pretrain/checkpoints/step-00000009", "checkpoint", "finished", 3),
    ]
    assert faults(results) == []
    assert [result.size_bytes for result in results][2:4] == [221, 221]
    notes = [note for result in results for note in result.notes]
    assert notes == ["finetune/events.jsonl has no hash because the stage is not finished: 1 complete line."]


def test_a_stage_and_a_checkpoint_alone(run: Path) -> None:
    assert [result.path for result in verify(run / "pretrain")] == [".", "checkpoint", "checkpoints/step-00000009"]
    [result] = verify(run / "pretrain" / "checkpoint")
    assert (result.path, result.kind, result.is_whole) == (".", "model", True)


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


HARMS: dict[str, Callable[[Path], object]] = {
    "first byte": lambda file: flip(file, 0),
    "middle byte": lambda file: flip(file, file.stat().st_size // 2),
    "last byte": lambda file: flip(file, -1),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-2]),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "missing": lambda file: file.unlink(),
}


def listed_files(run: Path) -> list[str]:
    files = [str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file()]
    return [file for file in files if not file.endswith(".lock") and file != "finetune/events.jsonl"]


@pytest.mark.parametrize("harm", HARMS)
def test_every_harm_to_every_file_is_named(run: Path, harm: str) -> None:
    names = listed_files(run)
    assert len(names) == 23
    for name in names:
        if harm == "missing" and name in ("recipe.toml", "trace.json"):
            continue  # a folder without a recipe is not a run, and a trace is written again
        before = (run / name).read_bytes()
        HARMS[harm](run / name)
        found = faults(verify(run))
        assert name in [fault.file for fault in found] or (harm == "missing" and found), (harm, name)
        folders = {Path(fault.file).parent for fault in found}
        assert all(folder in Path(name).parents for folder in folders), (harm, name, found)
        assert all(fault.found and fault.expected and "restore it from a copy" in fault.advice for fault in found)
        (run / name).write_bytes(before)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("preprocess/train-00000.tokens", "preprocess"), ("pretrain/checkpoint/config.json", "pretrain")],
)
def test_the_advice_makes_a_damaged_file_again(run: Path, name: str, folder: str) -> None:
    """The advice was --redo, by which a run keeps every finished stage."""
    flip(run / name, 0)
    [fault] = faults(verify(run))
    assert fault.advice == f"restore it from a copy, or move {run / folder} away and rerun the command that made it"
    shutil.rmtree(run / folder)
    assert [fault.advice for fault in faults(verify(run)) if fault.file == f"{folder}/manifest.json"] == [
        "restore it from a copy, or rerun the command that made it"
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"stage": "pretrain"', '{"outputs": {}}', '{"files": {"a": 1}}', "\udcff"])
def test_an_unreadable_manifest_is_a_fault(run: Path, text: str) -> None:
    (run / "preprocess" / "manifest.json").write_text(text, errors="surrogateescape")
    [fault] = faults(verify(run))
    assert fault.file == "preprocess/manifest.json"
    assert "damaged" in fault.found


def test_outputs_without_hash_are_a_fault(run: Path) -> None:
    file = run / "preprocess" / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "outputs": {"train-00000.tokens": {"size_bytes": 300}}}))
    assert [fault.file for fault in faults(verify(run))] == ["preprocess/manifest.json"]


def test_a_fact_of_a_checkpoint_that_was_altered_is_a_fault(run: Path) -> None:
    file = run / "pretrain" / "checkpoints" / "step-00000009" / "manifest.json"
    file.write_text(file.read_text().replace('"step": 9', '"step": 8'))
    [fault] = faults(verify(run))
    assert "was altered" in fault.found


def test_a_stage_made_from_another_input_is_named(run: Path) -> None:
    file = run / "pretrain" / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["sha256"]
    file.write_text(json.dumps(sealed({**manifest, "inputs": {"preprocessed": "0" * 64}})))
    [fault] = faults(verify(run))
    assert fault.file == "pretrain/manifest.json"
    assert "made from another preprocess" in fault.found


def test_the_corpus_of_a_student_is_that_of_the_run_if_its_recipe_asks_for_one(run: Path) -> None:
    def find(corpus: str) -> list[tuple[str, str]]:
        file = run / "finetune" / "manifest.json"
        edit(file, lambda value: value["inputs"].update(corpus=corpus), is_sealed_again=True)
        return [(fault.file, fault.found) for fault in faults(verify(run))]

    assert find("0" * 64) == []  # labels that came later are trained stage by stage, and --corpus may name any folder
    (run / "recipe.toml").write_text(sealed_text("[finetune]\nself_train = true\n"))
    assert find(read_manifest(run / "preprocess").fingerprint) == []
    assert find("0" * 64) == [("finetune/manifest.json", "it was made from another preprocess stage than this run's")]


def test_a_stage_that_was_renamed_is_not_compared_with_the_new_ones(run: Path) -> None:
    """After --redo, the renamed folder was said for good to be made from another stage than the run's."""
    shutil.copytree(run / "pretrain", run / "pretrain.old-1")
    old = {"preprocessed": "0" * 64}
    edit(run / "pretrain.old-1" / "manifest.json", lambda value: value.update(inputs=old), is_sealed_again=True)
    assert faults(verify(run)) == []
    flip(run / "pretrain.old-1" / "checkpoint" / "config.json", 0)  # its files still have hashes of their own
    assert [fault.file for fault in faults(verify(run))] == ["pretrain.old-1/checkpoint/config.json"]


def test_files_set_aside_or_left_by_a_killed_writer_are_not_faults(run: Path) -> None:
    checkpoints = run / "pretrain" / "checkpoints"
    for name in ("step-00000009.corrupt", ".step-00000010.partial"):
        shutil.copytree(checkpoints / "step-00000009", checkpoints / name)
        flip(checkpoints / name / "model.safetensors", 3)
    assert faults(verify(run)) == []


def test_a_folder_that_pretune_did_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        verify(tmp_path / "nothing")
    with pytest.raises(InputDataError, match=r"Neither .* has a manifest\.json"):
        verify(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputDataError, match="is a file"):
        verify(tmp_path / "file")


def notes_of(run: Path) -> list[str]:
    return [note for result in verify(run) for note in result.notes]


def test_lines_added_to_the_log_of_a_finished_stage_are_named(run: Path) -> None:
    with (run / "preprocess" / "events.jsonl").open("a") as log:
        log.write("more\n")
    [fault] = faults(verify(run))
    assert fault.file == "preprocess/events.jsonl"
    assert "added after the stage had finished" in fault.found


def test_the_lines_of_a_growing_log_are_counted(run: Path) -> None:
    log = run / "finetune" / "events.jsonl"
    log.write_text('{"event": "a"}\n{"event": \n{"event": "b"}\n{"ev')
    assert notes_of(run) == [
        "finetune/events.jsonl has no hash because the stage is not finished: 2 complete lines, 1 cut off when its "
        "writer was killed, and the last line is cut off; the next attempt will end it."
    ]


def test_every_unlisted_file_is_noted(run: Path) -> None:
    (run / "finetune" / "predictions").mkdir()
    (run / "finetune" / "predictions" / "seed-0.jsonl").write_text("{}\n")
    for number in range(5):
        (run / "pretrain" / f"mine-{number}.txt").write_text("x")
    (run / "finetune" / ".manifest.json.tmp").write_text("{")
    shutil.copytree(run / "pretrain" / "checkpoint", run / "pretrain" / "checkpoints" / "step-00000008.corrupt")
    assert faults(verify(run)) == []
    assert sorted(notes_of(run))[1:] == [
        "finetune/events.jsonl has no hash because the stage is not finished: 1 complete line.",
        "finetune/predictions/seed-0.jsonl: no hash yet because the stage is not finished.",
        "pretrain/checkpoints/step-00000008.corrupt: set aside as damaged.",
        "pretrain/mine-0.txt, pretrain/mine-1.txt, pretrain/mine-2.txt and 2 more: not in any manifest, so not "
        "verified.",
    ]
    assert sorted(notes_of(run))[0].startswith("finetune/.manifest.json.tmp: left by a killed writer")


def test_only_a_name_that_pretune_writes_is_of_a_killed_writer(run: Path) -> None:
    """A Mac's .DS_Store was, too; a file of Windows was not verified."""
    for name in (".DS_Store", "Thumbs.db", "._events.jsonl", ".notes.txt", ".train.partial"):
        (run / "pretrain" / name).write_text("x")
    (run / "pretrain" / ".git").mkdir()
    (run / "pretrain" / ".git" / "config").write_text("x")
    assert faults(verify(run)) == []
    assert [note for note in notes_of(run) if note.startswith("pretrain/")] == [
        "pretrain/.git, pretrain/.notes.txt: not in any manifest, so not verified.",
        "pretrain/.train.partial: left by a killed writer; the next attempt removes it.",
    ]


def edit(file: Path, change: Callable[[dict[str, Any]], object], *, is_sealed_again: bool = False) -> None:
    """Change a JSON file by hand, as someone would who wants it to pass."""
    value = json.loads(file.read_text())
    if is_sealed_again:
        del value["sha256"]
    change(value)
    write_json(file, sealed(value) if is_sealed_again else value)


SEALED = ["trace.json", "preprocess/manifest.json", "finetune/manifest.json", "pretrain/checkpoint/manifest.json"]


@pytest.mark.parametrize("change", [lambda value: value.pop("sha256"), lambda value: value.update(sha256=None)])
@pytest.mark.parametrize("name", SEALED)
def test_a_file_without_its_own_hash_is_a_fault(
    run: Path, name: str, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(run / name, change)
    assert name in [fault.file for fault in faults(verify(run))]


def test_a_recipe_without_its_seal_is_a_fault(run: Path) -> None:
    (run / "recipe.toml").write_text("seed = 0\n")
    assert [fault.file for fault in faults(verify(run))] == ["recipe.toml"]


def test_a_run_without_its_recipe_is_a_fault(run: Path) -> None:
    (run / "recipe.toml").unlink()
    assert [(fault.file, fault.found) for fault in faults(verify(run))] == [("recipe.toml", "it is missing")]


@pytest.mark.parametrize("sha256", [None, 7])
def test_an_output_whose_hash_is_none_is_a_fault(run: Path, sha256: object) -> None:
    for name, kind in (("preprocess", "outputs"), ("pretrain/checkpoint", "files")):
        edit(
            run / name / "manifest.json",
            lambda value, kind=kind: [entry.update(sha256=sha256) for entry in value[kind].values()],
            is_sealed_again=True,
        )
    names = [fault.file for fault in faults(verify(run))]
    assert {"preprocess/manifest.json", "pretrain/checkpoint/manifest.json"} <= set(names)


@pytest.mark.parametrize("is_sealed_again", [False, True])
def test_a_removed_entry_is_a_fault(run: Path, *, is_sealed_again: bool) -> None:
    edit(run / "preprocess" / "manifest.json", lambda value: value["outputs"].clear(), is_sealed_again=is_sealed_again)
    assert faults(verify(run))  # sealed again, it is not what pre-training was made from


def test_a_removed_file_is_a_fault_even_if_its_entry_is_removed_as_well(run: Path) -> None:
    (run / "preprocess" / "train-00000.tokens").unlink()
    edit(run / "preprocess" / "manifest.json", lambda value: value["outputs"].clear(), is_sealed_again=True)
    assert [fault.file for fault in faults(verify(run))] == ["pretrain/manifest.json"]


def test_a_log_whose_hash_is_removed_is_a_fault(run: Path) -> None:
    edit(run / "preprocess" / "manifest.json", lambda value: value.update(log=None), is_sealed_again=True)
    assert [fault.file for fault in faults(verify(run))] == ["preprocess/events.jsonl"]


@pytest.mark.parametrize("stage", ["preprocess", "pretrain"])
def test_a_removed_stage_is_a_fault(run: Path, stage: str) -> None:
    shutil.rmtree(run / stage)
    [fault] = faults(verify(run))
    assert fault.file == f"{stage}/manifest.json"
    assert fault.found.startswith("it is missing, and ")


def test_a_trace_of_another_model_is_named(run: Path) -> None:
    stage = open_stage(run / "other", "finetune", config={}, inputs={})
    stage.finish()
    shutil.rmtree(run / "finetune")
    (run / "other").rename(run / "finetune")
    [fault] = faults(verify(run))
    assert (fault.file, fault.found) == ("trace.json", "it traces another model than this run's")


def test_a_trace_from_before_there_were_labels_is_no_fault(run: Path) -> None:
    """`prepare` and `finetune` added them to the run, as its last lines advise."""
    fingerprint = read_manifest(run / "pretrain").fingerprint
    edit(run / "trace.json", lambda value: value.update(fingerprint=fingerprint), is_sealed_again=True)
    assert faults(verify(run)) == []


def test_a_trace_of_another_pre_trained_model_is_named_in_a_run_without_labels(run: Path) -> None:
    """Its masked words are traced with the pre-trained model; only a fine-tuned one was compared."""
    (run / "finetune" / "manifest.json").write_text("{")  # whose model is not known
    assert [fault.file for fault in faults(verify(run))] == ["finetune/manifest.json"]
    shutil.rmtree(run / "finetune")
    [fault] = faults(verify(run))
    assert (fault.file, fault.found) == ("trace.json", "it traces another model than this run's")
    fingerprint = read_manifest(run / "pretrain").fingerprint
    for named in (fingerprint, None):  # without a masked word, no model is named
        edit(run / "trace.json", lambda value, named=named: value.update(fingerprint=named), is_sealed_again=True)
        assert faults(verify(run)) == []
