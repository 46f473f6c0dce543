"""One word per idea: words banned from names, and words reserved for one idea (CONTRIBUTING.md has the glossary)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "pretune"
# The word that is meant instead. Event fields and JSON keys are an interface and are not checked.
BANNED = {
    "told": "logged, reported", "tell": "log, report", "say": "log, show", "said": "logged", "let": "allow",
    "beside": "next_to", "anew": "again", "whoever": "-", "piece": "subword, work_unit, pretoken, chunk",
    "pieces": "subwords, work_units, pretokens, chunks", "ckpt": "checkpoint", "iteration": "step",
    "course": "run", "sight": "attention_mask",
}  # fmt: skip
# A word that means one thing, and the parts of the package that have that thing.
RESERVED = {
    "verdict": ("evaluation", "reporting", "run_trace", ".", "builtin_world"),
    "lane": ("compute", "training"),
    "lanes": ("compute", "training"),
    "microbatch": ("training", "stages/pretrain"),
    "pretoken": ("text/tokenizer",),
    "pretokens": ("text/tokenizer",),
    "subword": ("text/tokenizer",),
    "minhash": ("text/dedup", "text/steps"),
}


def definitions() -> Iterator[tuple[str, str, str]]:
    """Every module, class and function: the folder of its module, a place to print, and its name."""
    for file in sorted(PACKAGE.rglob("*.py")):
        folder = file.parent.relative_to(PACKAGE).as_posix()
        yield folder, str(file.relative_to(PACKAGE)), file.stem
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield folder, f"{file.relative_to(PACKAGE)}:{node.lineno}", node.name


def words_of(name: str) -> set[str]:
    """The words of a name in snake or camel case, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def test_no_name_has_a_banned_word() -> None:
    assert not [
        f"{place}: {name} ({word}: {BANNED[word]})"
        for _, place, name in definitions()
        for word in words_of(name) & BANNED.keys()
    ]


def test_a_reserved_word_is_used_for_its_idea_only() -> None:
    assert not [
        f"{place}: {name} ({word})"
        for folder, place, name in definitions()
        for word in words_of(name) & RESERVED.keys()
        if not any(folder == part or folder.startswith(f"{part}/") for part in RESERVED[word])
    ]
