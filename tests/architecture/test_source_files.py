"""The shape of the source itself: short files, telling names, nothing that loads or runs code from a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL_PYTHON = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE = 500  # lines; from 400 on, ask whether a file is still one idea
LONG_FILES = {"trace_schema.py"}  # a list of types that has to be read as one
BANNED_NAMES = {
    "utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager", "handler", "engine", "wrapper",
}  # fmt: skip
BANNED_CALLS = {
    "torch.load", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "yaml.load", "eval", "exec",
}  # fmt: skip
BANNED_IMPORTS = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def offenders(files: Iterable[Path], find: Callable[[str, Path], Iterable[str]]) -> list[str]:
    """Every breach of a rule, with the file's path from the root."""
    return [f"{f.relative_to(ROOT)}: {found}" for f in files for found in find(f.read_text(encoding="utf-8"), f)]


def test_no_file_is_too_long() -> None:
    def find(text: str, file: Path) -> Iterable[str]:
        lines = len(text.splitlines())
        return [str(lines)] if lines > LONGEST_FILE and file.name not in LONG_FILES else []

    assert not offenders(ALL_PYTHON, find)


def test_a_module_is_named_after_what_it_does() -> None:
    def find(_text: str, file: Path) -> Iterable[str]:
        return {file.stem, *file.relative_to(ROOT / "src").parent.parts} & BANNED_NAMES

    assert not offenders(SOURCES, find)


def test_a_module_says_what_it_is() -> None:
    assert not offenders(
        SOURCES, lambda text, _: ["no docstring"] * (bool(text) and not ast.get_docstring(ast.parse(text)))
    )


def test_nothing_loads_or_runs_what_could_be_code() -> None:
    def find(text: str, _file: Path) -> Iterable[str]:
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            # Not only where it is called: a function that is handed on is called by another.
            if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in BANNED_CALLS:
                yield f"line {node.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in BANNED_IMPORTS)

    assert not offenders(SOURCES, find)


def test_transformers_is_told_to_run_no_code() -> None:
    """Told nothing, it asks on stdin whether to run the code beside a model."""

    def find(text: str, _file: Path) -> Iterable[str]:
        nodes = list(ast.walk(ast.parse(text)))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        # `from_auto_model`, which adds the setting, calls a method by its name; nothing else does.
        by_name = [call.args[0] for call in calls if ast.unparse(call.func) == "from_auto_model" and call.args]
        for call in calls:
            told = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if ast.unparse(call.func).endswith(".from_pretrained") and told.get("trust_remote_code") != "False":
                yield f"line {call.lineno}: may ask about remote code"
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                yield from [f"line {node.value.lineno}: remote code"] * (ast.unparse(node.value) != "False")
            elif isinstance(node, ast.Constant) and node.value == "from_pretrained" and node not in by_name:
                yield f"line {node.lineno}: a method called by its name"

    assert not offenders(SOURCES, find)


def test_a_path_in_a_command_to_type_is_quoted() -> None:
    """The folder of a received model may be named `x; rm -rf ~`."""
    before = re.compile(r"(?:(?<!of )\bpretune [a-z]+|--(?:base|corpus|from|input|labels|out|protect)) $")

    def find(text: str, _file: Path) -> Iterable[str]:
        for node in ast.walk(ast.parse(text)):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for words, value in pairwise(parts):
                if isinstance(words, ast.Constant) and before.search(words.value):
                    given = ast.unparse(value)
                    yield from [f"line {value.lineno}: {given}"] * ("shlex.quote" not in given)

    assert not offenders([file for file in SOURCES if file.name != "render.py"], find)  # which quotes before


def test_an_open_task_names_its_issue() -> None:
    assert not offenders(SOURCES, lambda text, _: re.findall(r"\b(?:TODO(?!\(#\d+\))|FIXME|XXX)\b", text))


def test_a_test_file_mirrors_a_source_file() -> None:
    """tests/text/clean/test_rules.py tests src/pretune/text/clean/rules.py; folders without a source part are free."""
    package, stray = ROOT / "src" / "pretune", []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = file.parent.relative_to(ROOT / "tests")
        if not folder.parts or folder.parts[0] == "cli" or not (package / folder).is_dir():
            continue
        stem = file.stem.removeprefix("test_")
        modules = [module.stem for module in (package / folder).glob("*.py")]
        if not any(stem == module or stem.startswith(f"{module}_") for module in modules):
            stray.append(str(file.relative_to(ROOT)))
    assert not stray
