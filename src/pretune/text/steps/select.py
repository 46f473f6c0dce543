"""Map: select the texts of a cleaned shard to keep; then count their words, and write them with their split.

A selected shard is a folder with `reasons.npy`, (texts,) uint8: 0 for a kept text, otherwise 1 + the index of the
reason in `REASONS`. A counted shard has the counts of `word_counts`, a written one `documents.jsonl.zst`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.counted_words import count_in_bytes
from pretune.text.arrays.scripts import CHARACTERS_PER_WORD, LETTERS_PER_WORD
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.clean.rule_measures import num_words
from pretune.text.document_store import DocumentWriter
from pretune.text.reading_report import EXAMPLES_PER_RULE, Tally
from pretune.text.steps.clean_shard import TEXTS_NAME, HashArray, load_hashes, load_sources, units_of
from pretune.text.steps.contaminated import load_contaminated
from pretune.text.steps.exact_duplicates import load_duplicates
from pretune.text.tokenizer.word_counts import save_counts

REASONS_NAME, DOCUMENTS_NAME = "reasons.npy", "documents.jsonl.zst"
SPLITS = ("train", "validation")
SAMPLED_CHARACTERS = 300  # of a text, to identify its language
_FIRST_WITHOUT_BLANKS = 0xE0  # the smallest UTF-8 byte that begins a character of a script without blanks
LENGTHS = (1, 5, 10, 25, 50, 100, 250, 1000)  # words: where each group begins

# In the order in which they are checked; only the first that applies is counted.
REASONS = {
    "exact_duplicate": "repeats an earlier text, ignoring white space and case",
    "near_duplicate": "nearly repeats an earlier text",
    "held_out": "is a labelled validation or test row, or a protected text",
    "contaminated": "shares 13 words in a row (8 if short; without blanks, a word is "
    f"{CHARACTERS_PER_WORD} or {LETTERS_PER_WORD} characters) with a held-out or protected text",
}

BoolArray = npt.NDArray[np.bool_]


def select_shard(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Select texts of the cleaned shard `task["cleaned"]`, which is shard `task["shard"]` of the corpus.

    `task["exact_duplicates"]` and `task["near_duplicates"]` are the folders with the lists of duplicates,
    `task["contaminated"]` those with the lists of contaminated documents, `task["held_out"]` is a file of hashes,
    `task["threshold"]` the unit from which a text is for validation, `task["sampled_fraction"]` the fraction of the
    kept texts, chosen by hash, to return as a sample. Returns kept, validation (of the kept),
    train_characters (bytes of UTF-8), sample (the beginnings of texts) and dropped (a tally).
    """
    cleaned = Path(task["cleaned"])
    hashes = load_hashes(cleaned)
    reasons = np.zeros(len(hashes), dtype=np.uint8)
    drop(reasons, "exact_duplicate", load_duplicates(map(Path, task["exact_duplicates"]), task["shard"])["row"])
    drop(reasons, "near_duplicate", load_duplicates(map(Path, task.get("near_duplicates", [])), task["shard"])["row"])
    drop(reasons, "held_out", np.flatnonzero(_is_among(hashes, load_array(task["held_out"]))))
    for folder in task.get("contaminated", []):
        drop(reasons, "contaminated", load_contaminated(Path(folder), task["shard"])["row"])
    np.save(out / REASONS_NAME, reasons)
    is_kept = reasons == 0
    is_validation = units_of(hashes) >= task["threshold"]
    texts = FlatText.load(cleaned / TEXTS_NAME)
    sizes = np.diff(texts.offsets)
    sampled = np.flatnonzero(is_kept & (_second_units(hashes) < task.get("sampled_fraction", 0.0)))
    return {
        "kept": int(is_kept.sum()),
        "validation": int((is_kept & is_validation).sum()),
        "train_characters": int(sizes[is_kept & ~is_validation].sum()),
        "sample": [texts[row][:SAMPLED_CHARACTERS] for row in sampled.tolist()],
        "dropped": _tally(reasons, texts).to_json(),
    }


