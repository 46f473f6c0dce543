"""A stage folder: a manifest that says what it is, from what and with which settings, beside what came out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from pretune.errors import (
    FolderInTheWayError,
    InputDataError,
    ModelError,
    PretuneError,
    StageDiffersError,
    UsageError,
)
from pretune.runtime.events import LOG_NAME, EventLog
from pretune.runtime.memory import begin_peak
from pretune.version import VERSION

MANIFEST_NAME = "manifest.json"
RECIPE_NAME = "recipe.toml"  # in a run: every setting, resolved
TRACE_NAME = "trace.json"  # in a run: the prediction trace of its example
LOCK_NAME = ".lock"
OWN_HASH = "sha256"  # the key in a JSON file of ours under which the hash of everything else in it stands
_TEXT_SEAL = f"# {OWN_HASH} of the lines above: "
_NOT_OUTPUT = {MANIFEST_NAME, LOCK_NAME, LOG_NAME, f".{MANIFEST_NAME}.tmp"}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a stage folder says of itself. `outputs` maps a relative path to its size and sha256; `log` has those of the
    event log, which holds times and so is no part of the fingerprint."""

    stage: str
    status: str  # "running" until everything is written, then "finished"
    version: str
    config: dict[str, Any]
    inputs: dict[str, str]  # what it was made from, by name, as a fingerprint
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)  # small facts the next stage or a reader needs
    log: dict[str, Any] | None = None  # None until everything is written, and of a stage that logged nothing

    @property
    def fingerprint(self) -> str:
        """A hash of everything that came out: the identity of this folder as an input of the next stage."""
        return hash_json({name: output["sha256"] for name, output in self.outputs.items()})


