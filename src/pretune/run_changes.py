"""The run that is already in a folder: whether a recipe asks for the same one, and which stages a change affects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pretune.errors import FolderInTheWayError, InputDataError
from pretune.model.base_folder import read_base_folder
from pretune.model.hub import is_hub_name
from pretune.recipe import Recipe, describe_recipe, find_changes, name_of_text, read_recipe, save_recipe
from pretune.runtime.atomic import temporary_of
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    RECIPE_NAME,
    is_text_seal_intact,
    read_manifest,
    read_manifest_if_any,
)
from pretune.runtime.stage_folder import LOCK_NAME, is_harmless, set_aside, take_lock
from pretune.settings import LATE
from pretune.text.labels.split import fingerprint_labels
from pretune.text.raw.text_stream import STDIN
from pretune.text.reading_report import Findings, counted
from pretune.text.sources.files import TextFile, find_files, fingerprint_files, take_long_to_fingerprint
from pretune.text.sources.public_data import Say


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


def claim_folder(folder: Path, recipe: Recipe, held: ExitStack, *, redo: bool, say: Say) -> FoundRun:
    """Lock the run's folder for as long as `held` is open, save the recipe there, if it differs from the saved one, and
    return what was found there. Raises what `refuse_other_run` raises, and FolderInTheWayError if another process is at
    work there."""
    _refuse_foreign_files(folder)  # before there is a lock in it
    held.enter_context(take_lock(folder, create=True))
    found = refuse_other_run(folder, recipe, redo=redo, say=say)
    announce_left_out(left_out := stages_left_out(folder, recipe, found), say)
    for stage in left_out:  # before the recipe is saved: if it stops here, the change is still seen
        set_aside(folder / stage)
    if not found.has_recipe:
        save_recipe(recipe, folder)
    return found


def refuse_other_run(folder: Path, recipe: Recipe, *, redo: bool, say: Say = lambda _sentence: None) -> FoundRun:
    """What is in the folder of a run. Raises FolderInTheWayError if it is another run or foreign files; with `redo`, a
    run with other settings is accepted. `say` is told before a corpus is compared that is long."""
    saved = folder / RECIPE_NAME
    if saved.is_file():
        before = read_recipe(saved)
        changes = {change.name: str(change) for change in find_changes(before, recipe)}
        is_same = not changes and is_text_seal_intact(saved.read_text(encoding="utf-8"))  # one that was edited is not
        for name in _FIRST_READER:
            is_read = _is_read_content(folder, name, before, recipe, say)
            if name in changes and is_read:
                del changes[name]  # it has only moved
            elif name not in changes and is_read is False:
                changes[name] = f"{name} (same path, other content)"
        begun = {name: _begun_stages(folder, name, before, recipe) for name in changes}
        affected = [name for name in changes if begun[name]]
        if affected and not redo:
            reason = _WHY_LABELS if any(_switches_labels(name, before, recipe) for name in affected) else ""
            raise FolderInTheWayError(
                f"{folder} already contains a run that differs in: {'; '.join(changes[name] for name in affected)}. "
                f"{reason}Choose another --out, or give --redo to rename the folders of the affected stages and run "
                "these stages again."
            )
        return FoundRun(has_recipe=is_same, affected=frozenset(stage for name in affected for stage in begun[name]))
    _refuse_foreign_files(folder)
    return FoundRun()


def changed_parts(folder: Path, recipe: Recipe) -> set[str]:
    """The inputs, and the stages with settings, that differ from the recipe in the folder of a run, if it has one; of
    inputs at the same path, the label files and the base are compared by their content."""
    saved = folder / RECIPE_NAME
    if not saved.is_file():
        return set()
    before = read_recipe(saved)
    changed = {change.name.partition(".")[0] for change in find_changes(before, recipe)}
    compared = ("labels", "test_labels", "base")
    return changed | {name for name in compared if _is_read_content(folder, name, before, recipe) is False}


def announce_left_out(stages: list[str], say: Say) -> None:
    """Say which stages are left out of a run that no longer has labels."""
    if stages:
        say(f"The run no longer has labels, so the folders of these stages are renamed: {', '.join(stages)}.")


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


def _refuse_foreign_files(folder: Path) -> None:
    if folder.is_file():
        raise FolderInTheWayError(f"{folder} is a file; choose a folder for --out.")
    if folder.is_dir() and not (folder / RECIPE_NAME).is_file() and (names := _foreign_names(folder)):
        raise FolderInTheWayError(
            f"{folder} contains files that are not a run ({', '.join(names[:3])}); choose another --out, or empty it."
        )


def _foreign_names(folder: Path) -> list[str]:
    """What is in a folder without a recipe, except what a writer of the recipe leaves when it is killed, and what the
    system adds."""
    own = (temporary_of(folder / RECIPE_NAME).name, LOCK_NAME)
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in own and not is_harmless(entry.name))


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


def _is_read_content(
    folder: Path, name: str, before: Recipe, now: Recipe, say: Say = lambda _sentence: None
) -> bool | None:
    """Whether an input of a run, wherever it is now, has the content that a stage has read; None if that is not known:
    no stage has read it, or it can be read only once, or only the hub could tell."""
    given, read = getattr(now, name), _inputs_read(folder / _FIRST_READER[name])
    if name == "corpus":
        return _is_read_corpus(before, now, read, say)
    if name == "base":
        is_known = given is not None and "tokenizer" in read and not (given == before.base and is_hub_name(given))
        return _is_same_base(folder, Path(given)) if is_known else None
    if not given or name not in read:
        return None
    found = fingerprint_files(find_files(given, Findings())) if name == "protect" else fingerprint_labels(Path(given))
    return found == read[name]


def _is_read_corpus(before: Recipe, now: Recipe, read: dict[str, str], say: Say) -> bool | None:
    if not read or not now.corpus:
        return None
    if len(before.corpus) != len(now.corpus):
        return False
    groups = [_find_comparable(path) for path in now.corpus]
    files = [file for group in groups for file in group or ()]
    if take_long_to_fingerprint(files):
        say(f"Comparing the corpus ({counted(len(files), 'file')}) with the one that the run has read.")
    names_before, names_now = (describe_recipe(recipe)["corpus"] for recipe in (before, now))  # however they are typed
    for number, (group, old, new) in enumerate(zip(groups, names_before, names_now, strict=True), 1):
        known = read.get(f"corpus {number}")
        is_same = old == new if group is None or known is None else fingerprint_files(group) == known
        if not is_same:
            return False
    return True


def _is_same_base(folder: Path, base: Path) -> bool:
    """Whether the stages that have begun have read this base, wherever it was."""
    found = read_base_folder(base)
    read = {**_inputs_read(folder / "preprocess"), **_inputs_read(folder / "pretrain")}
    return read.get("tokenizer") == found.tokenizer_hash and read.get("base", found.fingerprint) == found.fingerprint


def _inputs_read(stage: Path) -> dict[str, str]:
    """The fingerprints of the inputs that a stage has read, finished or not."""
    manifest = read_manifest_if_any(stage)
    return {} if manifest is None else manifest.inputs


def _find_comparable(path: str) -> list[TextFile] | None:
    """The files at a path of the corpus; None for standard input and pipes, which can be read only once, and for public
    data."""
    if path == STDIN or name_of_text(path) is not None:
        return None
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        return None
    return find_files([path], Findings())


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
