from __future__ import annotations

import shlex
from pathlib import Path

from pretune.cli.render import describe_next
from pretune.recipe import Recipe


def test_the_folder_of_a_run_is_one_part_of_each_command(tmp_path: Path) -> None:
    folder = tmp_path / "film reviews"
    folder.mkdir()
    for recipe in (Recipe(), Recipe(corpus=("texts",))):
        text = describe_next(folder, recipe)
        commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  pretune")]
        assert any(str(folder) in command for command in commands)
        assert all(str(folder) in command for command in commands if str(tmp_path) in " ".join(command))
