"""`pretune learn` with keys from a pipe."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line


@pytest.fixture
def type_keys(monkeypatch: pytest.MonkeyPatch) -> object:
    def put(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return put


@pytest.mark.parametrize(("words", "count"), [([], 3), (["--practice"], 5), (["--test"], 10)])
def test_each_part_has_its_questions(
    small_run: Path, capsys: pytest.CaptureFixture[str], type_keys: object, words: list[str], count: int
) -> None:
    keys = ["1"] * count if "--practice" not in words else ["s"] * count
    type_keys(*keys)  # type: ignore[operator]
    assert run_command_line(["learn", str(small_run), *words]) == 0
    shown = capsys.readouterr().out
    assert f"{count} of {count} · " in shown
    assert f"of {count} right." in shown


def test_two_parts_at_once_are_refused(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["learn", str(small_run), "--practice", "--test"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["learn", str(tmp_path)]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
