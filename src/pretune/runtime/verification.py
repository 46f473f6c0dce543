"""Verify that a run, a stage folder or a checkpoint is as it was written: each file by its hash, or why it has none."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, PretuneError
from pretune.runtime.atomic import is_temporary, read_committed
from pretune.runtime.events import LOG_NAME, STAGE_ORDER
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    RECIPE_NAME,
    REPORT_NAME,
    TRACE_NAME,
    Manifest,
    describe_file,
    is_seal_intact,
    is_text_seal_intact,
    read_manifest_if_any,
)
from pretune.runtime.stage_folder import LOCK_NAME, WORK_NAME, is_harmless

_WEIGHTS_ENDING = ".safetensors"
_ASIDE_ENDING = ".corrupt"
_MAX_NAMES = 3  # in one note
_CORPUS = "corpus"  # of a student; if the recipe of the run asks for none, --corpus may have named any folder
# The names that stages give to their inputs, and the stage of the same run that wrote them.
_WRITTEN_BY = {
    "collected": "collect",
    "preprocessed": "preprocess",
    _CORPUS: "preprocess",
    "pretrained": "pretrain",
    "split": "split",
    "prepared": "prepare",
    "finetuned": "finetune",
    "scratch": "scratch",
}
_MODEL_MANIFEST = f"checkpoint/{MANIFEST_NAME}"  # of a stage; its hash identifies the model
_RESTORE = "restore it from a copy"
_RERUN = "rerun the command that made it"
_REWRITE_TRACE = f"{_RESTORE}, or remove it and rerun the command of the run, which writes it again"
_RESUME = f"{_RESTORE}, or rerun the command: it sets the checkpoint aside and resumes from the one before"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that is not as it was written: what was found, what was expected, and what to do."""

    file: str
    found: str
    expected: str
    advice: str


@dataclass(kw_only=True)
class Verified:
    """The result for one folder that has a manifest, or should have one: what was compared, and what differs."""

    path: str
    kind: str  # a stage's name, "run", "checkpoint" (with training state), "model" or "unknown"
    status: str = "finished"  # or "running": an interrupted stage, which has no hashes yet
    num_files: int = 0
    size_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # sentences about the files that have no hash

    @property
    def is_whole(self) -> bool:
        return not self.faults


