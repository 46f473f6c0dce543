from pathlib import Path

import numpy as np

from pretune.text.arrays.counted_words import Stretches
from pretune.text.document_store import DocumentWriter, iter_corpus_file
from pretune.text.splits import hash_text, hash_unit
from pretune.text.steps.clean_shard import clean_shard, hash_array, units_of
from pretune.text.steps.exact_duplicates import find_exact_duplicates
from pretune.text.steps.select import count_shard, kept_hashes, kept_texts, select_shard, write_shard

RULES = {"min_words": 1, "max_symbol_ratio": 0.5, "disabled": []}
TEXTS = ["sun", "moon", "SUN", "held out", "star", "Held  Out", "sea"]


def test_reasons_units_and_documents(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("cleaned", "exact", "selected", "written")}
    for path in paths.values():
        path.mkdir()
    with DocumentWriter(tmp_path / "in.zst") as writer:
        for text in TEXTS:
            writer.write(text, source="here")
    clean_shard(paths["cleaned"], {"documents": str(tmp_path / "in.zst"), "rules": RULES})
    find_exact_duplicates(paths["exact"], {"shards": [str(paths["cleaned"])], "range": 0, "ranges": 1})
    np.save(tmp_path / "held_out.npy", hash_array([hash_text("held out"), hash_text("something else")]))
    kept = ["sun", "moon", "star", "sea"]
    threshold = sorted(map(hash_unit, kept))[-2]
    task = {
        "cleaned": str(paths["cleaned"]),
        "shard": 0,
        "exact_duplicates": [str(paths["exact"])],
        "held_out": str(tmp_path / "held_out.npy"),
        "threshold": threshold,
    }
    result = select_shard(paths["selected"], task)
    assert (result["kept"], result["validation"]) == (4, 2)
    assert {rule["name"]: rule["count"] for rule in result["dropped"]} == {"exact_duplicate": 2, "held_out": 1}
    assert units_of(kept_hashes(paths["cleaned"], paths["selected"])).tolist() == [hash_unit(text) for text in kept]

    writing = {**task, "selected": str(paths["selected"])}
    texts, rows, is_validation = kept_texts(writing)
    assert texts == kept
    assert rows.tolist() == [0, 1, 4, 6]
    for share, words in ((1.0, {"sun", "moon", "star", "sea"}), (0.0, set())):
        out = tmp_path / f"counted-{share}"
        out.mkdir()
        count_shard(out, {**writing, "counted_fraction": share, "word_ranges": 2})
        counted = [word for number in range(2) for word in Stretches.load(out, number).as_dict()]
        assert set(counted) == words - {text for text, is_held in zip(texts, is_validation, strict=True) if is_held}
    written = write_shard(paths["written"], writing)
    assert written["by_split"] == written["words"] == {"train": 2, "validation": 2}
    documents = list(iter_corpus_file(paths["written"] / "documents.jsonl.zst"))
    assert [document["text"] for document in documents] == kept
    assert [document["split"] == "validation" for document in documents] == is_validation.tolist()
    assert {document["source"] for document in documents} == {"here"}
