"""The commands and Python lines on the page about generating text run as they stand, on a model of random weights."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import pretune
from pretune.cli.main import run_command_line

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "generate.md"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_language_model: Callable[[Path, str], Path]) -> None:
    save_language_model(tmp_path / "runs" / "novels", "causal")
    (tmp_path / "held-out.txt").write_text("The sun rises in the east.\n\nA wonderful film.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("work")
def test_the_commands_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command)
        if words[0] == "echo":
            monkeypatch.setattr("sys.stdin", io.StringIO(words[1] + "\n"))
            words = words[3:]
        assert run_command_line(words[1:]) == 0, f"{command}\n{capsys.readouterr().err}"
    shown = capsys.readouterr().out
    assert shown.count("The sun rises in") == 4 and "bits per byte" in shown and '"bits_per_byte"' in shown


@pytest.mark.slow
@pytest.mark.usefixtures("work")
def test_the_python_lines_run() -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    first, *calls = block.splitlines()
    names = {"pretune": pretune}
    exec(first, names)
    found = [eval(call, names) for call in calls]
    assert isinstance(found[0], str) and len(found[1]) == 2
