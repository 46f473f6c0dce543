"""Atomic writes: files and folders are written under a temporary name, synced, and renamed into place when complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pretune.errors import CorruptModelError, OutOfResourcesError, UsageError
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    OWN_HASH,
    check_description,
    describe_file,
    is_seal_intact,
    name_outside,
    sealed,
)
from pretune.version import VERSION

FORMAT_VERSION = 1
_PARTIAL, _REPLACED = ".partial", ".replaced"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)  # errors at a place that this user may not write, or not read
_TEMPORARY = ".tmp"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMPY_FULL = re.compile(r"\d+ requested and \d+ written$|Not enough free space to write \d+ bytes")
_MOST_ATTEMPTS = 100  # at opening a file that others write, too


def commit_folder(target: Path, write: Callable[[Path], None], **facts: Any) -> None:
    """Create the folder `target` with the files that `write` puts into an empty folder next to it.

    A reader sees the old folder, the new one, or none. The manifest contains the size and sha256 of every file, and
    `facts` (JSON values). An existing target is replaced by renaming, and is left as it was if anything fails. Only one
    writer at a time per target. Raises OutOfResourcesError if the disk is full.
    """
    target = Path(target)
    recover_folder(target)
    partial = _next_to(target, _PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_folder(partial)
        partial.mkdir()
        write(partial)
        files = _list_files(partial)
        for name in files:
            _sync_file(partial / name)
        described = {name: describe_file(partial / name) for name in files}
        manifest = {"format_version": FORMAT_VERSION, "version": VERSION, **facts, "files": described}
        write_json(partial / MANIFEST_NAME, sealed(manifest))
        for folder in [path for path in partial.rglob("*") if path.is_dir()] + [partial]:
            sync(folder)
        _put_in_place(partial, target)
    except BaseException as error:
        remove_folder(partial)
        recover_folder(target)
        if is_disk_full(error):
            raise OutOfResourcesError(_describe_full_disk(target)) from error
        raise


def commit_file(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create the file `target` with the bytes that `write` puts into a file next to it; readers see all or nothing.

    Of several writers of one target, each waits for the one before. Raises OutOfResourcesError if the disk is full.
    """
    target = Path(target)
    partial = _next_to(target, _PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _put_when_complete(partial, target) as file:
            write(file)
        sync(target.parent)
    except BaseException as error:
        if is_disk_full(error):
            raise OutOfResourcesError(_describe_full_disk(target)) from error
        raise


def verify_folder(folder: Path, *, editable: Collection[str] = ()) -> dict[str, Any] | None:
    """Compare every file of a committed folder with its manifest, and return the manifest; None if there is none.

    The files in `editable` may have changed, but not be missing.

    Raises CorruptModelError that names the first missing, truncated or altered file, or a manifest that is damaged or
    has another format version.
    """
    manifest = read_committed(Path(folder))
    if manifest is None:
        return None
    for name, described in manifest["files"].items():
        file = Path(folder) / name
        if not file.is_file():
            raise CorruptModelError(f"{file} is missing, but {MANIFEST_NAME} lists it; restore it from a copy.")
        if name in editable:
            continue
        size = file.stat().st_size
        if size != described["size_bytes"]:
            raise CorruptModelError(
                f"{file} has {size} bytes, but {MANIFEST_NAME} lists {described['size_bytes']}; restore it from a copy."
            )
        if describe_file(file)["sha256"] != described["sha256"]:
            raise CorruptModelError(
                f"{file} was altered after it was written: its sha256 does not match {MANIFEST_NAME}; "
                "restore it from a copy."
            )
    return manifest


def recover_folder(target: Path) -> None:
    """Restore the old folder if its replacement was killed between the two renames; otherwise remove its remains."""
    for suffix in (_PARTIAL, _REPLACED):
        if (link := _next_to(target, suffix)).is_symlink():  # not ours, and neither a folder to fill nor one to restore
            link.unlink()
    replaced = _next_to(target, _REPLACED)
    if not replaced.is_dir():
        return
    if target.exists():
        remove_folder(replaced)
    else:
        replaced.rename(target)


def remove_leftovers(parent: Path) -> None:
    """Remove what killed commits left in a folder that only this process writes to."""
    for path in Path(parent).glob(f".*{_PARTIAL}"):
        remove_folder(path)
    for path in Path(parent).glob(f".*{_REPLACED}"):
        recover_folder(path.with_name(path.name.removeprefix(".").removesuffix(_REPLACED)))


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means a full disk or an exceeded quota; safetensors wraps the system's message in its own, and
    numpy leaves it out when it writes an array."""
    if isinstance(error, OSError) and (error.errno in _DISK_FULL or _NUMPY_FULL.match(str(error))):
        return True
    return any(f"os error {code}" in str(error) for code in _DISK_FULL)


def _describe_full_disk(target: Path) -> str:
    return (
        f"The disk is full: {target} could not be written; existing files are unchanged. "
        "Free some space and run the same command again."
    )


def read_committed(folder: Path) -> dict[str, Any] | None:
    """The manifest of a committed folder; None if there is none.

    Raises CorruptModelError if it is damaged, has another format version, or names files outside its folder.
    """
    file = folder / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        manifest: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
        found = manifest["format_version"]
        names = list(manifest["files"])
        for entry in manifest["files"].values():
            check_description(entry)
        is_unaltered = is_seal_intact(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptModelError(f"{file} is damaged ({error!r}); restore the folder from a copy.") from error
    if found != FORMAT_VERSION:
        raise CorruptModelError(
            f"{file} has format version {found!r}, but pretune {VERSION} reads version {FORMAT_VERSION}; "
            "load it with the version of pretune that wrote it."
        )
    if (outside := name_outside(names)) is not None:
        raise CorruptModelError(f"{file} lists {outside!r}, which is outside its folder; do not use this folder.")
    if not is_unaltered:
        raise CorruptModelError(f"{file} was altered after it was written; restore the folder from a copy.")
    manifest.pop(OWN_HASH, None)
    return manifest


def _put_in_place(partial: Path, target: Path) -> None:
    replaced = _next_to(target, _REPLACED)
    if target.exists():
        target.rename(replaced)
    partial.rename(target)
    sync(target.parent)
    remove_folder(replaced)


def _next_to(target: Path, suffix: str) -> Path:
    refuse_place(target)
    return target.with_name(f".{target.name}{suffix}")


def refuse_place(path: Path) -> None:
    """Raise UsageError for `.` or a path that ends in `..`, which cannot be renamed: programs are in such a folder, and
    would go on in the one that was there before."""
    if path.name in ("", ".."):
        raise UsageError(
            f"The folder {path} cannot be renamed or replaced: it is the working folder or one above it; change to "
            "another folder and give its name from there, or give a new folder."
        )


def _list_files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically: readers see the old or the new version, never a mixture."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically; the bytes are on disk before the name points to them."""
    with _put_when_complete(temporary_of(path), path) as file:
        file.write(text.encode("utf-8", errors="backslashreplace"))  # as in the event log


@contextlib.contextmanager
def _put_when_complete(temporary: Path, target: Path) -> Iterator[BinaryIO]:
    """An empty file that is renamed to `target` once its bytes are on disk, or removed after an error."""
    with _open_alone(temporary) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _open_alone(path: Path) -> BinaryIO:
    """An empty file, once no other process writes to the one of this name: two that make the same report would mix
    their bytes. Without locks of the file system, nobody waits."""
    attempts = 0
    while True:
        attempts += 1
        file = os.fdopen(open_no_link(path), "wb")
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # It may have been renamed meanwhile; some network file systems number an open file in another way.
        if _is_at(path, file) or attempts == _MOST_ATTEMPTS:
            file.truncate(0)  # what a killed writer left
            return file
        file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def open_no_link(path: Path) -> int:
    """A descriptor that writes to a file of ours, which is created if it does not exist.

    A symbolic link of this name is removed: in a folder that somebody else made, it may point to any file of the user.
    """
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError:
            if not path.is_symlink():
                raise
            path.unlink(missing_ok=True)


def temporary_of(path: Path) -> Path:
    """The name under which `write_text` writes a file; a killed writer leaves it."""
    return path.with_name(f".{path.name}{_TEMPORARY}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder has a name under which something is written here before it is put in place."""
    return name.startswith(".") and name.endswith((_PARTIAL, _REPLACED, _TEMPORARY))


def sync_files(path: Path, *, left_out: str | None = None) -> None:
    """Sync every file and folder in and below a folder to disk; `left_out` names a file or folder in it to pass by."""
    top = [entry for entry in path.iterdir() if entry.name != left_out]
    for file in [*top, *(below for entry in top for below in entry.rglob("*")), path]:
        if file.is_file() or file.is_dir():
            sync(file)


def sync(path: Path) -> None:
    """Sync the bytes of a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove a folder and its contents; a missing one is not an error."""
    shutil.rmtree(path, ignore_errors=True)
