"""A stage folder: opened, resumed, recognized or refused by its manifest, and finished with the hashes of its files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from pretune.errors import (
    FolderInTheWayError,
    InputDataError,
    ModelError,
    PretuneError,
    StageDiffersError,
    UsageError,
    WorkersError,
)
from pretune.runtime.atomic import FORBIDDEN, open_no_link, refuse_place, remove_folder, sync_files, write_json
from pretune.runtime.events import LOG_NAME, EventLog
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    RECIPE_NAME,
    Manifest,
    describe_differences,
    describe_file,
    read_manifest_if_any,
    sealed,
)
from pretune.runtime.memory import begin_peak
from pretune.runtime.memory import peak_memory_bytes as read_peak
from pretune.version import VERSION

LOCK_NAME = ".lock"
WORK_NAME = ".work"  # the folder of the finished parts of a stage; removed when the stage is finished
# What file managers, network file systems and git put into a folder, whoever owns it.
_NOT_OF_THE_USER = (".DS_Store", ".directory", ".gitignore", ".gitkeep", "Thumbs.db", "desktop.ini")
_BEGINNINGS_NOT_OF_THE_USER = ("._", ".nfs")
_IS_LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
_NOT_OUTPUT = {MANIFEST_NAME, LOCK_NAME, LOG_NAME, f".{MANIFEST_NAME}.tmp"}


class StageFolder:
    """A folder that one stage writes; opened by `open_stage`, closed by `finish`."""

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
        """Add facts that a resumed stage will need to the summary, and write them at once."""
        self._replace(summary)

    def log_flow(
        self,
        shape_in: Mapping[str, float],
        shape_out: Mapping[str, float],
        *,
        seconds: float,
        peak_memory_bytes: int | None = None,
        dropped: Sequence[dict[str, Any]] = (),
        **more: Any,
    ) -> None:
        """Log what went in and came out, by name, and that the stage has ended; the peak is that of this process if
        none is given."""
        spent = {"seconds": seconds, "peak_memory_bytes": peak_memory_bytes or read_peak()}
        shapes = {
            key: [{"name": name, "value": value} for name, value in shape.items()]
            for key, shape in (("shape_in", shape_in), ("shape_out", shape_out))
        }
        self.log.write("flow", **shapes, dropped=list(dropped), **more, **spent)
        self.log.write("stage_finished", **spent)

    def finish(self, **summary: Any) -> None:
        """Hash the outputs and mark the folder finished; from now on neither it nor its log is written again.

        Everything is synced to disk before the manifest says so, and survives a power failure. Syncing and hashing may
        take minutes, in which the stage may be killed, so the finished parts are removed after that.
        """
        sync_files(self.path, left_out=WORK_NAME)
        outputs = {name: describe_file(self.path / name) for name in _list_outputs(self.path)}
        log = describe_file(self.log.path) if self.log.path.is_file() else None
        self._replace(summary, status="finished", outputs=outputs, log=log)
        remove_folder(self.path / WORK_NAME)
        self.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The block in which the stage writes.

        If the stage rejects its input, what it wrote is removed, so that the corrected command needs no --redo; if it
        is stopped, the disk is full or a worker lacks something, the folder stays for a later attempt to resume. A
        folder that was resumed always stays: it contains finished work.
        """
        try:
            yield
        except (InputDataError, ModelError, UsageError) as error:
            if not self.is_resumed and not isinstance(error, WorkersError):
                self.remove()
            raise
        finally:
            self.close()

    def remove(self) -> None:
        """Remove what the stage wrote, and then the folder if it is empty. A file such as `.gitignore`, which was not
        in the way when the stage was opened, may be the user's own."""
        self.close()
        with suppress(OSError):  # something is left, or another process has removed it
            for entry in [entry for entry in self.path.iterdir() if not is_harmless(entry.name)]:
                _remove(entry)
            self.path.rmdir()

    def close(self) -> None:
        """Release the folder without finishing it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _replace(self, summary: dict[str, Any], **fields: Any) -> None:
        old = self.manifest
        self.manifest = replace(old, summary={**old.summary, **summary}, **fields)
        _write_manifest(self.path, self.manifest)


class FollowedFolder(StageFolder):
    """The folder as seen by a rank other than the first: notes are kept in memory only, and nothing is written."""

    def __init__(self, path: Path, manifest: Manifest, *, is_resumed: bool) -> None:
        self.path, self.manifest, self.is_resumed = path, manifest, is_resumed
        self._lock = None
        self.log = _NoLog(path, manifest.stage)

    def note(self, **summary: Any) -> None:
        self.manifest = replace(self.manifest, summary={**self.manifest.summary, **summary})

    def finish(self, **summary: Any) -> None:
        self.note(**summary)


class _NoLog(EventLog):
    """A log has only one writer: the first rank."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path, self.stage = folder, stage

    def write(self, event: str, **fields: Any) -> None:
        pass


