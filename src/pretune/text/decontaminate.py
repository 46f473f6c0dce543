"""Text that a model will be tested on, or that is to be kept out for another reason, found in the corpus.

A document is contaminated where it shares 13 words in a row with a protected text, the measure of GPT-3 (Brown et al.
2020, appendix C); where either of them has fewer than 13 words, 8. A protected text of fewer than 8 words is looked for
as a whole elsewhere. As there, what occurs in more than ten documents is a phrase and no sign of anything.

Map: `find_hits` for a batch. Reduce: `find_contaminated` over the hits of all batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.hashed_words import HashedWords, Int64s, UInt64s, hash_words

LONG, SHORT = 13, 8  # words in a row
MOST_DOCUMENTS = 10  # in which they may be to count

Hits = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ProtectedWords:
    """The n-grams of some texts: sorted hashes, and of each the first text that it is from.

    `long` are the 13-grams of texts that have them, `rest` the 8-grams of the shorter ones, `short` the 8-grams of all.
    """

    long: tuple[UInt64s, Int64s]
    rest: tuple[UInt64s, Int64s]
    short: tuple[UInt64s, Int64s]


def protect_texts(texts: Sequence[str]) -> ProtectedWords:
    """What `find_hits` compares a batch with."""
    words = hash_words(texts)
    is_long = words.num_words >= LONG
    return ProtectedWords(
        long=_different(words, np.flatnonzero(is_long), LONG),
        rest=_different(words, np.flatnonzero(~is_long), SHORT),
        short=_different(words, np.arange(len(texts)), SHORT),
    )


def _different(words: HashedWords, texts: Int64s, n: int) -> tuple[UInt64s, Int64s]:
    positions, counts = words.ngram_positions(texts, n)
    grams, first = np.unique(words.ngrams(n)[positions], return_index=True)
    return grams, np.repeat(texts, counts)[first]


def find_hits(words: HashedWords, protected: ProtectedWords) -> Hits:
    """(hits, 3): each text of the batch with the number of an n-gram it shares, and a protected text that holds it."""
    is_long = words.num_words >= LONG
    first_short = len(protected.long[0])
    found = [
        _shared(words, np.flatnonzero(is_long), LONG, *protected.long, 0),
        _shared(words, np.flatnonzero(is_long), SHORT, *protected.rest, first_short, protected.short[0]),
        _shared(words, np.flatnonzero(~is_long), SHORT, *protected.short, first_short),
    ]
    return np.unique(np.concatenate(found), axis=0)


def _shared(
    words: HashedWords,
    texts: Int64s,
    n: int,
    grams: UInt64s,
    owners: Int64s,
    first_number: int,
    numbering: UInt64s | None = None,
) -> Hits:
    """Hits among the n-grams of some texts; the number of one is its place in `numbering`, or in `grams` itself."""
    positions, counts = words.ngram_positions(texts, n)
    if not len(grams) or not len(positions):
        return np.zeros((0, 3), dtype=np.int64)
    hashes = words.ngrams(n)[positions]
    place = np.minimum(np.searchsorted(grams, hashes), len(grams) - 1)
    is_hit = grams[place] == hashes
    place = place[is_hit]
    numbers = place if numbering is None else np.searchsorted(numbering, grams[place])
    return np.stack([np.repeat(texts, counts)[is_hit], numbers + first_number, owners[place]], axis=1)


def find_contaminated(hits: Sequence[Hits]) -> list[Hits]:
    """Of the hits of every batch, (documents, 2): the contaminated ones, each with the first protected text it hits."""
    together = np.concatenate([*hits, np.zeros((0, 3), dtype=np.int64)])
    _, place, documents = np.unique(together[:, 1], return_inverse=True, return_counts=True)
    is_telling = np.split(documents[place] <= MOST_DOCUMENTS, np.cumsum([len(each) for each in hits])[:-1])
    found = []
    for batch, telling in zip(hits, is_telling, strict=False):
        rows, first = np.unique(batch[telling, 0], return_index=True)
        found.append(np.stack([rows, batch[telling, 2][first]], axis=1))
    return found


def save_protected(path: Path, protected: ProtectedWords) -> None:
    """Write what `protect_texts` made."""
    pairs = {name: getattr(protected, name) for name in ("long", "rest", "short")}
    arrays = {f"{name}_{i}": array for name, pair in pairs.items() for i, array in enumerate(pair)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_protected(path: Path) -> ProtectedWords:
    """Read what `save_protected` wrote."""
    with np.load(path, allow_pickle=False) as found:
        return ProtectedWords(*((found[f"{name}_0"], found[f"{name}_1"]) for name in ("long", "rest", "short")))
