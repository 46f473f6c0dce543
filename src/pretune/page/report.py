"""A run's trace in, one HTML file out that shows it without a server, a network or an installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretune.errors import FolderInTheWayError, UsageError
from pretune.page.assets import read_assets
from pretune.page.markup import GENERATOR, html_of_file
from pretune.run_trace.codec import to_json
from pretune.run_trace.redact import redact as redacted
from pretune.runtime.atomic import commit_file
from pretune.trace_schema import RunTrace

_HEAD_BYTES = 4096  # enough to find the line of the head that says who wrote a file


def write_report(
    trace: RunTrace, path: Path, *, redact: bool = False, model: bytes | None = None, option: str = "--out"
) -> int:
    """Write the report of a run and return its size in bytes; the same arguments give the same bytes.

    With `redact`, no text of the user is in it. `model` is the model for the reader's browser, from `pack_model`. An
    earlier report is replaced, at once and whole; raises FolderInTheWayError if anything else is at the path, and
    UsageError, which names `option`, if the file cannot be written.
    """
    refuse_other_file(path, option)
    html = html_of_file(to_json(redacted(trace) if redact else trace), read_assets(), model)
    content = html.encode("utf-8", "replace")
    with _to_be_written(path, option):
        if not (path.is_file() and path.read_bytes() == content):
            commit_file(path, lambda file: file.write(content))
    return len(content)


def refuse_other_file(path: Path, option: str = "--out") -> None:
    """Raise FolderInTheWayError if a report at this path would replace anything but an earlier report."""
    with _to_be_written(path, option):
        is_folder, is_other = path.is_dir(), path.exists() and not path.is_dir() and not is_report(path)
    if is_folder:
        raise FolderInTheWayError(f"{path} is a folder; give {option} a file, such as {path / 'report.html'}.")
    if is_other:
        raise FolderInTheWayError(
            f"{path} exists and is not a report of pretune, so it is not overwritten; choose another file for {option}."
        )


@contextmanager
def _to_be_written(path: Path, option: str) -> Iterator[None]:
    """Within this block, an error of the system means that the report cannot be written there."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path} cannot be written ({reason}); give another file with {option}.") from error


def is_report(path: Path) -> bool:
    """Whether a file is a report that pretune wrote, or is empty, so that nothing is lost if it is replaced."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or (head.startswith(b"<!doctype html>") and GENERATOR.encode() in head)
