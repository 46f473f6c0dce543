"""A run is refused before anything is done if a stage that has begun depends on what has changed."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pretune import run_changes
from pretune.errors import FolderInTheWayError
from pretune.model.base_folder import read_base_folder
from pretune.recipe import Recipe, override, save_recipe
from pretune.run_changes import (
    FoundRun,
    changed_parts,
    claim_folder,
    refuse_other_run,
    stages_left_out,
    stages_to_redo,
)
from pretune.runtime.stage_folder import open_stage
from pretune.text.labels.split import fingerprint_labels
from pretune.text.reading_report import Findings
from pretune.text.sources import files
from pretune.text.sources.files import TextFile, find_files, fingerprint_files


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A run of a text, with a label file beside it, which it does not use yet."""
    (tmp_path / "corpus.txt").write_text("A text.\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text("text,label\na,b\n", encoding="utf-8")
    return Recipe(out=str(tmp_path / "run"), corpus=(str(tmp_path / "corpus.txt"),))


def begin(folder: Path, recipe: Recipe, *stages: str) -> None:
    folder.mkdir(exist_ok=True)
    for stage in stages:
        open_stage(folder / stage, stage, config={}, inputs={}).finish()
    save_recipe(recipe, folder)


def test_a_folder_that_is_missing_or_has_the_same_run_is_accepted(tmp_path: Path, recipe: Recipe) -> None:
    run = tmp_path / "run"
    assert refuse_other_run(run, recipe, redo=False) == FoundRun()
    begin(run, recipe, "collect")
    assert refuse_other_run(run, recipe, redo=False) == FoundRun(has_recipe=True)


def test_files_of_the_system_are_no_foreign_ones(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "run").mkdir()
    for name in (".DS_Store", ".directory", "desktop.ini"):
        (tmp_path / "run" / name).touch()
    assert refuse_other_run(tmp_path / "run", recipe, redo=False) == FoundRun()


def test_what_has_changed_is_known_by_input_and_stage(tmp_path: Path, recipe: Recipe) -> None:
    other = replace(override(recipe, {"pretrain": {"minutes": 3, "seed": 1}}), labels=str(tmp_path / "labels.csv"))
    assert changed_parts(tmp_path / "run", other) == set()  # there is no run yet
    begin(tmp_path / "run", recipe)
    assert changed_parts(tmp_path / "run", recipe) == set()
    assert changed_parts(tmp_path / "run", other) == {"labels", "pretrain"}


def test_a_path_with_spaces_is_one_change(tmp_path: Path, recipe: Recipe) -> None:
    """The name of what had changed was cut from the sentence about it."""
    begin(tmp_path / "run", recipe, "collect")
    (tmp_path / "my other.txt").write_text("Another text.\n", encoding="utf-8")
    other = replace(recipe, corpus=(str(tmp_path / "my other.txt"),))
    with pytest.raises(
        FolderInTheWayError, match=r"differs in: corpus \(was \['.*corpus.txt'\], now \['.*my other.txt"
    ):
        refuse_other_run(tmp_path / "run", other, redo=False)
    assert changed_parts(tmp_path / "run", other) == {"corpus"}


def test_labels_that_come_later_are_refused_before_anything_is_done(tmp_path: Path, recipe: Recipe) -> None:
    """The recipe was overwritten and the labels were split; then `collect` refused both commands, the old one too."""
    run, labelled = tmp_path / "run", replace(recipe, labels=str(tmp_path / "labels.csv"))
    begin(run, recipe, "collect", "preprocess", "pretrain")
    with pytest.raises(
        FolderInTheWayError, match=r"differs in: labels \(was None, now .*every stage depends .*--out, or give --redo"
    ):
        refuse_other_run(run, labelled, redo=False)
    assert refuse_other_run(run, labelled, redo=True).affected == {"collect"}
    begin(tmp_path / "other", labelled, "split", "collect")
    with pytest.raises(FolderInTheWayError, match=r"differs in: labels \(was '"):
        refuse_other_run(tmp_path / "other", recipe, redo=False)
    assert refuse_other_run(tmp_path / "other", recipe, redo=True).affected == {"split", "collect"}


def test_stages_that_need_labels_are_left_out_once_there_are_none(tmp_path: Path, recipe: Recipe) -> None:
    run, labelled = tmp_path / "run", replace(recipe, labels=str(tmp_path / "labels.csv"))
    begin(run, labelled, "split", "collect", "preprocess", "pretrain", "prepare")
    found = refuse_other_run(run, recipe, redo=True)
    assert stages_left_out(run, recipe, found) == ["split", "prepare"]
    assert stages_left_out(run, labelled, found) == []
    assert stages_left_out(run, recipe, FoundRun(has_recipe=True)) == []  # nothing is done again


def test_labels_may_be_added_until_a_stage_has_begun(tmp_path: Path, recipe: Recipe) -> None:
    begin(tmp_path / "run", recipe)
    labelled = replace(recipe, labels=str(tmp_path / "labels.csv"))
    assert refuse_other_run(tmp_path / "run", labelled, redo=False) == FoundRun()


def test_the_stages_from_the_first_affected_one_on_are_done_again(tmp_path: Path, recipe: Recipe) -> None:
    run, steps = tmp_path / "run", ("collect", "preprocess", "pretrain", "prepare")
    begin(run, recipe, *steps[:3])
    found = refuse_other_run(run, override(recipe, {"preprocess": {"vocab_size": 500}}), redo=True)
    assert stages_to_redo(run, steps, found, redo=True) == {"preprocess", "pretrain"}
    assert stages_to_redo(run, steps, FoundRun(has_recipe=True), redo=True) == set()


def begin_with_inputs(run: Path, recipe: Recipe, **inputs: dict[str, str]) -> None:
    """Begin a run whose stages have read inputs with these fingerprints."""
    run.mkdir()
    for stage, read in inputs.items():
        open_stage(run / stage, stage, config={}, inputs=read).finish()
    save_recipe(recipe, run)


def test_an_input_that_was_edited_in_place_is_a_change(tmp_path: Path, recipe: Recipe) -> None:
    """A dry run said that all stages are finished, and --redo replaced the split before it refused the new labels."""
    run, labels, corpus, protected = (tmp_path / name for name in ("run", "labels.csv", "corpus.txt", "test.txt"))
    protected.write_text("A test.\n", encoding="utf-8")
    recipe = replace(recipe, labels=str(labels), protect=(str(protected),))
    texts = {path: fingerprint_files(find_files([path], Findings())) for path in (corpus, protected)}
    begin_with_inputs(
        run,
        recipe,
        split={"labels": fingerprint_labels(labels)},
        collect={"corpus 1": texts[corpus]},
        preprocess={"protect": texts[protected]},
    )
    assert refuse_other_run(run, recipe, redo=False) == FoundRun(has_recipe=True)
    for path, name, stage in (
        (labels, "labels", "split"),
        (corpus, "corpus", "collect"),
        (protected, "protect", "preprocess"),
    ):
        before = path.read_bytes()
        path.write_bytes(before.upper())
        with pytest.raises(FolderInTheWayError, match=rf"differs in: {name} \(same path, other content\)\. Choose"):
            refuse_other_run(run, recipe, redo=False)
        assert refuse_other_run(run, recipe, redo=True) == FoundRun(has_recipe=True, affected=frozenset({stage}))
        assert changed_parts(run, recipe) == ({"labels"} if path == labels else set())
        path.write_bytes(before)
    assert refuse_other_run(run, recipe, redo=False) == FoundRun(has_recipe=True)


def test_a_long_corpus_is_compared_once_and_only_after_saying_so(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was resumed hashed its corpus twice before it said anything, and above 200,000 files a third time."""
    read = fingerprint_files(find_files(recipe.corpus, Findings()))
    begin_with_inputs(tmp_path / "run", recipe, collect={"corpus 1": read})
    done = list[str]()

    def compute(found: list[TextFile]) -> str:
        done.append("computed")
        return fingerprint_files(found)

    monkeypatch.setattr(run_changes, "fingerprint_files", compute)
    for name, limit, sentences in (
        ("FILES_WORTH_A_NOTICE", 2, []),
        ("BYTES_WORTH_A_NOTICE", 8, ["Comparing the corpus (1 file) with the one that the run has read."]),
    ):
        monkeypatch.setattr(files, name, limit)
        with ExitStack() as held:
            found = claim_folder(tmp_path / "run", recipe, held, redo=False, say=done.append)
        assert (found, done) == (FoundRun(has_recipe=True), [*sentences, "computed"])
        done.clear()


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path, recipe: Recipe) -> None:
    latest, run = tmp_path / "latest.txt", tmp_path / "run"
    latest.symlink_to(tmp_path / "corpus.txt")
    recipe = replace(recipe, corpus=(str(latest),))
    begin_with_inputs(run, recipe, collect={"corpus 1": fingerprint_files(find_files([latest], Findings()))})
    assert refuse_other_run(run, recipe, redo=False) == FoundRun(has_recipe=True)
    (tmp_path / "newer.txt").write_text("A newer text.\n", encoding="utf-8")
    latest.unlink()
    latest.symlink_to(tmp_path / "newer.txt")
    with pytest.raises(FolderInTheWayError, match=r"differs in: corpus \(same path, other content\)"):
        refuse_other_run(run, recipe, redo=False)


def test_what_can_be_read_only_once_is_not_compared(tmp_path: Path, recipe: Recipe) -> None:
    os.mkfifo(tmp_path / "pipe")
    recipe = replace(recipe, corpus=("-", str(tmp_path / "pipe"), "public:imdb"))
    begin_with_inputs(tmp_path / "run", recipe, collect={f"corpus {number}": "abc" for number in (1, 2, 3)})
    assert refuse_other_run(tmp_path / "run", recipe, redo=False) == FoundRun(has_recipe=True)


def test_what_cannot_be_compared_may_be_typed_in_another_way(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command again was refused: the saved recipe has public:imdb, and the whole path of the pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    recipe = replace(recipe, corpus=("imdb", "pipe"))
    begin_with_inputs(tmp_path / "run", recipe, collect={f"corpus {number}": "abc" for number in (1, 2)})
    assert refuse_other_run(tmp_path / "run", recipe, redo=False) == FoundRun(has_recipe=True)
    with pytest.raises(FolderInTheWayError, match=r"differs in: corpus \(was \['public:imdb', .* now \['public:imdb'"):
        refuse_other_run(tmp_path / "run", replace(recipe, corpus=("imdb", "-")), redo=False)


def test_a_base_that_was_trained_further_is_a_change(tmp_path: Path, recipe: Recipe, run_folder: Path) -> None:
    base = shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path / "base")
    recipe, found = replace(recipe, base=str(base)), read_base_folder(base)
    read = {"preprocess": {"tokenizer": found.tokenizer_hash}, "pretrain": {"base": found.fingerprint}}
    begin_with_inputs(tmp_path / "run", recipe, **read)
    assert changed_parts(tmp_path / "run", recipe) == set()
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    assert changed_parts(tmp_path / "run", recipe) == {"base"}
    with pytest.raises(FolderInTheWayError, match=r"differs in: base \(same path, other content\)"):
        refuse_other_run(tmp_path / "run", recipe, redo=False)
