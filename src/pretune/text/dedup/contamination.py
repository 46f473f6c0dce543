"""Find documents of the corpus that share text with protected texts, such as those that a model will be tested on.

A document is contaminated if it shares 13 words in a row with a protected text, the measure of GPT-3 (Brown et al.
2020, appendix C); 8 words if either has fewer than 13; and, for a protected text of fewer than 8 words, if the whole
document has the same words, whatever the punctuation. As in GPT-3, words that occur in more than ten documents are a
common phrase and do not count.

In scripts without blanks, `hash_words` takes each character as a word. So if most words of a protected text are of such
scripts, these numbers are multiplied by the characters of a word: 26 and 16 for Han and kana, 52 and 32 for Thai, Lao,
Tibetan, Burmese and Khmer.

Map: `find_hits` for a batch. Reduce: `find_contaminated` over the hits of all batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.scripts import (
    CHARACTERS_PER_WORD,
    LETTER_WITHOUT_BLANKS,
    LETTERS_PER_WORD,
    WITHOUT_BLANKS,
)
from pretune.text.arrays.word_hashes import HashedWords, Int64s, UInt64s, fold_words, hash_words

LONG, SHORT = 13, 8  # words in a row
MOST_DOCUMENTS = 10  # words in more documents do not count
SIZES = (1, CHARACTERS_PER_WORD, LETTERS_PER_WORD)  # what `hash_words` takes as words, for each word of a text

_TEXTS_AT_ONCE = 2000

Hits = np.ndarray[Any, np.dtype[np.int64]]
Grams = tuple[UInt64s, np.ndarray[Any, np.dtype[np.int32]]]


@dataclass(frozen=True)
class ProtectedWords:
    """The n-grams of texts with words of one size: sorted hashes, each with the first text that it is from.

    With words of size 1, `long` has the 13-grams of texts that have any, `rest` the 8-grams of shorter texts, `short`
    the 8-grams of all, and `whole` all words of texts with fewer than 8.
    """

    long: Grams
    rest: Grams
    short: Grams
    whole: Grams


Protected = Mapping[int, ProtectedWords]  # by size of word: `SIZES`


def word_size(text: str) -> int:
    """What `hash_words` takes as words, for each word of a text: 1 unless most words are of scripts without blanks."""
    if text.isascii() or not WITHOUT_BLANKS.search(text):
        return 1
    folded = fold_words(text)
    letters = sum(LETTER_WITHOUT_BLANKS.match(word) is not None for word in folded)
    characters = sum(WITHOUT_BLANKS.match(word) is not None for word in folded) - letters
    of_letters, of_characters = letters / LETTERS_PER_WORD, characters / CHARACTERS_PER_WORD
    if of_letters + of_characters <= len(folded) - letters - characters:
        return 1
    return LETTERS_PER_WORD if of_letters > of_characters else CHARACTERS_PER_WORD


def protect_texts(texts: Sequence[str]) -> Protected:
    """The n-grams that `find_hits` compares a batch with: about 40 bytes per word."""
    sizes = np.fromiter(map(word_size, texts), dtype=np.int64, count=len(texts))
    return {size: _protect_of_size(texts, np.flatnonzero(sizes == size), size) for size in SIZES}


def _protect_of_size(texts: Sequence[str], numbers: Int64s, size: int) -> ProtectedWords:
    """The n-grams of the texts with these numbers, whose words have this size."""
    starts = range(0, max(1, len(numbers)), _TEXTS_AT_ONCE)
    parts = [_protect_some(texts, numbers[i : i + _TEXTS_AT_ONCE], size) for i in starts]
    return ProtectedWords(*(_merge([part[kind] for part in parts]) for kind in range(len(fields(ProtectedWords)))))


def _protect_some(texts: Sequence[str], numbers: Int64s, size: int) -> tuple[Grams, Grams, Grams, Grams]:
    words = hash_words([texts[number] for number in numbers.tolist()])
    is_long = words.num_words >= LONG * size

    def different(of_texts: Int64s, n: int) -> Grams:
        positions, counts = words.ngram_positions(of_texts, n)
        return _merge([(words.ngrams(n)[positions], np.repeat(numbers[of_texts], counts).astype(np.int32))])

    hashes, of_whole = _all_words(words, SHORT * size)
    return (
        different(np.flatnonzero(is_long), LONG * size),
        different(np.flatnonzero(~is_long), SHORT * size),
        different(np.arange(len(numbers)), SHORT * size),
        _merge([(hashes, numbers[of_whole].astype(np.int32))]),
    )


def _all_words(words: HashedWords, short: int) -> tuple[UInt64s, Int64s]:
    """A hash of all words of each text with 1 to `short` - 1 words, and the indices of these texts."""
    is_few = (words.num_words > 0) & (words.num_words < short)
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


def find_hits(words: HashedWords, protected: Protected) -> Hits:
    """(hits, 3): a text of the batch, the number of an n-gram in it, and a protected text with that n-gram."""
    found, first = [np.zeros((0, 3), dtype=np.int64)], 0
    for size in SIZES:
        of_size = protected[size]
        num_grams = len(of_size.long[0]) + len(of_size.short[0]) + len(of_size.whole[0])
        found += _hits_of_size(words, of_size, size, first) if num_grams else []
        first += num_grams
    return np.unique(np.concatenate(found), axis=0)


def _hits_of_size(words: HashedWords, protected: ProtectedWords, size: int, first: int) -> list[Hits]:
    """Hits among the n-grams of texts with words of one size, numbered from `first` on."""
    is_long = words.num_words >= LONG * size
    first_short = first + len(protected.long[0])
    first_whole = first_short + len(protected.short[0])
    short = SHORT * size
    return [
        _shared(words, np.flatnonzero(is_long), LONG * size, *protected.long, first),
        _shared(words, np.flatnonzero(is_long), short, *protected.rest, first_short, protected.short[0]),
        _shared(words, np.flatnonzero(~is_long), short, *protected.short, first_short),
        _looked_up(*_all_words(words, short), *protected.whole, first_whole),
    ]


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
    size = word_size(protected)
    n = (LONG if min(len(words), len(others)) >= LONG * size else SHORT) * size
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


def save_protected(folder: Path, protected: Protected) -> None:
    """Write the result of `protect_texts` into a new folder."""
    folder.mkdir()
    for size, of_size in protected.items():
        for item in fields(of_size):
            for i, array in enumerate(getattr(of_size, item.name)):
                np.save(folder / f"{size}-{item.name}-{i}.npy", array, allow_pickle=False)


def load_protected(folder: Path) -> Protected:
    """Read what `save_protected` wrote, mapped into memory: workers on one machine share it."""

    def load(size: int, name: str) -> Grams:
        hashes, owners = (load_array(folder / f"{size}-{name}-{i}.npy", mmap_mode="r") for i in (0, 1))
        return hashes, owners

    return {size: ProtectedWords(*(load(size, item.name) for item in fields(ProtectedWords))) for size in SIZES}
