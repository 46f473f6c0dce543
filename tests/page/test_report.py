"""A report is one file that is written whole, replaces only reports, and is the same for the same run."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from pretune.errors import FolderInTheWayError, UsageError
from pretune.page.assets import Assets
from pretune.page.report import is_report, write_report
from pretune.trace_schema import RunTrace

pytestmark = pytest.mark.usefixtures("assets")


def test_the_size_is_that_of_the_file(trace: RunTrace, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(trace, path) == path.stat().st_size
    assert is_report(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_the_same_run_gives_the_same_bytes(trace: RunTrace, tmp_path: Path) -> None:
    write_report(trace, tmp_path / "a.html")
    write_report(trace, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_report_replaces_a_report_and_an_empty_file(trace: RunTrace, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.touch()
    write_report(trace, path)
    before = path.read_bytes()
    write_report(replace(trace, excerpts=9), path)
    assert path.read_bytes() != before


@pytest.mark.parametrize("content", [b"<!doctype html><title>My page</title>", b"notes", b"\x00" * 5000])
def test_anything_else_stays(trace: RunTrace, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(content)
    with pytest.raises(FolderInTheWayError, match=r"not a report of pretune.*--out"):
        write_report(trace, path)
    assert path.read_bytes() == content


def test_a_folder_is_refused(trace: RunTrace, tmp_path: Path) -> None:
    with pytest.raises(FolderInTheWayError, match="is a folder; give --out a file"):
        write_report(trace, tmp_path)


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_a_place_where_nothing_can_be_written_is_named_with_its_option(
    trace: RunTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """A folder without permission was reported as a file that cannot be read."""
    path = tmp_path / "report.html"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=rf"cannot be written \(.*\); give another file with {option}\.$"):
        write_report(trace, tmp_path / "file" / "report.html", option=option)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".report.html.partial"))

    monkeypatch.setattr("pretune.page.report.commit_file", refuse)
    with pytest.raises(UsageError) as caught:
        write_report(trace, path, option=option)
    assert str(caught.value) == f"{path} cannot be written (Permission denied); give another file with {option}."


def test_redaction_changes_what_is_written(trace: RunTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.page.report.redacted", lambda found: replace(found, is_redacted=True))
    write_report(trace, tmp_path / "whole.html")
    write_report(trace, tmp_path / "redacted.html", redact=True)
    assert (tmp_path / "whole.html").read_bytes() != (tmp_path / "redacted.html").read_bytes()


def test_a_bundle_that_would_end_its_own_element_is_noticed(assets: Assets) -> None:
    from pretune.page.assets import read_assets

    for found in (assets, read_assets()):
        assert "</script" not in found.script.lower()
        assert "<!--" not in found.script
        assert "</style" not in found.style.lower()
        assert "\r" not in found.script + found.style  # a browser would read \n, and the hash would differ