def verify(folder: Path) -> list[Verified]:
    """Verify every folder that has a manifest in and below this one; the results are sorted by path.

    Each file is read once. Raises InputDataError if pretune wrote nothing here.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise InputDataError(f"{folder} {found}; expected the folder of a run, of a stage or of a checkpoint.")
    reader, folders = _Reader(folder), _folders(folder)
    results = [reader.read(path) for path in folders if (path / MANIFEST_NAME).is_file()]
    results += reader.find_unlisted(folders)
    if not results:
        raise InputDataError(
            f"Neither {folder} nor any folder in it has a {MANIFEST_NAME}; expected the folder of a run, of a stage or "
            "of a checkpoint."
        )
    reader.compare_inputs(results)
    if (folder / RECIPE_NAME).is_file() or (folder / TRACE_NAME).is_file():
        results.append(reader.read_run())
    reader.note_others(results)
    return sorted(results, key=lambda result: result.path)


class _Reader:
    """Compares files with manifests, and keeps track of the files that a manifest lists."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.listed: set[Path] = set()
        self.stages: dict[str, Manifest] = {}  # those of the run itself, by folder name

    def read(self, path: Path) -> Verified:
        """Compare a folder with its manifest."""
        try:
            manifest = read_manifest_if_any(path) if _is_of_stage(path) else None
            committed = read_committed(path) if manifest is None else None
        except PretuneError as error:
            return self._report_unreadable(path, str(error))
        if committed is not None:
            is_checkpoint = any(name.startswith("training_state/") for name in committed["files"])
            result = Verified(path=self._name(path), kind="checkpoint" if is_checkpoint else "model")
            advice = _RESUME if is_checkpoint else _remake(path.parent if _is_of_stage(path.parent) else path)
            return self._compare(path, result, committed["files"], advice)
        assert manifest is not None
        result = Verified(path=self._name(path), kind=manifest.stage, status=manifest.status)
        if path.parent == self.top and path.name in STAGE_ORDER:  # not one that --redo has renamed
            self.stages[path.name] = manifest
        self._compare(path, result, manifest.outputs, _remake(path))
        self._check_log(path / LOG_NAME, manifest.log, result)
        return result

    def read_run(self) -> Verified:
        """Check the files of a run that belong to no stage; each contains its own hash."""
        result = Verified(path=".", kind="run")
        recipe, trace = self.top / RECIPE_NAME, self.top / TRACE_NAME
        self._check_sealed(recipe, is_text_seal_intact(_read_text(recipe)), result, _RESTORE)
        if trace.is_file():
            content = _read_json(trace)
            is_intact = content is not None and is_seal_intact(content)
            self._check_sealed(trace, is_intact, result, _REWRITE_TRACE)
            if is_intact and content is not None:
                self._check_traced(content.get("fingerprint"), result)
        return result

    def _check_traced(self, traced: Any, result: Verified) -> None:
        """Compare the model that a trace names with those of the run: the fine-tuned one or, if it was traced before
        there were labels, the pre-trained one. A trace without traced predictions names none."""
        source = self.stages.get("finetune" if (self.top / "finetune").exists() else "pretrain")
        if source is None or source.status != "finished":
            return
        known = [self.stages[name].fingerprint for name in ("pretrain", "finetune") if name in self.stages]
        if traced is None or traced in known:
            return
        found, expected = "it traces another model than this run's", f"that of {source.fingerprint[:12]}"
        result.faults.append(Fault(file=TRACE_NAME, found=found, expected=expected, advice=_REWRITE_TRACE))

    def _check_sealed(self, file: Path, is_intact: bool, result: Verified, advice: str) -> None:
        """Add a file that contains its own hash to the result."""
        self.listed.add(file)
        result.num_files += 1
        if is_intact:
            result.size_bytes += file.stat().st_size
            return
        found = "it was altered after it was written, or its hash was removed" if file.is_file() else "it is missing"
        fault = Fault(file=self._name(file), found=found, expected="contents that match its own sha256", advice=advice)
        result.faults.append(fault)

    def _check_log(self, file: Path, described: dict[str, Any] | None, result: Verified) -> None:
        """Compare the log of a finished stage with its hash; count the lines of a log that is still growing."""
        self.listed.add(file)
        if described is not None:
            result.num_files += 1
            difference = find_difference(file, described)
            if difference is None:
                result.size_bytes += described["size_bytes"]
                return
            if file.is_file() and _hash_beginning(file, described["size_bytes"]) == described["sha256"]:
                difference["found"] += ", the last of which were added after the stage had finished"
            result.faults.append(Fault(file=self._name(file), advice=_RESTORE, **difference))
        elif file.is_file() and result.status != "running":
            fault = {"found": "the manifest has no hash for it", "expected": f"{MANIFEST_NAME} with its hash"}
            result.faults.append(Fault(file=self._name(file), advice=_RESTORE, **fault))
        elif file.is_file():
            reason = "because the stage is not finished"
            result.notes.append(f"{self._name(file)} has no hash {reason}: {_describe_lines(file)}.")

    def note_others(self, results: list[Verified]) -> None:
        """Note what each unlisted file is; files outside all our folders are ignored."""
        by_folder = {self.top / result.path: result for result in results}
        kinds: dict[tuple[Path, str], list[str]] = {}
        for path in sorted(self.top.rglob("*")):
            owner = next((folder for folder in [path, *path.parents] if folder in by_folder), None)
            if owner is None or path in self.listed or path.name == LOCK_NAME:
                continue
            kind = _kind_of_other(path, self.top, is_running=by_folder[owner].status == "running")
            if kind is not None:
                kinds.setdefault((owner, kind), []).append(self._name(path))
        for (owner, kind), names in kinds.items():
            more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
            by_folder[owner].notes.append(f"{', '.join(names[:_MAX_NAMES])}{more}: {kind}.")

    def _compare(self, path: Path, result: Verified, files: dict[str, Any], advice: str) -> Verified:
        self.listed.add(path / MANIFEST_NAME)
        for name, described in files.items():
            file = path / name
            self.listed.add(file)
            if file.parent != path and file.name != MANIFEST_NAME and (file.parent / MANIFEST_NAME).is_file():
                continue  # its own folder has a manifest, which lists it
            result.num_files += 1
            difference = find_difference(file, described)
            if difference is None:
                result.size_bytes += described["size_bytes"]
            else:
                result.faults.append(Fault(file=self._name(file), advice=advice, **difference))
        return result

    def find_unlisted(self, folders: list[Path]) -> Iterator[Verified]:
        """Folders with weights or a log but without a manifest, so that they cannot be verified."""
        for path in folders:
            files = sorted({*path.glob(f"*{_WEIGHTS_ENDING}"), *path.glob(LOG_NAME)} - self.listed)
            if files and not (path / MANIFEST_NAME).is_file():
                is_stage = files[0].name == LOG_NAME
                result = Verified(path=self._name(path), kind="unknown" if is_stage else "model")
                for file in files:
                    fault = {"found": "no manifest lists it", "expected": f"{MANIFEST_NAME} with its hash"}
                    result.faults.append(Fault(file=self._name(file), advice=_RESTORE, **fault))
                yield result

    def compare_inputs(self, results: list[Verified]) -> None:
        """Check that each stage of a run was made from the other stages in the run, and that these exist."""
        is_run = (self.top / RECIPE_NAME).is_file() or (self.top / TRACE_NAME).is_file()
        wants_student = _wants_student(self.top / RECIPE_NAME)
        for name, manifest in self.stages.items():
            [result] = [result for result in results if result.path == name]
            for input_name, fingerprint in manifest.inputs.items():
                folder = _WRITTEN_BY.get(input_name, "")
                source = self.stages.get(folder)
                if not folder or not is_run or (input_name == _CORPUS and not wants_student):
                    continue
                path = self.top / folder
                if source is None and not (path / MANIFEST_NAME).is_file():
                    result.faults.append(
                        Fault(
                            file=f"{folder}/{MANIFEST_NAME}",
                            found=f"it is missing, and {name} was made from it",
                            expected=f"the {folder} stage of this run",
                            advice=_remake(path) if path.exists() else f"{_RESTORE}, or {_RERUN}",
                        )
                    )
                if source is None or source.status != "finished":
                    continue
                model = source.outputs.get(_MODEL_MANIFEST, {}).get("sha256")
                if fingerprint not in (source.fingerprint, model):
                    result.faults.append(
                        Fault(
                            file=f"{name}/{MANIFEST_NAME}",
                            found=f"it was made from another {source.stage} stage than this run's",
                            expected=f"the {source.stage} stage with fingerprint {fingerprint[:12]}",
                            advice="restore that folder from a copy, or rerun the command of the run with --redo",
                        )
                    )

    def _report_unreadable(self, path: Path, sentence: str) -> Verified:
        result = Verified(path=self._name(path), kind="unknown", num_files=1)
        file = self._name(path / MANIFEST_NAME)
        expected = "a manifest written by pretune"
        result.faults.append(Fault(file=file, found=sentence, expected=expected, advice=_RESTORE))
        self.listed |= {file for file in path.rglob("*") if file.is_file()}  # nothing more is known about them
        return result

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.top))