class StageFolder:
    """A folder being written by one stage; made by `open_stage`, closed by `finish`."""

    def __init__(self, path: Path, manifest: Manifest, *, is_resumed: bool, lock: IO[str] | None) -> None:
        self.path = path
        self.manifest = manifest
        self.is_resumed = is_resumed
        self._lock = lock
        self.log = EventLog(path, manifest.stage)

    @property
    def is_finished(self) -> bool:
        return self.manifest.status == "finished"

    def note(self, **summary: Any) -> None:
        """Add facts to the summary at once, for what a resumed stage must find again."""
        self._replace(summary)

    def finish(self, **summary: Any) -> None:
        """Hash what came out and mark the folder finished; from now on it is never written again, nor is its log.

        All of it is on the disk before the manifest says so, and outlives a power failure.
        """
        sync_files(self.path)
        outputs = {name: describe_file(self.path / name) for name in _list_outputs(self.path)}
        log = describe_file(self.log.path) if self.log.path.is_file() else None
        self._replace(summary, status="finished", outputs=outputs, log=log)
        self.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within this block the stage writes.

        Where it refuses what it was given, no folder stays, so that the corrected command needs no --redo; where it is
        stopped or the disk is full, what there is stays to go on from.
        """
        try:
            yield
        except (InputDataError, ModelError, UsageError):
            self.close()
            remove_folder(self.path)
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the folder without finishing it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _replace(self, summary: dict[str, Any], **fields: Any) -> None:
        old = self.manifest
        self.manifest = replace(old, summary={**old.summary, **summary}, **fields)
        _write_manifest(self.path, self.manifest)


def open_stage(
    path: Path, stage: str, *, config: dict[str, Any], inputs: dict[str, str], redo: bool = False
) -> StageFolder:
    """Make, continue or recognise the folder of one stage.

    A finished folder with the same config and inputs comes back with `is_finished`; an interrupted one with
    `is_resumed`. Raises FolderInTheWayError where the folder holds anything else, naming what differs, or is an
    interrupted one of another version; with `redo` the old folder is renamed first.
    """
    path = Path(path)
    config = json.loads(json.dumps(config))
    found = read_manifest_if_any(path)
    if redo and path.is_dir() and any(path.iterdir()):
        _set_aside(path)
        found = None
    if found is None:
        _refuse_foreign_files(path)
    else:
        _refuse_difference(path, found, stage=stage, config=config, inputs=inputs)
        if found.status == "finished":
            return StageFolder(path, found, is_resumed=False, lock=None)
    path.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(path)
    try:
        found = read_manifest_if_any(path)  # again: another process may have written or finished it meanwhile
        if found is not None:
            _refuse_difference(path, found, stage=stage, config=config, inputs=inputs)
    except PretuneError:
        lock.close()
        raise
    if found is not None and found.status == "finished":
        lock.close()
        return StageFolder(path, found, is_resumed=False, lock=None)
    manifest = found or Manifest(stage=stage, status="running", version=VERSION, config=config, inputs=inputs)
    if found is None:
        _write_manifest(path, manifest)
    begin_peak()
    return StageFolder(path, manifest, is_resumed=found is not None, lock=lock)


def read_manifest(path: Path, stage: str | None = None) -> Manifest:
    """The manifest of a finished stage folder.

    Raises InputDataError where the folder is missing, is not a stage folder, is not finished, is of another stage
    than the one expected, or where a file of it is missing or of another size than was written.
    """
    if not path.exists():
        raise InputDataError(f"{path} does not exist; expected the folder of the {stage or 'earlier'} stage.")
    manifest = read_manifest_if_any(path)
    if manifest is None:
        raise InputDataError(f"{path} has no {MANIFEST_NAME}; expected the folder that the {stage} stage wrote.")
    if stage is not None and manifest.stage != stage:
        raise InputDataError(f"{path} was written by the {manifest.stage} stage; expected a {stage} folder.")
    if manifest.status != "finished":
        raise InputDataError(
            f"{path} is not finished: its {manifest.stage} stage was interrupted; give that command again first."
        )
    _check_outputs(path, manifest)
    return manifest


def _check_outputs(path: Path, manifest: Manifest) -> None:
    """Sizes only: to hash a corpus at every start would take too long."""
    for name, output in manifest.outputs.items():
        file, expected = path / name, output["size_bytes"]
        size = file.stat().st_size if file.is_file() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise InputDataError(
                f"{file} {found}; expected the {expected:,} bytes that the {manifest.stage} stage wrote: restore it, "
                f"or move {path} away and give the command that made it again."
            )


def check_hashes(path: Path, manifest: Manifest, endings: tuple[str, ...] = ("",)) -> None:
    """Compare the outputs with such endings with their hashes, as `read_manifest` does with their sizes.

    Raises InputDataError naming the first that was altered.
    """
    for name, output in manifest.outputs.items():
        if name.endswith(endings) and hash_file(path / name) != output["sha256"]:
            raise InputDataError(
                f"{path / name} was altered after the {manifest.stage} stage wrote it: its sha256 is not the one in "
                f"{MANIFEST_NAME}; restore it, or move {path} away and give the command that made it again."
            )


def read_manifest_if_any(path: Path) -> Manifest | None:
    """The manifest of a stage folder, finished or not; None where there is none.

    Raises InputDataError where it is damaged, or was altered after it was written.
    """
    file = path / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        is_sealed = is_as_sealed(told)
        manifest = Manifest(**{name: value for name, value in told.items() if name != OWN_HASH})
        for described in [*manifest.outputs.values(), *([manifest.log] if manifest.log else [])]:
            check_description(described)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputDataError(f"{file} is damaged ({error!r}); restore it, or choose another folder.") from error
    if not is_sealed:
        raise InputDataError(
            f"{file} was altered after it was written: its {OWN_HASH} is not that of the rest of it; restore it, or "
            "choose another folder."
        )
    return manifest


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_json(path / MANIFEST_NAME, sealed(vars(manifest)))


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a hash of itself, by which a change of any value is noticed; an older one is replaced."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return {**rest, OWN_HASH: hash_json(json.loads(json.dumps(rest)))}


def is_as_sealed(value: dict[str, Any]) -> bool:
    """Whether a JSON object is as it was sealed; one without a hash of itself is not."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return value.get(OWN_HASH) == hash_json(rest)


