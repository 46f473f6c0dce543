"""The documents that stage 2 dropped, for people to read: one file per rule, with text, source, reason and original."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import InputDataError
from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.dedup.contamination import shared_words
from pretune.text.document_store import DocumentWriter, iter_corpus_file
from pretune.text.steps.clean_shard import DROPPED_NAME, TEXTS_NAME, load_sources
from pretune.text.steps.contaminated import load_contaminated
from pretune.text.steps.exact_duplicates import load_duplicates
from pretune.text.steps.select import REASONS, REASONS_NAME

LONGEST_LISTED = 10_000  # characters; the rest of a text is cut off
_SUFFIX = ".jsonl.zst"

Place = tuple[int, int]  # shard and row of a text
Named = tuple[str, str]  # a text and its source


def list_dropped(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: write `dropped-RULE.jsonl.zst` for every rule, with at most `task["most_listed"]` documents in order.

    `task["cleaned"]` and `task["selected"]` are the folders of the shards; the other keys are those of `select_shard`.
    The folders `task["reported"]` list contaminated documents that are kept; their file is `kept-contaminated`.
    """
    listed = _list_of_rules(out, task)
    wanted = _wanted(task)
    places = {place for found in wanted.values() for each in found for place in each[:2] if place is not None}
    texts = _load_texts([Path(shard) for shard in task["cleaned"]], places)
    protected = FlatText.load(Path(task["protected_texts"])) if task.get("protected_texts") else None
    for name, found in wanted.items():
        if not found:
            continue
        rule = name.partition("-")[2].replace("-", "_")
        with DocumentWriter(out / f"{name}{_SUFFIX}") as writer:
            for place, original, similarity, owner in found:
                text, source = texts[place]
                fields: dict[str, Any] = {"source": source, "rule": rule, "reason": REASONS[rule]}
                if name.startswith("kept-"):
                    fields["kept"] = True
                if original is not None:
                    fields["original"], fields["original_source"] = texts[original]
                if similarity is not None:
                    fields["similarity"] = round(similarity, 4)
                if owner is not None and protected is not None:
                    fields["original"] = protected[owner][:LONGEST_LISTED]
                    fields["shared"] = shared_words(text, protected[owner])
                writer.write(text, **fields)
        listed[name] = len(found)
    return {"listed": listed}


def _list_of_rules(out: Path, task: dict[str, Any]) -> dict[str, int]:
    """Write the documents that quality rules dropped, as the shards listed them; returns the number per file."""
    writers: dict[str, DocumentWriter] = {}
    listed: dict[str, int] = {}
    for shard in task["cleaned"]:
        for document in iter_corpus_file(Path(shard) / DROPPED_NAME):
            name = file_stem(document["rule"])
            listed[name] = listed.get(name, 0) + 1
            if listed[name] <= task["most_listed"]:
                writer = writers.get(name) or writers.setdefault(name, DocumentWriter(out / f"{name}{_SUFFIX}"))
                writer.write(**{**document, "text": document["text"][:LONGEST_LISTED]})
    for writer in writers.values():
        writer.close()
    return {name: min(count, task["most_listed"]) for name, count in listed.items()}


# A dropped text, the text that it repeats, their similarity, and the number of the protected text.
Found = tuple[Place, Place | None, float | None, int | None]


def _wanted(task: dict[str, Any]) -> dict[str, list[Found]]:
    """The texts to list in each file, with what they repeat."""
    wanted: dict[str, list[Found]] = {}
    places = {name: number for number, name in enumerate(REASONS, 1)}
    for shard, selected in enumerate(task["selected"]):
        reasons = load_array(Path(selected) / REASONS_NAME)
        for rule, lists in (
            ("exact_duplicate", task["exact_duplicates"]),
            ("near_duplicate", task["near_duplicates"]),
            ("held_out", None),
            ("contaminated", task["contaminated"]),
        ):
            found = wanted.setdefault(file_stem(rule), [])
            rows = np.flatnonzero(reasons == places[rule])[: task["most_listed"] - len(found)].tolist()
            found += _with_originals(shard, rule, rows, lists or [])
        kept = wanted.setdefault("kept-contaminated", [])
        reported = [
            row for folder in task["reported"] for row in load_contaminated(Path(folder), shard)["row"].tolist()
        ]
        rows = [row for row in reported if reasons[row] == 0][: task["most_listed"] - len(kept)]
        kept += _with_originals(shard, "contaminated", rows, task["reported"])
    return wanted


def _with_originals(shard: int, rule: str, rows: list[int], lists: list[str]) -> list[Found]:
    if rule == "held_out" or not rows:
        return [((shard, row), None, None, None) for row in rows]
    if rule == "contaminated":
        of_row = _records_by_row(lists, lambda folder: load_contaminated(folder, shard))
        return [((shard, row), None, None, int(of_row[row]["text"])) for row in rows]
    of_row = _records_by_row(lists, lambda folder: load_duplicates([folder], shard))
    return [
        (
            (shard, row),
            (int(of_row[row]["of_shard"]), int(of_row[row]["of_row"])),
            float(of_row[row]["similarity"]) if rule == "near_duplicate" else None,
            None,
        )
        for row in rows
    ]


def _records_by_row(folders: list[str], load: Callable[[Path], Any]) -> dict[int, Any]:
    """The records of all folders by row."""
    return {int(record["row"]): record for folder in folders for record in load(Path(folder))}


def _load_texts(cleaned: list[Path], places: set[Place]) -> dict[Place, Named]:
    """The beginning of each text, and its source; every shard is read once."""
    by_shard: dict[int, list[int]] = {}
    for shard, row in places:
        by_shard.setdefault(shard, []).append(row)
    found: dict[Place, Named] = {}
    for shard, rows in by_shard.items():
        texts = FlatText.load(cleaned[shard] / TEXTS_NAME)
        names, source_of = load_sources(cleaned[shard])
        for row in rows:
            found[shard, row] = texts[row][:LONGEST_LISTED], names[source_of[row]]
    return found


def file_stem(rule: str) -> str:
    """The name of a rule's file without its ending."""
    return f"dropped-{rule.replace('_', '-')}"


def dropped_rules(folder: Path) -> dict[str, Path]:
    """The rules that a stage folder lists documents for, spelled as on the command line, and their files."""
    files = sorted(folder.glob(f"dropped-*{_SUFFIX}")) + sorted(folder.glob(f"kept-*{_SUFFIX}"))
    return {file.name.removesuffix(_SUFFIX).partition("-")[2]: file for file in files}


def iter_dropped(folder: Path, rule: str) -> Iterator[dict[str, Any]]:
    """The listed documents that a rule dropped; `rule` is spelled with hyphens or underscores.

    Raises InputDataError if the folder has no list for the rule; the message names those that it has.
    """
    files = dropped_rules(folder)
    name = rule.replace("_", "-")
    if name not in files:
        there = "it has no lists: expected a preprocess folder in which something was dropped"
        if files:
            there = f"it has lists for {', '.join(files)}"
        raise InputDataError(f"{folder} lists no documents dropped by {rule!r}; {there}.")
    yield from iter_corpus_file(files[name])