def _remake(stage: Path) -> str:
    """The advice for a damaged file of a stage, which no command writes again while the stage counts as finished."""
    return f"{_RESTORE}, or move {stage} away and {_RERUN}"


def find_difference(file: Path, described: dict[str, Any]) -> dict[str, str] | None:
    """How a file differs from its description in size or else sha256 (`found`, `expected`); None if it does not."""
    size, sha256 = described["size_bytes"], described["sha256"]
    if not file.is_file():
        return {"found": "it is missing", "expected": f"{size:,} bytes"}
    try:
        if file.stat().st_size != size:
            return {"found": f"{file.stat().st_size:,} bytes", "expected": f"{size:,} bytes"}
        found = describe_file(file)["sha256"]
    except OSError as error:
        return {"found": f"it cannot be read ({error.strerror})", "expected": f"{size:,} bytes"}
    return None if found == sha256 else {"found": f"sha256 {found[:12]}", "expected": f"sha256 {sha256[:12]}"}


def _hash_beginning(file: Path, size: int) -> str | None:
    """The sha256 of the first `size` bytes of a file; None if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(size)).hexdigest()
    except OSError:
        return None


def _describe_lines(file: Path) -> str:
    """How many lines of a log are complete, and whether the last one is."""
    try:
        *lines, rest = file.read_bytes().split(b"\n")
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    num_torn = sum(not _is_json(line) for line in lines)
    num_whole = len(lines) - num_torn
    text = f"{num_whole:,} complete {'line' if num_whole == 1 else 'lines'}"
    text += f", {num_torn:,} cut off when its writer was killed" if num_torn else ""
    return text + (", and the last line is cut off; the next attempt will end it" if rest else "")


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def _kind_of_other(path: Path, top: Path, *, is_running: bool) -> str | None:
    """What an unlisted file or folder is; None if it is nobody's, or if a folder that contains it is reported."""
    names = path.relative_to(top).parts
    outer = [name for name in names[:-1] if name.startswith(".") or name.endswith(_ASIDE_ENDING)]
    if outer or is_harmless(path.name):
        return None
    if path.name.endswith(_ASIDE_ENDING):
        return "set aside as damaged"
    if is_temporary(path.name) or path.name == WORK_NAME:
        return "left by a killed writer; the next attempt removes it"
    if path.name.startswith("."):
        return "not in any manifest, so not verified"
    if path.is_dir():
        return None
    if path == top / REPORT_NAME:
        return "the page of this run, not verified: `pretune report` makes it again from the other files"
    return "no hash yet because the stage is not finished" if is_running else "not in any manifest, so not verified"


def _is_of_stage(path: Path) -> bool:
    """Whether a folder has the manifest of a stage, rather than of a folder committed as a whole."""
    return "outputs" in (_read_json(path / MANIFEST_NAME) or {})


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    return content if isinstance(content, dict) else None


def _wants_student(recipe: Path) -> bool:
    try:
        return bool(tomllib.loads(_read_text(recipe)).get("finetune", {}).get("self_train"))
    except (ValueError, AttributeError):
        return False


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _folders(top: Path) -> list[Path]:
    """This folder and those below it, except hidden ones, as of a killed writer, and what was set aside as damaged."""
    found = []
    for name, below, _ in os.walk(top):
        below[:] = sorted(each for each in below if not each.startswith(".") and not each.endswith(_ASIDE_ENDING))
        found.append(Path(name))
    return found
