"""Find documents of the corpus that share text with protected texts, such as those that a model will be tested on.

A document is contaminated if it shares 13 words in a row with a protected text, the measure of GPT-3 (Brown et al.
2020, appendix C); 8 words if either has fewer than 13; and, for a protected text of fewer than 8 words, if the whole
document has the same words, whatever the punctuation. As in GPT-3, words that occur in more than ten documents are a
common phrase and do not count.

Map: `find_hits` for a batch. Reduce: `find_contaminated` over the hits of all batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.word_hashes import HashedWords, Int64s, UInt64s, fold_words, hash_words

LONG, SHORT = 13, 8  # words in a row
MOST_DOCUMENTS = 10  # words in more documents do not count

_TEXTS_AT_ONCE = 2000

Hits = np.ndarray[Any, np.dtype[np.int64]]
Grams = tuple[UInt64s, np.ndarray[Any, np.dtype[np.int32]]]


@dataclass(frozen=True)
class ProtectedWords:
    """The n-grams of some texts: sorted hashes, each with the first text that it is from.

    `long` has the 13-grams of texts that have any, `rest` the 8-grams of shorter texts, `short` the 8-grams of all, and
    `whole` all words of texts with fewer than 8.
    """

    long: Grams
    rest: Grams
    short: Grams
    whole: Grams


def protect_texts(texts: Sequence[str]) -> ProtectedWords:
    """The n-grams that `find_hits` compares a batch with: about 40 bytes per word."""
    parts = [_protect_some(texts[i : i + _TEXTS_AT_ONCE], i) for i in range(0, max(1, len(texts)), _TEXTS_AT_ONCE)]
    return ProtectedWords(*(_merge([part[kind] for part in parts]) for kind in range(len(fields(ProtectedWords)))))


def _protect_some(texts: Sequence[str], first: int) -> tuple[Grams, Grams, Grams, Grams]:
    words = hash_words(texts)
    is_long = words.num_words >= LONG

    def different(of_texts: Int64s, n: int) -> Grams:
        positions, counts = words.ngram_positions(of_texts, n)
        return _merge([(words.ngrams(n)[positions], (np.repeat(of_texts, counts) + first).astype(np.int32))])

    hashes, of_whole = _all_words(words)
    return (
        different(np.flatnonzero(is_long), LONG),
        different(np.flatnonzero(~is_long), SHORT),
        different(np.arange(len(texts)), SHORT),
        _merge([(hashes, (of_whole + first).astype(np.int32))]),
    )


def _all_words(words: HashedWords) -> tuple[UInt64s, Int64s]:
    """A hash of all words of each text with 1 to SHORT - 1 words, and the indices of these texts."""
    is_few = (words.num_words > 0) & (words.num_words < SHORT)
    few, texts = words.only(is_few), np.flatnonzero(is_few)
    hashes = np.zeros(len(texts), dtype=np.uint64)
    for n in np.unique(few.num_words).tolist():
        rows = np.flatnonzero(few.num_words == n)
        hashes[rows] = few.ngrams(n)[few.offsets[rows]]
    return hashes, texts


def _merge(parts: Sequence[Grams]) -> Grams:
    """The distinct n-grams, each with the first text that it is from."""
    grams, place = np.unique(np.concatenate([part[0] for part in parts]), return_index=True)
    return grams, np.concatenate([part[1] for part in parts])[place]


def find_hits(words: HashedWords, protected: ProtectedWords) -> Hits:
    """(hits, 3): a text of the batch, the number of an n-gram in it, and a protected text with that n-gram."""
    is_long = words.num_words >= LONG
    first_short = len(protected.long[0])
    first_whole = first_short + len(protected.short[0])
    found = [
        _shared(words, np.flatnonzero(is_long), LONG, *protected.long, 0),
        _shared(words, np.flatnonzero(is_long), SHORT, *protected.rest, first_short, protected.short[0]),
        _shared(words, np.flatnonzero(~is_long), SHORT, *protected.short, first_short),
        _looked_up(*_all_words(words), *protected.whole, first_whole),
    ]
    return np.unique(np.concatenate(found), axis=0)


def _shared(
    words: HashedWords,
    texts: Int64s,
    n: int,
    grams: UInt64s,
    owners: np.ndarray[Any, np.dtype[np.int32]],
    first_number: int,
    numbering: UInt64s | None = None,
) -> Hits:
    """Hits among the n-grams of some texts, numbered by their index in `numbering`, or else in `grams`."""
    positions, counts = words.ngram_positions(texts, n)
    if not len(grams) or not len(positions):
        return np.zeros((0, 3), dtype=np.int64)
    hashes = words.ngrams(n)[positions]
    return _looked_up(hashes, np.repeat(texts, counts), grams, owners, first_number, numbering)


def _looked_up(
    hashes: UInt64s,
    texts: Int64s,
    grams: UInt64s,
    owners: np.ndarray[Any, np.dtype[np.int32]],
    first_number: int,
    numbering: UInt64s | None = None,
) -> Hits:
    """Hits among hashes, each of which belongs to a text."""
    if not len(grams):
        return np.zeros((0, 3), dtype=np.int64)
    place = np.minimum(np.searchsorted(grams, hashes), len(grams) - 1)
    is_hit = grams[place] == hashes
    place = place[is_hit]
    numbers = place if numbering is None else np.searchsorted(numbering, grams[place])
    return np.stack([texts[is_hit], numbers + first_number, owners[place]], axis=1, dtype=np.int64)


def shared_words(text: str, protected: str) -> str:
    """The first words in a row that make a text contaminated; empty if the whole text is the same."""
    words, others = fold_words(text), fold_words(protected)
    n = LONG if min(len(words), len(others)) >= LONG else SHORT
    grams = {tuple(others[i : i + n]) for i in range(len(others) - n + 1)}
    starts = (i for i in range(len(words) - n + 1) if tuple(words[i : i + n]) in grams)
    return next((" ".join(words[i : i + n]) for i in starts), "")


def find_contaminated(hits: Sequence[Hits]) -> list[Hits]:
    """(documents, 2) for every batch of hits: contaminated documents, each with the first protected text it shares."""
    together = np.concatenate([*hits, np.zeros((0, 3), dtype=np.int64)])
    _, place, documents = np.unique(together[:, 1], return_inverse=True, return_counts=True)
    counts = np.split(documents[place] <= MOST_DOCUMENTS, np.cumsum([len(each) for each in hits])[:-1])
    found = []
    for batch, is_counted in zip(hits, counts, strict=False):
        rows, first = np.unique(batch[is_counted, 0], return_index=True)
        found.append(np.stack([rows, batch[is_counted, 2][first]], axis=1))
    return found


def save_protected(folder: Path, protected: ProtectedWords) -> None:
    """Write the result of `protect_texts` into a new folder."""
    folder.mkdir()
    for item in fields(protected):
        for i, array in enumerate(getattr(protected, item.name)):
            np.save(folder / f"{item.name}-{i}.npy", array, allow_pickle=False)


def load_protected(folder: Path) -> ProtectedWords:
    """Read what `save_protected` wrote, mapped into memory: workers on one machine share it."""
    return ProtectedWords(
        *(
            (
                load_array(folder / f"{item.name}-0.npy", mmap_mode="r"),
                load_array(folder / f"{item.name}-1.npy", mmap_mode="r"),
            )
            for item in fields(ProtectedWords)
        )
    )
