"""The commands on the page about few labels run as they stand, on the models of a small run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "few-labels.md"


@pytest.mark.slow
def test_the_commands_run(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(small_run.parent)
    for name, source, num_rows in (("few", "labelled", 48), ("held-out", "held-out", 60)):
        rows = (small_run.parents[1] / f"{source}.csv").read_text(encoding="utf-8").splitlines()
        (tmp_path / f"{name}.csv").write_text("\n".join(rows[: num_rows + 1]) + "\n", encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 10
    for command in commands:
        assert run_command_line(shlex.split(command)[1:]) == 0, f"{command}\n{capsys.readouterr().err}"
    assert "great" in capsys.readouterr().out