def open_stage(
    path: Path,
    stage: str,
    *,
    config: dict[str, Any],
    inputs: dict[str, str],
    redo: bool = False,
    late: Collection[str] = (),
) -> StageFolder:
    """Create the folder of a stage, resume it, or recognize it as finished.

    A finished folder with the same config and inputs is returned with `is_finished`, an interrupted one with
    `is_resumed`. `late` names settings that nothing in an unfinished folder depends on; it takes those of this call.
    Raises FolderInTheWayError if the folder contains anything else (StageDiffersError, naming what differs, if it has
    other settings or inputs, or was interrupted in another version). With `redo`, a folder for which StageDiffersError
    would be raised is renamed instead, and only such a folder.
    """
    path = Path(path)
    config = json.loads(json.dumps(config))
    found = read_manifest_if_any(path)
    if found is None:
        _refuse_foreign_files(path)
    else:
        try:
            _refuse_difference(path, found, stage=stage, config=config, inputs=inputs, late=late)
        except StageDiffersError:
            if not redo:
                raise
            set_aside(path)
            found = None
    if found is not None and found.status == "finished":
        return _finished(path, found)
    _refuse_linked_stage(path)
    lock = take_lock(path, create=True)
    try:
        found = read_manifest_if_any(path)  # again: another process may have changed it in the meantime
        if found is not None:
            _refuse_difference(path, found, stage=stage, config=config, inputs=inputs, late=late)
        if found is None or found.status != "finished":
            _refuse_links(path)
    except PretuneError:
        lock.close()
        raise
    if found is not None and found.status == "finished":
        lock.close()
        return _finished(path, found)
    manifest = found or Manifest(stage=stage, status="running", version=VERSION, config=config, inputs=inputs)
    if found is None or found.config != config:
        manifest = replace(manifest, config=config)
        _write_manifest(path, manifest)
    begin_peak()
    return StageFolder(path, manifest, is_resumed=found is not None, lock=lock)


def _finished(path: Path, manifest: Manifest) -> StageFolder:
    remove_folder(path / WORK_NAME)  # if the stage was killed between its manifest and this
    return StageFolder(path, manifest, is_resumed=False, lock=None)


def run_stage(stage: Callable[[bool], object], *, redo: bool) -> None:
    """Call a stage, which takes whether to be done again: only if its folder differs, and only with `redo`."""
    try:
        stage(False)
    except StageDiffersError:
        if not redo:
            raise
        stage(True)


def _refuse_foreign_files(path: Path) -> None:
    if path.is_file():
        raise FolderInTheWayError(f"{path} is a file; choose a folder for --out.")
    entries = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    entries = [name for name in entries if name not in _NOT_OUTPUT and not is_harmless(name)]
    if entries:
        raise FolderInTheWayError(
            f"{path} already contains files that pretune did not write ({', '.join(entries[:3])}); "
            "choose another --out, or empty it."
        )


