from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.cleaning import clean_part, load_hashes, load_sources, units_of
from pretune.text.corpus import DocumentWriter
from pretune.text.flat import FlatText
from pretune.text.normalize import clean_text
from pretune.text.splits import hash_text, hash_unit

RULES = {"min_words": 2, "max_symbol_ratio": 0.5, "disabled": []}
TEXTS = ["A <b>first</b>  text.", "alone", "Zwei Wörter", "!!! ??? !!!", "a FIRST text.", "caf\u00e9 &amp; bar"]


def cleaned(tmp_path: Path) -> dict[str, Any]:
    with DocumentWriter(tmp_path / "in.jsonl.zst") as writer:
        for number, text in enumerate(TEXTS):
            writer.write(text, source=f"file {number % 2}", line=number)
    return clean_part(tmp_path, {"documents": str(tmp_path / "in.jsonl.zst"), "rules": RULES})


def test_every_document_is_kept_or_counted(tmp_path: Path) -> None:
    result = cleaned(tmp_path)
    kept = [clean_text(text) for text in TEXTS if text not in ("alone", "!!! ??? !!!")]
    assert FlatText.load(tmp_path / "texts.flat").texts() == kept
    assert result["documents"] == len(TEXTS) == result["kept"] + sum(rule["count"] for rule in result["dropped"])
    assert {rule["name"]: rule["count"] for rule in result["dropped"]} == {"min_words": 1, "max_symbol_ratio": 1}
    assert result["repairs"] == {"markup": 1, "entities": 1}


def test_hashes_and_sources_are_those_of_the_texts(tmp_path: Path) -> None:
    cleaned(tmp_path)
    texts = FlatText.load(tmp_path / "texts.flat").texts()
    hashes = load_hashes(tmp_path)
    assert [row.astype(">u8").tobytes() for row in hashes] == [hash_text(text)[:16] for text in texts]
    assert units_of(hashes).tolist() == [hash_unit(text) for text in texts]
    assert (np.diff(np.load(tmp_path / "hashes.npy")[:, 0].astype(object)) >= 0).all()
    names, source_of = load_sources(tmp_path)
    assert [names[source] for source in source_of] == ["file 0", "file 0", "file 0", "file 1"]
