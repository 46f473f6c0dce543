from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.arrays.text_buffer import FlatText
from pretune.text.clean.normalize import clean_text
from pretune.text.document_store import DocumentWriter
from pretune.text.splits import hash_text, hash_unit
from pretune.text.steps.clean_shard import clean_shard, load_hashes, load_sources, units_of

HOSTILE = [
    "\ud800 lone",
    "\0\x1b[2J\x7f",
    "a\u2028b\x85c\rd",
    "\ufeff\ufffd\ufffe",
    "&#0;&#xD800;&lt;",
    "<" * 99,
    "\u200b" * 30,
    "é" * 3000,
]
RULES = {"min_words": 2, "max_symbol_ratio": 0.5, "disabled": []}
TEXTS = ["A <b>first</b>  text.", "alone", "Zwei Wörter", "!!! ??? !!!", "a FIRST text.", "caf\u00e9 &amp; bar"]


def cleaned(tmp_path: Path) -> dict[str, Any]:
    with DocumentWriter(tmp_path / "in.jsonl.zst") as writer:
        for number, text in enumerate(TEXTS):
            writer.write(text, source=f"file {number % 2}", line=number)
    return clean_shard(tmp_path, {"documents": str(tmp_path / "in.jsonl.zst"), "rules": RULES})


def test_every_document_is_kept_or_counted(tmp_path: Path) -> None:
    result = cleaned(tmp_path)
    kept = [clean_text(text) for text in TEXTS if text not in ("alone", "!!! ??? !!!")]
    assert FlatText.load(tmp_path / "texts.flat").texts() == kept
    assert result["documents"] == len(TEXTS) == result["kept"] + sum(rule["count"] for rule in result["dropped"])
    assert {rule["name"]: rule["count"] for rule in result["dropped"]} == {"min_words": 1, "max_symbol_ratio": 1}
    assert result["repairs"] == {"markup": 1, "entities": 1}


@settings(max_examples=60)
@given(texts=st.lists(st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE), st.sampled_from(TEXTS)), max_size=9))
def test_whatever_a_text_is_it_is_kept_or_counted(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("f")
    texts = [text for text in texts if text and not text.isspace()]  # as stage 1 leaves them
    with DocumentWriter(folder / "in.jsonl.zst") as writer:
        for number, text in enumerate(["A first one.", *texts]):
            writer.write(text, source="a", line=number)
    result = clean_shard(folder, {"documents": str(folder / "in.jsonl.zst"), "rules": RULES})
    assert result["documents"] == len(texts) + 1 == result["kept"] + sum(rule["count"] for rule in result["dropped"])
    kept = FlatText.load(folder / "texts.flat").texts()
    assert len(kept) == result["kept"]
    assert all(text.strip() for text in kept)


def test_hashes_and_sources_are_those_of_the_texts(tmp_path: Path) -> None:
    cleaned(tmp_path)
    texts = FlatText.load(tmp_path / "texts.flat").texts()
    hashes = load_hashes(tmp_path)
    assert [row.astype(">u8").tobytes() for row in hashes] == [hash_text(text)[:16] for text in texts]
    assert units_of(hashes).tolist() == [hash_unit(text) for text in texts]
    assert (np.diff(np.load(tmp_path / "hashes.npy")[:, 0].astype(object)) >= 0).all()
    names, source_of = load_sources(tmp_path)
    assert [names[source] for source in source_of] == ["file 0", "file 0", "file 0", "file 1"]
