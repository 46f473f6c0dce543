"""The command that converts a folder is one for a shell, whatever the folder is named."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from pretune.text.tokenizer.files import conversion_command


@pytest.mark.parametrize(
    "name", ["model", "film reviews", "it's", 'a"; b', "$(touch owned)", "`x`\\", "a\nb", "ä\udcff", "😀"]
)
def test_the_name_of_a_folder_stays_text(name: str) -> None:
    """A folder named `$(...)` ran a command when the advice was typed."""
    words = shlex.split(conversion_command(Path("models") / name, "AutoModel"))
    assert words[:2] == ["python", "-c"] and len(words) == 3
    arguments = [node.args[0] for node in ast.walk(ast.parse(words[2])) if isinstance(node, ast.Call)]
    assert [ast.literal_eval(argument) for argument in arguments] == [f"models/{name}"] * 2
