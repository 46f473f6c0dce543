"""Map: turn one shard of the collected corpus into clean text with the hash of every text.

A cleaned shard is a folder with
    texts.flat     the clean texts that passed the quality rules (`FlatText`), in the order of the corpus
    hashes.npy     (texts, 2) uint64: the first 16 bytes of `hash_text` of each, sorted
    rows.npy       (texts,) int32: the row of the text of each hash
    sources.npy    (texts,) int32: for each text, the index of its source in sources.json
    sources.json   the names of the sources
    signatures     the `Signatures` for the search for near duplicates, if one is wanted
    hits.npy       words shared with protected texts (`contamination.find_hits`), if there are any
    dropped.jsonl.zst  the first documents that each rule dropped
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.arrays.word_hashes import HashedWords
from pretune.text.clean.rules import quality_rules
from pretune.text.clean.screening import screen_documents
from pretune.text.dedup.contamination import find_hits, load_protected
from pretune.text.dedup.minhash import sign_texts, write_signatures
from pretune.text.document_store import DocumentWriter, iter_corpus_file
from pretune.text.reading_report import Tally
from pretune.text.splits import hash_texts

TEXTS_NAME, HASHES_NAME, ROWS_NAME = "texts.flat", "hashes.npy", "rows.npy"
SOURCES_NAME, SOURCE_NAMES_NAME = "sources.npy", "sources.json"
SIGNATURES_NAME, HITS_NAME, DROPPED_NAME = "signatures", "hits.npy", "dropped.jsonl.zst"
HASH_BYTES = 16  # kept of a hash: two different texts share them once in 10^38 pairs

HashArray = npt.NDArray[np.uint64]
IndexArray = npt.NDArray[np.int32]


def clean_shard(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Repair the documents of `task["documents"]`, a file of the collected corpus, and apply the quality rules.

    `task["screening"]` has the options of `screen_documents`; at most `task["most_listed"]` documents are listed per
    rule. Signatures are written if `task["near_duplicate_threshold"]` is set, and hits if `task["protected"]` is.
    Returns documents, kept, their characters (as found, repaired, and of the kept), signed (entries of the signatures),
    dropped (a tally), repairs, personal_data and languages (counts by kind).
    """
    documents = list(iter_corpus_file(Path(task["documents"])))
    found = [document["text"] for document in documents]
    screened = screen_documents(found, quality_rules(**task["rules"]), **task.get("screening", {}))
    dropped = Tally()
    most_listed = task.get("most_listed", 0)
    is_personal_replaced = task.get("screening", {}).get("is_personal_replaced", False)
    with DocumentWriter(out / DROPPED_NAME) as writer:
        for document, text, rule in zip(documents, screened.texts, screened.broken, strict=True):
            if rule is not None:
                # Shown as found, unless personal data is replaced: the repairs may be what reveals it.
                shown = text if is_personal_replaced else document["text"]
                dropped.add(rule.name, rule.reason, shown, len(text))
                if dropped.count(rule.name) <= most_listed:
                    writer.write(shown, source=document["source"], rule=rule.name, reason=rule.reason)
    is_kept = screened.is_kept()
    kept = np.flatnonzero(is_kept).tolist()
    texts = [screened.texts[row] for row in kept]
    FlatText.from_texts(texts).save(out / TEXTS_NAME)
    save_hashes(out, hash_texts(texts, screened.is_plain[is_kept].tolist()))
    _save_sources(out, [documents[row]["source"] for row in kept])
    num_signed = _search_words(out, task, texts, screened.words.only(is_kept))
    return {
        "documents": len(documents),
        "kept": len(texts),
        "signed": num_signed,
        "found_characters": sum(map(len, found)),
        "repaired_characters": sum(map(len, screened.texts)),
        "characters": sum(map(len, texts)),
        "dropped": dropped.to_json(),
        "repairs": dict(screened.repairs),
        "personal_data": dict(screened.personal_data),
        "languages": dict(screened.languages),
    }


def _search_words(out: Path, task: dict[str, Any], texts: list[str], words: HashedWords) -> int:
    """Write the signatures and the hits, if they are wanted; returns the number of entries that were signed."""
    threshold, protected = task.get("near_duplicate_threshold"), task.get("protected")
    num_signed = 0
    if threshold is not None:
        signed = sign_texts(texts, threshold, words)
        num_signed = len(signed.text)
        write_signatures(out / SIGNATURES_NAME, signed)
    if protected is not None:
        np.save(out / HITS_NAME, find_hits(words, load_protected(Path(protected))))
    return num_signed


def _save_sources(out: Path, sources: list[str]) -> None:
    number_of = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    np.save(out / SOURCES_NAME, np.array([number_of[source] for source in sources], dtype=np.int32))
    (out / SOURCE_NAMES_NAME).write_text(json.dumps(list(number_of)), encoding="utf-8")


def hash_array(digests: Sequence[bytes]) -> HashArray:
    """(texts, 2): the first 16 bytes of each hash, as numbers in the same order."""
    whole = b"".join(digest[:HASH_BYTES] for digest in digests)
    return np.frombuffer(whole, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def save_hashes(folder: Path, digests: list[bytes]) -> None:
    """Write the sorted hashes and their rows; `digests` are in the order of the texts."""
    hashes = hash_array(digests)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: equal hashes stay in the order of the texts
    np.save(folder / HASHES_NAME, hashes[order])
    np.save(folder / ROWS_NAME, order.astype(np.int32))


def load_hashes(folder: Path) -> HashArray:
    """(texts, 2): the hashes of a cleaned shard in the order of its texts."""
    rows = load_array(folder / ROWS_NAME)
    hashes = np.empty((len(rows), 2), dtype=np.uint64)
    hashes[rows] = load_array(folder / HASHES_NAME)
    return hashes


def units_of(hashes: HashArray) -> npt.NDArray[np.float64]:
    """(texts,): the number of `splits.unit_of_hash` of each text."""
    units: npt.NDArray[np.float64] = (hashes[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53
    return units


def load_sources(folder: Path) -> tuple[list[str], IndexArray]:
    """The names of the sources of a cleaned shard, and for each text the index of its source."""
    names: list[str] = json.loads((folder / SOURCE_NAMES_NAME).read_text(encoding="utf-8"))
    return names, load_array(folder / SOURCES_NAME)
