"""The README's commands and programs run as they stand, in a folder that has the files they name."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.cli.verbs import VERBS, build_parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("pretune ")]


@pytest.fixture(scope="module")
def folder(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder in which the small run was made, with the run: commands write there, and others only read
    the run itself."""
    return shutil.copytree(small_run.parents[1], tmp_path_factory.mktemp("readme") / "world")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[:2]))
def test_a_command_runs(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` itself would take its twenty minutes, and `watch` does not end: their words are read. The small run stands
    for the rest, and somebody who leaves at once for the reader of `learn`."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    _, verb, *words = shlex.split(command, comments=True)
    build_parser(VERBS[verb]).parse_intermixed_args(words)
    if verb not in ("run", "watch"):
        assert run_command_line([verb, *words]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("program", blocks("python"), ids=["the model object"])
def test_a_program_runs(program: str, small_run: Path, tmp_path: Path, run_program: Callable[[str, Path], str]) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "runs").symlink_to(small_run.parent)
    rows = (small_run.parents[1] / "labelled.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "labelled.csv").write_text("\n".join(rows[:120]) + "\n", encoding="utf-8")
    printed = run_program(program, tmp_path)
    assert printed