def is_harmless(name: str) -> bool:
    """Whether a file or folder of this name is put there by the system, so that it is nobody's work."""
    return name in _NOT_OF_THE_USER or name.startswith(_BEGINNINGS_NOT_OF_THE_USER)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        remove_folder(entry)
    else:
        entry.unlink(missing_ok=True)


def _refuse_difference(
    path: Path, found: Manifest, *, stage: str, config: dict[str, Any], inputs: dict[str, str], late: Collection[str]
) -> None:
    if found.stage != stage:
        raise FolderInTheWayError(f"{path} belongs to the {found.stage} stage, not {stage}; choose another --out.")
    if found.status != "finished":
        config = {name: value for name, value in config.items() if name not in late}
        config |= {name: found.config[name] for name in late if name in found.config}
    # The parts of an unfinished folder are reused without a look at what they were made with.
    differing = describe_differences(found.config, config, exactly=found.status != "finished") + [
        f"input {name}" for name in sorted({*found.inputs, *inputs}) if found.inputs.get(name) != inputs.get(name)
    ]
    if found.status != "finished" and found.version != VERSION:
        raise StageDiffersError(
            f"{path} contains an interrupted {stage} stage of pretune {found.version}, which {VERSION} cannot resume; "
            "use that version, or add --redo to rename the old folder and start over."
        )
    if differing:
        state = "a finished" if found.status == "finished" else "an unfinished"
        raise StageDiffersError(
            f"{path} already contains {state} {stage} stage that differs in: {'; '.join(differing)}. "
            "Choose another --out, or add --redo to rename the old folder and start over."
        )


def _refuse_links(path: Path) -> None:
    """Nothing of ours is a link. In a folder that somebody else made, one may point to any file of the user."""
    for folder, folders, names in os.walk(path):
        for entry in (Path(folder) / name for name in (*folders, *names)):  # a link to a folder is among the folders
            if entry.is_symlink():
                _refuse_link(entry)


def _refuse_linked_stage(path: Path) -> None:
    """A stage of a run, which may be received, is no link; a folder that the user names may be one."""
    if path.is_symlink() and (path.parent / RECIPE_NAME).is_file():
        _refuse_link(path)


def _refuse_link(link: Path) -> None:
    raise FolderInTheWayError(
        f"{link} is a link to {link.readlink()}, to which the stage might write; expected no links in a folder of "
        "pretune. Remove the link, or choose another --out."
    )


def set_aside(path: Path) -> None:
    """Rename a folder that no other process is writing to: its writer would go on in the renamed one."""
    refuse_place(path)
    lock = take_lock(path)
    try:
        number = 1
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)
    finally:
        lock.close()


def take_lock(path: Path, *, create: bool = False) -> IO[str]:
    """Lock a folder, which is first made with `create`, until the returned file is closed. Raises FolderInTheWayError
    if another process has locked it, or if it cannot be written."""
    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(open_no_link(path / LOCK_NAME), "w")
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise
        raise FolderInTheWayError(
            f"{path} cannot be written ({error.strerror}); choose another --out, or change its permissions."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in _IS_LOCKED:
            sentence = f"Another process is writing to {path}; wait for it, or choose another --out."
        else:
            sentence = (
                f"{path} cannot be locked against a second process ({error.strerror}): its file system has no locks. "
                "Choose another --out on a file system that has them, such as a local disk."
            )
        raise FolderInTheWayError(sentence) from error
    return lock


def _list_outputs(path: Path) -> list[str]:
    """The files of a folder that count as outputs: no training checkpoints, which have their own manifests, no names
    with a leading dot, which a killed writer left, and none that the system adds and may change."""
    files = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
    names = [str(file) for file in files if not any(part.startswith(".") or is_harmless(part) for part in file.parts)]
    return [name for name in names if name not in _NOT_OUTPUT and not name.startswith("checkpoints/")]


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_json(path / MANIFEST_NAME, sealed(vars(manifest)))
