"""Whether a run, a stage folder or a checkpoint is as it was written: every file that a manifest lists, by its hash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, PretuneError
from pretune.runtime.artifacts import MANIFEST_NAME, Manifest, describe_file, read_manifest_if_any
from pretune.runtime.commit import read_committed

_RECIPE_NAME = "recipe.toml"
_WEIGHTS_ENDING = ".safetensors"
_ASIDE_ENDING = ".corrupt"
# What a stage calls its inputs, and the stage of the same run that wrote them.
_WRITTEN_BY = {
    "collected": "collect",
    "preprocessed": "preprocess",
    "pretrained": "pretrain",
    "prepared": "prepare",
    "finetuned": "finetune",
    "scratch": "scratch",
}
_MODEL_MANIFEST = f"checkpoint/{MANIFEST_NAME}"  # of a stage, whose hash stands for the model
_RESTORE = "restore it from a copy"
_MAKE_AGAIN = f"{_RESTORE}, or give the command that made it again with --redo"
_TRAINS_ON = f"{_RESTORE}, or give the command again: it puts the checkpoint aside and goes on from the one before"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that is not as it was written, with what was found, what was expected, and what to do."""

    file: str
    found: str
    expected: str
    advice: str


@dataclass(kw_only=True)
class Verified:
    """One folder that has a manifest, or should have one: what was compared, and what differs."""

    path: str
    kind: str  # the name of a stage, "checkpoint" with what training needs, or "model"
    status: str = "finished"  # or "running": a stage that was interrupted, and has no hashes yet
    num_files: int = 0
    size_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.faults


def verify(folder: Path) -> list[Verified]:
    """Every folder with a manifest in and below this one, in order. Each file is read once.

    Raises InputDataError where there is nothing that pretune wrote.
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
            f"{folder} has no {MANIFEST_NAME}, nor has a folder in it; expected the folder of a run, a stage or a "
            "checkpoint."
        )
    reader.compare_inputs(results)
    return sorted(results, key=lambda result: result.path)


class _Reader:
    """Compares files with manifests, and remembers which files a manifest lists."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.listed: set[Path] = set()
        self.stages: dict[str, Manifest] = {}  # those of the run itself, by the name of their folder

    def read(self, path: Path) -> Verified:
        """What one folder's manifest says against what is there."""
        try:
            manifest = read_manifest_if_any(path) if _is_of_stage(path) else None
            committed = read_committed(path) if manifest is None else None
        except PretuneError as error:
            return self._unreadable(path, str(error))
        if committed is not None:
            is_checkpoint = any(name.startswith("training_state/") for name in committed["files"])
            result = Verified(path=self._name(path), kind="checkpoint" if is_checkpoint else "model")
            advice = _TRAINS_ON if is_checkpoint else _MAKE_AGAIN
            return self._compare(path, result, committed["files"], advice)
        assert manifest is not None
        result = Verified(path=self._name(path), kind=manifest.stage, status=manifest.status)
        if path.parent == self.top:
            self.stages[path.name] = manifest
        return self._compare(path, result, manifest.outputs, _MAKE_AGAIN)

    def _compare(self, path: Path, result: Verified, files: dict[str, Any], advice: str) -> Verified:
        self.listed.add(path / MANIFEST_NAME)
        for name, described in files.items():
            file = path / name
            self.listed.add(file)
            if file.parent != path and file.name != MANIFEST_NAME and (file.parent / MANIFEST_NAME).is_file():
                continue  # the folder that it lies in has a manifest of its own, which lists it
            result.num_files += 1
            difference = find_difference(file, described)
            if difference is None:
                result.size_bytes += described["size_bytes"]
            else:
                result.faults.append(Fault(file=self._name(file), advice=advice, **difference))
        return result

    def find_unlisted(self, folders: list[Path]) -> Iterator[Verified]:
        """Folders with weights that no manifest lists, so that nothing says whether they are whole."""
        for path in folders:
            files = sorted(set(path.glob(f"*{_WEIGHTS_ENDING}")) - self.listed)
            if files and not (path / MANIFEST_NAME).is_file():
                result = Verified(path=self._name(path), kind="model")
                for file in files:
                    fault = {"found": "no manifest lists it", "expected": f"{MANIFEST_NAME} with its hash"}
                    result.faults.append(Fault(file=self._name(file), advice=_RESTORE, **fault))
                yield result

    def compare_inputs(self, results: list[Verified]) -> None:
        """Whether each stage of a run was made from what lies beside it."""
        for name, manifest in self.stages.items():
            [result] = [result for result in results if result.path == name]
            for word, fingerprint in manifest.inputs.items():
                source = self.stages.get(_WRITTEN_BY.get(word, ""))
                if source is None or source.status != "finished" or not (self.top / _RECIPE_NAME).is_file():
                    continue
                model = source.outputs.get(_MODEL_MANIFEST, {}).get("sha256")
                if fingerprint not in (source.fingerprint, model):
                    result.faults.append(
                        Fault(
                            file=f"{name}/{MANIFEST_NAME}",
                            found=f"it was made from another {source.stage} than the one beside it",
                            expected=f"the {source.stage} with fingerprint {fingerprint[:12]}",
                            advice="restore that folder from a copy, or give the command of the run again with --redo",
                        )
                    )

    def _unreadable(self, path: Path, sentence: str) -> Verified:
        result = Verified(path=self._name(path), kind="unknown", num_files=1)
        file = self._name(path / MANIFEST_NAME)
        expected = "a manifest as pretune writes it"
        result.faults.append(Fault(file=file, found=sentence, expected=expected, advice=_RESTORE))
        self.listed |= {file for file in path.rglob("*") if file.is_file()}  # nothing more can be said of them
        return result

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.top))


def find_difference(file: Path, described: dict[str, Any]) -> dict[str, str] | None:
    """What was found and what was expected of a file, by size and then by sha256; None where it is as described."""
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


def _is_of_stage(path: Path) -> bool:
    """Whether a manifest is one of a stage, and not of a folder that was committed at once."""
    try:
        told = json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return False
    return isinstance(told, dict) and "outputs" in told


def _folders(top: Path) -> list[Path]:
    """This folder and those below it; not what a killed writer left, and not what was put aside as damaged."""
    found = []
    for name, below, _ in os.walk(top):
        below[:] = sorted(each for each in below if not each.startswith(".") and not each.endswith(_ASIDE_ENDING))
        found.append(Path(name))
    return found
