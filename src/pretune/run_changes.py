"""The run that is already in a folder: whether a recipe asks for the same one, and which stages a change affects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretune.errors import FolderInTheWayError, InputDataError
from pretune.model.base_folder import read_base_folder
from pretune.recipe import Recipe, find_changes, name_of_text, read_recipe
from pretune.runtime.atomic import temporary_of
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    RECIPE_NAME,
    is_text_seal_intact,
    read_manifest,
    read_manifest_if_any,
)
from pretune.runtime.stage_folder import LOCK_NAME
from pretune.settings import LATE
from pretune.text.labels.split import fingerprint_labels
from pretune.text.raw.text_stream import STDIN
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files, fingerprint_files


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """What a run finds in its folder: whether the recipe there is its own and sealed, and the stages that have begun
    and are affected by a changed setting."""

    has_recipe: bool = False
    affected: frozenset[str] = frozenset()


def stage_status(folder: Path) -> str:
    """`finished`, `running` (interrupted, or at work) or `missing`."""
    if not (folder / MANIFEST_NAME).is_file():
        return "missing"
    try:
        return read_manifest(folder).status
    except InputDataError:
        return "running"


def refuse_other_run(folder: Path, recipe: Recipe, *, redo: bool) -> FoundRun:
    """What is in the folder of a run. Raises FolderInTheWayError if it is another run or foreign files; with `redo`, a
    run with other settings is accepted."""
    saved = folder / RECIPE_NAME
    if saved.is_file():
        before = read_recipe(saved)
        if not find_changes(before, recipe):  # one that was edited is sealed again
            return FoundRun(has_recipe=is_text_seal_intact(saved.read_text(encoding="utf-8")))
        changes = find_changes(before, recipe, unchanged=_moved_inputs(folder, before, recipe))
        begun = {change: _begun_stages(folder, change.name, before, recipe) for change in changes}
        affected = [change for change in changes if begun[change]]
        if affected and not redo:
            reason = _WHY_LABELS if any(_switches_labels(change.name, before, recipe) for change in affected) else ""
            raise FolderInTheWayError(
                f"{folder} already contains a run that differs in: {'; '.join(map(str, affected))}. {reason}Choose "
                "another --out, or give --redo to rename the folders of the affected stages and run these stages again."
            )
        return FoundRun(affected=frozenset(stage for stages in begun.values() for stage in stages))
    if folder.is_file():
        raise FolderInTheWayError(f"{folder} is a file; choose a folder for --out.")
    if folder.is_dir() and (names := _foreign_names(folder)):
        raise FolderInTheWayError(
            f"{folder} contains files that are not a run ({', '.join(names[:3])}); choose another --out, or empty it."
        )
    return FoundRun()


def changed_parts(folder: Path, recipe: Recipe) -> set[str]:
    """The inputs, and the stages with settings, that differ from the recipe in the folder of a run, if it has one."""
    saved = folder / RECIPE_NAME
    changes = find_changes(read_recipe(saved), recipe) if saved.is_file() else []
    return {change.name.partition(".")[0] for change in changes}


def stages_to_redo(folder: Path, stages: Sequence[str], found: FoundRun, *, redo: bool) -> set[str]:
    """Which of the stages have begun and are to be done again: those that a change affects, and all that follow.

    With `redo`, these include the stages after an unfinished one, which a stopped `redo` leaves behind.
    """
    again: set[str] = set()
    follows = False
    for name in stages:
        status = stage_status(folder / name)
        if status != "missing" and (follows or name in found.affected):
            again.add(name)
        follows |= name in again or (redo and status != "finished")
    return again


def stages_left_out(folder: Path, recipe: Recipe, found: FoundRun) -> list[str]:
    """The begun stages that need labels, if the run no longer has labels and other stages are done again: their folders
    would still show the old classifier, and `predict` would use it."""
    if recipe.has_labels or not found.affected:
        return []
    return [stage for stage in _NEED_LABELS if stage_status(folder / stage) != "missing"]


def _foreign_names(folder: Path) -> list[str]:
    """What is in a folder without a recipe, except what a writer of the recipe leaves when it is killed."""
    return sorted({entry.name for entry in folder.iterdir()} - {temporary_of(folder / RECIPE_NAME).name, LOCK_NAME})


_NEED_LABELS = ("split", "prepare", "finetune", "scratch", "compare")
_WHY_LABELS = (
    "The labels decide what is pre-trained on (their training texts are added, their test texts left out), so every "
    "stage depends on them. "
)
# The first stage that reads each input of the run.
_FIRST_READER = {
    "corpus": "collect",
    "labels": "split",
    "test_labels": "split",
    "base": "preprocess",
    "protect": "preprocess",
}


def _moved_inputs(folder: Path, before: Recipe, now: Recipe) -> set[str]:
    """The inputs whose paths have changed, but not the content that the stages have read."""
    moved = set()
    for name in ("labels", "test_labels"):
        path, read = getattr(now, name), _inputs_read(folder / _FIRST_READER[name]).get(name)
        if path is not None and fingerprint_labels(Path(path)) == read:
            moved.add(name)
    if len(before.corpus) == len(now.corpus):
        read_corpus = _inputs_read(folder / _FIRST_READER["corpus"])
        pairs = enumerate(zip(before.corpus, now.corpus, strict=True), 1)
        if all(old == new or _fingerprint(new) == read_corpus.get(f"corpus {n}") for n, (old, new) in pairs):
            moved.add("corpus")
    if now.base is not None and _is_same_base(folder, Path(now.base)):
        moved.add("base")
    protected = _inputs_read(folder / _FIRST_READER["protect"]).get("protect")
    if now.protect and fingerprint_files(find_files(now.protect, Findings())) == protected:
        moved.add("protect")
    return moved


def _is_same_base(folder: Path, base: Path) -> bool:
    """Whether the stages that have begun have read this base, wherever it was."""
    found = read_base_folder(base)
    read = {**_inputs_read(folder / "preprocess"), **_inputs_read(folder / "pretrain")}
    return read.get("tokenizer") == found.tokenizer_hash and read.get("base", found.fingerprint) == found.fingerprint


def _inputs_read(stage: Path) -> dict[str, str]:
    """The fingerprints of the inputs that a stage has read, finished or not."""
    manifest = read_manifest_if_any(stage)
    return {} if manifest is None else manifest.inputs


def _fingerprint(path: str) -> str | None:
    """The fingerprint of the files at a path of the corpus; None for standard input and for public data."""
    is_path = path != STDIN and name_of_text(path) is None
    return fingerprint_files(find_files([path], Findings())) if is_path else None


def _begun_stages(folder: Path, name: str, before: Recipe, now: Recipe) -> set[str]:
    """The first stages that a changed setting affects, if they have begun; until then, a setting may be changed freely.
    One that acts after all training may be changed until the stage is finished."""
    section, _, setting = name.partition(".")
    if setting in LATE:
        return {section} if stage_status(folder / section) == "finished" else set()
    stages = {_FIRST_READER.get(section, section)}
    if _switches_labels(name, before, now):
        stages.add("collect")
    return {stage for stage in stages if (folder / stage).exists()}


def _switches_labels(name: str, before: Recipe, now: Recipe) -> bool:
    """Whether a run without a label file gets one, or loses it; `collect` reads another only through `split`."""
    return name == "labels" and None in (before.labels, now.labels)
