"""Every step on the text of stage 2 together: whatever the documents are, none is lost silently."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.runtime.workers import open_engine
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.dedup.contamination import protect_texts, save_protected
from pretune.text.document_store import DocumentWriter, iter_corpus_file
from pretune.text.splits import hash_text
from pretune.text.steps.clean_shard import clean_shard, hash_array
from pretune.text.steps.contaminated import find_in_shards
from pretune.text.steps.dropped import dropped_rules, iter_dropped, list_dropped
from pretune.text.steps.exact_duplicates import find_exact_duplicates
from pretune.text.steps.near_duplicates import find_near_duplicates
from pretune.text.steps.select import DOCUMENTS_NAME, select_shard, write_shard

WORDS = st.sampled_from("a film good bad very 東京 größer \u200b ... ### <br> \n w1 w2 w3 w4 w5 w6 w7 w8 w9".split(" "))
DOCUMENT = st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=40).map(" ".join))
PARTS = st.lists(st.lists(DOCUMENT, max_size=8), min_size=1, max_size=3)


@settings(max_examples=20)
@given(PARTS, st.lists(DOCUMENT, max_size=3), st.booleans(), st.sampled_from([0, 1, 100]))
def test_documents_in_are_documents_out_and_dropped(
    shards: list[list[str]], protected: list[str], is_dropped: bool, most_listed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        counts, kept, listed = go_through(Path(folder), shards, protected, is_dropped, most_listed)
        assert sum(map(len, shards)) == len(kept) + sum(counts.values())
        for rule, count in counts.items():
            assert len(listed.get(f"dropped-{rule.replace('_', '-')}", [])) == min(count, most_listed)
        for documents in listed.values():
            assert all(document["source"].startswith("shard ") and document["reason"] for document in documents)
        assert all("original" in document for document in listed.get("dropped-near-duplicate", []))
        assert len(kept) == len({hash_text(text) for text in kept})


def go_through(
    folder: Path, shards: list[list[str]], protected: list[str], is_dropped: bool, most_listed: int
) -> tuple[dict[str, int], list[str], dict[str, list[dict[str, Any]]]]:
    """Counts by rule, the texts that are kept, and the lists of dropped ones by file."""

    def new(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    save_protected(folder / "protected", protect_texts(protected))
    FlatText.from_texts(protected).save(folder / "protected.flat")
    np.save(folder / "held_out.npy", hash_array([hash_text(text) for text in protected if is_dropped]))
    cleaned, results, counts = [], [], dict[str, int]()
    for number, texts in enumerate(shards):
        with DocumentWriter(folder / f"{number}.jsonl.zst") as writer:
            for text in texts:
                writer.write(text, source=f"shard {number}")
        task = {
            "documents": str(folder / f"{number}.jsonl.zst"), "rules": {}, "most_listed": most_listed,
            "near_duplicate_threshold": 0.8, "protected": str(folder / "protected"),
        }  # fmt: skip
        cleaned.append(str(new(f"clean-{number}")))
        results.append(clean_shard(Path(cleaned[-1]), task))
        count(counts, results[-1])
    sizes = {"texts": [result["kept"] for result in results], "entries": [result["signed"] for result in results]}
    find_exact_duplicates(new("exact"), {"shards": cleaned, "range": 0, "ranges": 1})
    exact = [str(folder / "exact")]
    with open_engine("threads", 1) as engine:
        near = find_near_duplicates(engine, folder, {"shards": cleaned, **sizes}, exact, 0.8)
    find_in_shards(new("contaminated"), {"shards": cleaned, "duplicates": [*exact, *near]})
    contaminated = [str(folder / "contaminated")]
    lists = {
        "exact_duplicates": exact,
        "near_duplicates": near,
        "contaminated": contaminated if is_dropped else [],
        "reported": [] if is_dropped else contaminated,
    }
    selected, kept = [], []
    for number, shard in enumerate(cleaned):
        shared = {"cleaned": shard, "threshold": 0.9, "held_out": str(folder / "held_out.npy")}
        selected.append(str(new(f"select-{number}")))
        count(counts, select_shard(Path(selected[-1]), {**lists, **shared, "shard": number}))
        out = new(f"write-{number}")
        write_shard(out, {**shared, "selected": selected[-1]})
        kept += [document["text"] for document in iter_corpus_file(out / DOCUMENTS_NAME)]
    task = {**lists, "cleaned": cleaned, "selected": selected, "most_listed": most_listed}
    list_dropped(new("lists"), {**task, "protected_texts": str(folder / "protected.flat")})
    files = dropped_rules(folder / "lists")
    return (
        counts,
        kept,
        {path.name.split(".")[0]: list(iter_dropped(folder / "lists", rule)) for rule, path in files.items()},
    )


def count(counts: dict[str, int], result: dict[str, Any]) -> None:
    """Add the documents that a step dropped."""
    for rule in result["dropped"]:
        counts[rule["name"]] = counts.get(rule["name"], 0) + rule["count"]
