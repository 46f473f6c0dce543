"""One word per idea: words banned from names, and words reserved for one idea (CONTRIBUTING.md has the glossary)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "pretune"
# Words that the glossary rules out for one idea, but that stand for another one in a name.
STAND_FOR_ANOTHER_IDEA = {
    "phase",  # pre-training or fine-tuning, in the trace of a run
    "sample",  # some of many, looked at instead of all
    "item",  # of a list that a cell of a table holds
    "line", "part", "slice", "set", "record", "source", "parent",  # many, as of a file, a list, a folder, a process
    "fold", "round",  # the verbs, and the folds of a cross-validation
    "share",  # a part of the n-grams or of the padding; also an option of pre-training
    "seal",  # the hash of a text in its own last line
}  # fmt: skip


def glossary() -> dict[str, str]:
    """Each word of the column `not` in the glossary, in the singular and the plural, with the word meant instead."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Glossary")[2]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    banned: dict[str, str] = {}
    for word, _, ruled_out in rows[2:]:  # after the head of the table
        for each in ruled_out.split(", "):
            if re.fullmatch(r"\w+", each) and each not in STAND_FOR_ANOTHER_IDEA:
                banned |= dict.fromkeys((each, f"{each}s"), word)
    return banned


# The word that is meant instead. Event fields and JSON keys are an interface and are not checked.
BANNED = glossary() | {
    "told": "logged, reported", "tell": "log, report", "say": "log, show", "said": "logged", "let": "allow",
    "beside": "next_to", "whoever": "-", "piece": "subword, work_unit, pretoken, chunk",
    "pieces": "subwords, work_units, pretokens, chunks", "ckpt": "checkpoint", "course": "run",
    "sight": "attention_mask",
}  # fmt: skip
CALLED = {"say"}  # as a parameter it is what prints a sentence: say(...) reads like one
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


@cache
def modules() -> list[tuple[Path, list[ast.AST]]]:
    """Every module, by its path in the package, with all nodes of its tree."""
    return [
        (file.relative_to(PACKAGE), list(ast.walk(ast.parse(file.read_text(encoding="utf-8")))))
        for file in sorted(PACKAGE.rglob("*.py"))
    ]


def definitions() -> Iterator[tuple[str, str, str]]:
    """Every module, class and function: the folder of its module, a place to print, and its name."""
    for file, nodes in modules():
        folder = file.parent.as_posix()
        yield folder, str(file), file.stem
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield folder, f"{file}:{node.lineno}", node.name


def parameters() -> Iterator[tuple[str, str]]:
    """Every parameter of a function: a place to print, and its name."""
    for file, nodes in modules():
        for node in nodes:
            if isinstance(node, ast.arg):
                yield f"{file}:{node.lineno}", node.arg


def words_of(name: str) -> set[str]:
    """The words of a name in snake or camel case, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def test_no_name_has_a_banned_word() -> None:
    assert not [
        f"{place}: {name} ({word}: {BANNED[word]})"
        for _, place, name in definitions()
        for word in words_of(name) & BANNED.keys()
    ]


def test_no_parameter_has_a_banned_word() -> None:
    banned = BANNED.keys() - CALLED
    assert not [
        f"{place}: {name} ({word}: {BANNED[word]})" for place, name in parameters() for word in words_of(name) & banned
    ]


def test_the_glossary_is_read() -> None:
    words = glossary()
    assert words["iteration"] == "step"
    assert words["snapshots"] == "checkpoint"
    assert words.keys().isdisjoint(STAND_FOR_ANOTHER_IDEA)


def test_a_reserved_word_is_used_for_its_idea_only() -> None:
    assert not [
        f"{place}: {name} ({word})"
        for folder, place, name in definitions()
        for word in words_of(name) & RESERVED.keys()
        if not any(folder == part or folder.startswith(f"{part}/") for part in RESERVED[word])
    ]
