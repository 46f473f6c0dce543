"""The shape of the source itself: short files, telling names, nothing that loads or runs code from a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL_PYTHON = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE = 400  # lines; a longer file tells two stories
BANNED_NAMES = {
    "utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager", "handler", "engine", "wrapper",
}  # fmt: skip
BANNED_CALLS = {
    "torch.load", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "yaml.load", "eval", "exec",
}  # fmt: skip
BANNED_IMPORTS = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def name_of(file: Path) -> str:
    """A file's path from the root, as test ids show it."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", ALL_PYTHON, ids=name_of)
def test_a_file_is_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_a_module_is_named_after_what_it_does(file: Path) -> None:
    assert file.stem not in BANNED_NAMES
    assert not set(file.relative_to(ROOT / "src").parent.parts) & BANNED_NAMES


@pytest.mark.parametrize("file", [f for f in SOURCES if f.read_text(encoding="utf-8").strip()], ids=name_of)
def test_a_module_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_nothing_loads_or_runs_what_could_be_code(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in BANNED_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & BANNED_IMPORTS, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in BANNED_IMPORTS, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            raise AssertionError(f"line {node.value.lineno}: remote code")


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_an_open_task_names_its_issue(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO(?!\(#\d+\))|FIXME|XXX)\b", text)


def test_a_test_file_mirrors_a_source_file() -> None:
    """tests/text/test_filters.py tests src/pretune/text/filters.py; folders without a source part are free."""
    parts = {folder.name for folder in (ROOT / "src" / "pretune").iterdir() if folder.is_dir()}
    stray = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        part = file.relative_to(ROOT / "tests").parts[0]
        if part not in parts or part == "cli":
            continue
        stem = file.stem.removeprefix("test_")
        modules = [module.stem for module in (ROOT / "src" / "pretune" / part).rglob("*.py")]
        if not any(stem == module or stem.startswith(f"{module}_") for module in modules):
            stray.append(name_of(file))
    assert not stray