def _second_units(hashes: HashArray) -> npt.NDArray[np.float64]:
    """(texts,): numbers in [0, 1) that are independent of the split."""
    units: npt.NDArray[np.float64] = hashes[:, 1].astype(np.float64) / 2**64
    return units


def drop(reasons: npt.NDArray[np.uint8], reason: str, rows: npt.NDArray[np.integer[Any]]) -> None:
    """Mark rows as dropped for a reason, unless an earlier reason applied."""
    rows = rows[reasons[rows] == 0]
    reasons[rows] = 1 + list(REASONS).index(reason)


def _is_among(hashes: HashArray, wanted: HashArray) -> BoolArray:
    """(texts,): whether the hash of each text is in `wanted`."""
    found: BoolArray = np.isin(hashes[:, 0], wanted[:, 0])
    known = set(map(tuple, wanted.tolist()))
    for row in np.flatnonzero(found):
        found[row] = tuple(hashes[row].tolist()) in known
    return found


def _tally(reasons: npt.NDArray[np.uint8], texts: FlatText) -> Tally:
    tally = Tally()
    for place, (name, reason) in enumerate(REASONS.items(), 1):
        of_reason = [texts[row] for row in np.flatnonzero(reasons == place).tolist()]
        tally.add_many(name, reason, len(of_reason), of_reason[:EXAMPLES_PER_RULE], sum(map(len, of_reason)))
    return tally


def kept_hashes(cleaned: Path, selected: Path) -> HashArray:
    """(kept texts, 2): the hash of each, as `load_hashes` returns it."""
    hashes: HashArray = load_hashes(cleaned)[load_array(selected / REASONS_NAME) == 0]
    return hashes


def kept_texts(task: dict[str, Any], flat: FlatText | None = None) -> tuple[list[str], npt.NDArray[np.intp], BoolArray]:
    """The kept texts of shard `task["cleaned"]`, `task["selected"]`; their rows; whether each is for validation."""
    cleaned = Path(task["cleaned"])
    rows = np.flatnonzero(load_array(Path(task["selected"]) / REASONS_NAME) == 0)
    texts = (flat or FlatText.load(cleaned / TEXTS_NAME)).texts()
    return [texts[row] for row in rows.tolist()], rows, units_of(load_hashes(cleaned))[rows] >= task["threshold"]


def count_shard(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Count the words of the kept training texts; `task["counted_fraction"]` of the texts, chosen by hash."""
    cleaned = Path(task["cleaned"])
    hashes = load_hashes(cleaned)
    is_counted = load_array(Path(task["selected"]) / REASONS_NAME) == 0
    is_counted &= units_of(hashes) < task["threshold"]
    is_counted &= _second_units(hashes) < task["counted_fraction"]
    texts = FlatText.load(cleaned / TEXTS_NAME)
    counts = count_in_bytes(texts.joined_bytes(np.flatnonzero(is_counted), b" "))
    save_counts(out, counts, task["word_ranges"])
    return {"texts": int(is_counted.sum())}


def write_shard(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Write the kept texts with source and split.

    Returns words and documents by split, characters, and the number of documents in each group of LENGTHS.
    """
    cleaned = Path(task["cleaned"])
    flat = FlatText.load(cleaned / TEXTS_NAME)
    texts, rows, is_validation = kept_texts(task, flat)
    names, source_of = load_sources(cleaned)
    splits = [SPLITS[i] for i in is_validation.astype(int).tolist()]
    with DocumentWriter(out / DOCUMENTS_NAME) as writer:
        writer.write_many(texts, source=[names[source] for source in source_of[rows].tolist()], split=splits)
    words = flat.count(ord(" "))[rows] + 1
    if flat.data.max(initial=0) >= _FIRST_WITHOUT_BLANKS:
        for place, text in enumerate(texts):
            if not text.isascii():
                words[place] = num_words(text)
    lengths = np.bincount(np.searchsorted(LENGTHS, words, side="right") - 1, minlength=len(LENGTHS))
    return {
        "characters": sum(map(len, texts)),
        "lengths": lengths.tolist(),
        "words": {"train": int(words[~is_validation].sum()), "validation": int(words[is_validation].sum())},
        "by_split": {"train": int((~is_validation).sum()), "validation": int(is_validation.sum())},
    }
