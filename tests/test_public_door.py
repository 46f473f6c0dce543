"""`import pretune` is light, and every public name exists."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pretune


def test_import_is_light() -> None:
    program = "import sys, pretune; print([m for m in ('torch', 'numpy', 'sklearn', 'tokenizers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", pretune.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(pretune, name) is not None
    assert name in dir(pretune)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pretune.nothing


def test_type_checkers_know_every_public_name() -> None:
    """Type checkers cannot see lazy names, so each is also imported from the same module under TYPE_CHECKING."""
    tree = ast.parse(Path(pretune.__file__).read_text(encoding="utf-8"))
    [checked] = [
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    found = {
        alias.asname: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert found == {name: f"pretune.{module}" for name, module in pretune._MODULE_OF.items()}


AS_ON_WINDOWS = """
import sys

class Windows:  # from the first look for pretune on: Python itself starts as it is
    def find_spec(name, path=None, target=None):
        if name == "pretune":
            sys.platform = "win32"
            sys.modules.update(fcntl=None, resource=None)

sys.meta_path.insert(0, Windows)
"""
CONSOLE_SCRIPT = "import sys\nfrom pretune.__main__ import main\nsys.exit(main())\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "pretune", "--version"], 2),
        (["pretune", "predict", "runs/a", "A text."], 2),  # the script that pip writes
        (["-c", "import pretune"], 1),
        (["-c", "from pretune.api import load_model"], 1),
    ],
    ids=["module", "command", "import", "import of a module"],
)
def test_windows_is_answered_with_one_sentence(words: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AS_ON_WINDOWS, encoding="utf-8")
    (tmp_path / "pretune").write_text(CONSOLE_SCRIPT, encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(Path(pretune.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    sentence = "pretune works on Linux and macOS; on Windows, install and run it in WSL (wsl --install)."
    *traceback, last = done.stderr.splitlines()
    assert last == (f"ImportError: {sentence}" if code == 1 else sentence)
    assert bool(traceback) == (code == 1)
