"""Map: one part of the corpus as it was found becomes clean text with the hash of every text.

A cleaned part is a folder with
    texts.flat     the clean texts that passed the quality rules (`FlatText`), in the order of the corpus
    hashes.npy     (texts, 2) uint64: the first 16 bytes of `hash_text` of each, sorted
    rows.npy       (texts,) int32: which text each hash is of
    sources.npy    (texts,) int32: which of the names in sources.json each text comes from
    sources.json   the names of the sources
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.text.corpus import iter_corpus_file
from pretune.text.filters import quality_rules
from pretune.text.findings import Tally
from pretune.text.flat import FlatText
from pretune.text.normalize import clean_text
from pretune.text.splits import hash_text

TEXTS_NAME, HASHES_NAME, ROWS_NAME = "texts.flat", "hashes.npy", "rows.npy"
SOURCES_NAME, SOURCE_NAMES_NAME = "sources.npy", "sources.json"
HASH_BYTES = 16  # of a hash: two different texts share them once in 10^38 pairs

HashArray = npt.NDArray[np.uint64]
IndexArray = npt.NDArray[np.int32]


def clean_part(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Repair the documents of `task["documents"]`, a file of the collected corpus, and apply the quality rules.

    Returns documents, kept, characters (of the kept), dropped (a tally) and repairs (documents by kind of repair).
    """
    rules = quality_rules(**task["rules"])
    dropped, repairs = Tally(), Counter[str]()
    texts: list[str] = []
    hashes: list[bytes] = []
    sources: list[int] = []
    number_of: dict[str, int] = {}
    num_documents = 0
    for document in iter_corpus_file(Path(task["documents"])):
        num_documents += 1
        text = clean_text(document["text"], repairs)
        rule = next((rule for rule in rules if rule.applies(text)), None)
        if rule is not None:
            dropped.add(rule.name, rule.reason, document["text"])
            continue
        texts.append(text)
        hashes.append(hash_text(text))
        sources.append(number_of.setdefault(document["source"], len(number_of)))
    FlatText.from_texts(texts).save(out / TEXTS_NAME)
    save_hashes(out, hashes)
    np.save(out / SOURCES_NAME, np.array(sources, dtype=np.int32))
    (out / SOURCE_NAMES_NAME).write_text(json.dumps(list(number_of)), encoding="utf-8")
    return {
        "documents": num_documents,
        "kept": len(texts),
        "characters": sum(map(len, texts)),
        "dropped": dropped.to_json(),
        "repairs": dict(repairs),
    }


def hash_array(digests: Sequence[bytes]) -> HashArray:
    """(texts, 2): the first 16 bytes of hashes, as numbers in the same order."""
    whole = b"".join(digest[:HASH_BYTES] for digest in digests)
    return np.frombuffer(whole, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def save_hashes(folder: Path, digests: list[bytes]) -> None:
    """Write hashes and rows of texts, in the order of the texts."""
    hashes = hash_array(digests)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: equal hashes stay in the order of the texts
    np.save(folder / HASHES_NAME, hashes[order])
    np.save(folder / ROWS_NAME, order.astype(np.int32))


def load_hashes(folder: Path) -> HashArray:
    """(texts, 2): the hashes of a cleaned part in the order of its texts."""
    rows = np.load(folder / ROWS_NAME)
    hashes = np.empty((len(rows), 2), dtype=np.uint64)
    hashes[rows] = np.load(folder / HASHES_NAME)
    return hashes


def units_of(hashes: HashArray) -> npt.NDArray[np.float64]:
    """(texts,): the number of `splits.unit_of_hash` of each text."""
    units: npt.NDArray[np.float64] = (hashes[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53
    return units


def load_sources(folder: Path) -> tuple[list[str], IndexArray]:
    """The names of the sources of a cleaned part, and for each text the number of its source."""
    names: list[str] = json.loads((folder / SOURCE_NAMES_NAME).read_text(encoding="utf-8"))
    return names, np.load(folder / SOURCES_NAME)
