"""Benchmarks and scripts, which no other test runs, import only what the package has."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path for folder in ("benchmarks", "scripts", "docs") for path in (ROOT / folder).rglob("*.py"))


def names_of(program: Path) -> list[tuple[str, str]]:
    """The modules of the package that a program imports from, each with a name."""
    tree = ast.parse(program.read_text(encoding="utf-8"))
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "pretune"
        for alias in node.names
    ]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_imported_name_exists(program: Path) -> None:
    for module_name, name in names_of(program):
        module = importlib.import_module(module_name)
        if not hasattr(module, name):  # then it is a module itself
            importlib.import_module(f"{module_name}.{name}")


def test_the_programs_are_found() -> None:
    assert len(PROGRAMS) > 20
    assert any(names_of(program) for program in PROGRAMS)
