"""`import pretune` costs nothing, and every public name leads somewhere."""

from __future__ import annotations

import ast
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
    """The lazy names are invisible to them, so each is imported again, from the same module, under TYPE_CHECKING."""
    tree = ast.parse(Path(pretune.__file__).read_text(encoding="utf-8"))
    [checked] = [
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    found = {
        alias.asname: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert found == {name: f"pretune.{module}" for name, module in pretune._MODULE_OF.items()}