def sealed_text(text: str) -> str:
    """A text in which # begins a comment, with a hash of itself in its last line."""
    return f"{text}{_TEXT_SEAL}{_hash_text(text)}\n"


def is_text_as_sealed(text: str) -> bool:
    """Whether such a text is as it was sealed; one without a hash of itself is not."""
    body, _, told = text.rpartition(_TEXT_SEAL)
    return told == f"{_hash_text(body)}\n"


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refuse_foreign_files(path: Path) -> None:
    if path.is_file():
        raise FolderInTheWayError(f"{path} is a file; choose a folder for --out.")
    entries = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    entries = [name for name in entries if name not in _NOT_OUTPUT]
    if entries:
        raise FolderInTheWayError(
            f"{path} already holds files that pretune did not write ({', '.join(entries[:3])}); "
            "choose another --out, or empty it."
        )


def _refuse_difference(
    path: Path, found: Manifest, *, stage: str, config: dict[str, Any], inputs: dict[str, str]
) -> None:
    if found.stage != stage:
        raise FolderInTheWayError(f"{path} belongs to the {found.stage} stage, not {stage}; choose another --out.")
    differing = describe_differences(found.config, config) + [
        f"input {name}" for name in sorted({*found.inputs, *inputs}) if found.inputs.get(name) != inputs.get(name)
    ]
    if found.status != "finished" and found.version != VERSION:
        raise StageDiffersError(
            f"{path} holds an interrupted {stage} stage of pretune {found.version}, and this is {VERSION}, which "
            "cannot go on from it; use that version, or give --redo to put the old folder aside and begin again."
        )
    if differing:
        raise StageDiffersError(
            f"{path} already holds a {found.status} {stage} stage that differs in: {'; '.join(differing)}. "
            "Choose another --out, or give --redo to put the old folder aside and begin again."
        )


def describe_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The settings in which two configs differ, each as `name (was X, now Y)`."""
    names = sorted({*before, *now})
    return [f"{n} (was {before.get(n)!r}, now {now.get(n)!r})" for n in names if before.get(n) != now.get(n)]


def _set_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)


def _take_lock(path: Path) -> IO[str]:
    lock = (path / LOCK_NAME).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise FolderInTheWayError(
            f"Another process is writing to {path}; wait for it, or choose another --out."
        ) from error
    return lock


def _list_outputs(path: Path) -> list[str]:
    """Files of this folder that count as output; training checkpoints carry manifests of their own, and names with a
    leading dot are what a killed writer left."""
    files = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
    names = [str(file) for file in files if not any(part.startswith(".") for part in file.parts)]
    return [name for name in names if name not in _NOT_OUTPUT and not name.startswith("checkpoints/")]


def describe_file(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file, as manifests record them."""
    return {"size_bytes": path.stat().st_size, "sha256": hash_file(path)}


def check_description(described: dict[str, Any]) -> None:
    """Raise KeyError or TypeError if a manifest's entry does not hold what `describe_file` gives."""
    size, sha256 = described["size_bytes"], described["sha256"]
    if type(size) is not int or type(sha256) is not str:
        raise TypeError(f"a file with the size {size!r} and the sha256 {sha256!r}")


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """The sha256 of a JSON value in canonical form."""
    return _hash_text(json.dumps(value, sort_keys=True, ensure_ascii=False))


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically: readers see the old or the new one, never half of it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically, with the bytes on disk before the name points to them."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:  # as in the event log
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_files(path: Path) -> None:
    """Bring every file in a folder and below it to the disk, and their names."""
    for file in [*path.rglob("*"), path]:
        if file.is_file() or file.is_dir():
            sync(file)


def sync(path: Path) -> None:
    """Bring the bytes of a file to the disk, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it; a missing one is fine."""
    shutil.rmtree(path, ignore_errors=True)
