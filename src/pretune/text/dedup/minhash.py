"""MinHash signatures of texts from word n-grams whose n depends on the length, for the search for near duplicates.

The usual settings (5-grams of words, as in FineWeb, Penedo et al. 2024) skip or merge all texts with fewer words. Here
n grows with the text, so one changed word costs about the same similarity at any length. MinHash is due to
Broder (1997), the bands to Indyk and Motwani (1998).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.word_hashes import (
    Bools,
    HashedWords,
    Int64s,
    UInt32s,
    UInt64s,
    hash_words,
    random_numbers,
    ranges,
    scramble,
)

# From how many words on a shingle has n words, and n.
SHINGLE_WORDS = ((1, 1), (10, 2), (25, 3), (50, 5))
# A pair with a Jaccard index of 0.8 shares a band with probability 0.998, one of 0.5 with 0.4, one of 0.2 with 0.005.
BANDS, ROWS = 16, 5
_SHINGLES_AT_ONCE = 1 << 18  # about 1 MB, so that a block stays in the cache
_LARGEST_BY_ROWS = 64  # shingles

_FACTORS = (random_numbers(2, BANDS * ROWS) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
_MASKS = (random_numbers(3, BANDS * ROWS) >> np.uint64(32)).astype(np.uint32)
_KEY_FACTOR = np.uint64(0xD1342543DE82EF95)

Int8s = np.ndarray[Any, np.dtype[np.int8]]


@dataclass(frozen=True)
class Signatures:
    """A batch of N texts as M entries, in the order of the texts.

    A text has an entry for its own n, and one for the next smaller n if a text of fewer words might be similar to it;
    a text without words has none.
    """

    num_texts: Int64s  # one number, N
    text: Int64s  # M: the index of the text in the batch
    n: Int8s  # M: words in a shingle
    is_own: Bools  # M: whether n is the one for the text's length
    offsets: Int64s  # M + 1: where the shingles of each entry begin
    shingles: UInt32s  # the distinct shingles of each entry, sorted
    keys: UInt64s  # BANDS x M: the sorted keys of each band; the lowest `entry_bits` of a key are its entry's number

    @property
    def entry_bits(self) -> int:
        """The bits that the number of an entry takes."""
        return len(self.text).bit_length()


def sign_texts(texts: Sequence[str], threshold: float, words: HashedWords | None = None) -> Signatures:
    """The signatures of a batch; `words` are the hashed words of the texts, if they are available."""
    words = words or hash_words(texts)
    text, n, is_own = _list_entries(words.num_words, threshold)
    counts = np.zeros(len(text), dtype=np.int64)
    parts: list[tuple[Int64s, UInt32s]] = []
    for size in np.unique(n):
        entries = np.flatnonzero(n == size)
        shingles, counts[entries] = _different_shingles(words, text[entries], int(size))
        parts.append((entries, shingles))
    offsets = np.zeros(len(text) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    shingles = np.zeros(offsets[-1], dtype=np.uint32)
    for entries, part in parts:
        shingles[ranges(offsets[entries], counts[entries])] = part
    num_texts = np.array([len(words.offsets) - 1])
    keys = band_keys(shingles, offsets, n)
    keys >>= np.uint64(len(text).bit_length())
    keys <<= np.uint64(len(text).bit_length())
    keys |= np.arange(len(text), dtype=np.uint64)
    keys.sort(axis=1)
    return Signatures(num_texts, text, n, is_own, offsets, shingles, keys)


def _list_entries(num_words: Int64s, threshold: float) -> tuple[Int64s, Int8s, Bools]:
    """Text, n, and whether n is the text's own, for every entry, in the order of the texts."""
    firsts = np.array([first for first, _ in SHINGLE_WORDS])
    sizes = np.array([n for _, n in SHINGLE_WORDS], dtype=np.int8)
    place = np.searchsorted(firsts, num_words, side="right") - 1  # -1 for a text without words
    own = np.flatnonzero(place >= 0)
    # The longest text below a boundary has `first - n` shingles; a text with more than that / threshold is not similar.
    reach = np.append(0.0, (firsts[1:] - sizes[:-1]) / threshold + sizes[:-1] - 1)
    also = own[(place[own] > 0) & (num_words[own] <= reach[place[own]])]
    text = np.concatenate([also, own])
    n = np.concatenate([sizes[place[also] - 1], sizes[place[own]]])
    is_own = np.repeat([False, True], [len(also), len(own)])
    order = np.argsort(text, kind="stable")
    return text[order], n[order], is_own[order]


def _different_shingles(words: HashedWords, texts: Int64s, n: int) -> tuple[UInt32s, Int64s]:
    """The distinct shingles of each text, sorted, one text after another, and their number for each text."""
    is_wanted = np.zeros(len(words.offsets) - 1, dtype=bool)
    is_wanted[texts] = True
    words = words.only(is_wanted)
    positions, counts = words.ngram_positions(np.arange(len(texts)), n)
    hashes = (words.hashes if n == 1 else words.ngrams(n))[positions]
    packed = (np.repeat(np.arange(len(texts), dtype=np.uint64), counts) << np.uint64(32)) | (hashes >> np.uint64(32))
    packed.sort()
    is_new = np.ones(len(packed), dtype=bool)
    np.not_equal(packed[1:], packed[:-1], out=is_new[1:])
    packed = packed[is_new]
    return packed.astype(np.uint32), np.bincount((packed >> np.uint64(32)).astype(np.int64), minlength=len(texts))


def band_keys(shingles: UInt32s, offsets: Int64s, n: Int8s, bands: Sequence[int] = range(BANDS)) -> UInt64s:
    """(bands, entries): a hash of ROWS minima, each over all shingles under another permutation.

    Entries that share a key of a band are candidates.
    """
    num_entries = len(offsets) - 1
    keys = np.empty((len(bands), num_entries), dtype=np.uint64)
    sizes = np.diff(offsets)
    order = np.argsort(-sizes, kind="stable")  # entries of similar size together
    cuts = np.searchsorted(np.cumsum(sizes[order]), np.arange(0, offsets[-1], _SHINGLES_AT_ONCE))
    for first, last in pairwise(np.unique(np.append(cuts, num_entries)).tolist()):
        entries = order[first:last]
        minima = _Minima(shingles, offsets[entries], sizes[entries])
        for place, band in enumerate(bands):
            key = n[entries].astype(np.uint64) * _KEY_FACTOR
            for row in range(band * ROWS, (band + 1) * ROWS):
                key += minima.under(_MASKS[row], _FACTORS[row])
                key *= _KEY_FACTOR
            keys[place, entries] = scramble(key)
    return keys


class _Minima:
    """The smallest shingle of each entry under any permutation; the largest entries come first."""

    def __init__(self, shingles: UInt32s, starts: Int64s, sizes: Int64s) -> None:
        self._is_by_rows = sizes[0] <= _LARGEST_BY_ROWS
        if self._is_by_rows:
            # The first shingles of all entries, then the second ones of those that have two, and so on: a minimum over
            # rows takes a fraction of the time of one over many short runs.
            counts = np.searchsorted(-sizes, -np.arange(sizes[0]), side="left")
            self._ends = np.cumsum(counts).tolist()
            nth = np.repeat(np.arange(sizes[0]), counts)
            self._shingles = shingles[starts[ranges(np.zeros_like(counts), counts)] + nth]
        else:
            self._shingles = shingles[ranges(starts, sizes)]
            self._starts = np.cumsum(sizes) - sizes
        self._mixed = np.empty_like(self._shingles)

    def under(self, mask: np.uint32, factor: np.uint32) -> UInt32s:
        """The minima under one permutation: odd factors and exclusive or are bijections of 32 bits."""
        mixed = self._mixed
        np.bitwise_xor(self._shingles, mask, out=mixed)
        np.multiply(mixed, factor, out=mixed)
        if not self._is_by_rows:
            return np.minimum.reduceat(mixed, self._starts)
        smallest = mixed[: self._ends[0]]
        for start, end in pairwise(self._ends):
            np.minimum(smallest[: end - start], mixed[start:end], out=smallest[: end - start])
        return smallest


def write_signatures(path: Path, signatures: Signatures) -> None:
    """Write the counts of texts, entries and shingles, then the arrays, widest numbers first."""
    counts = [signatures.num_texts[0], len(signatures.text), len(signatures.shingles)]
    with path.open("wb") as file:
        np.array(counts, dtype=np.int64).tofile(file)
        for name, kind, _ in _layout(*counts):
            np.ascontiguousarray(getattr(signatures, name), dtype=kind).tofile(file)


def read_signatures(path: Path) -> Signatures:
    """The arrays of a file, mapped into memory, so only what is used is read.

    Tasks open thousands of files, so nothing is parsed; a file stays open as long as one of its arrays exists.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    counts = np.frombuffer(mapped, np.int64, 3)
    arrays: dict[str, Any] = {}
    place = counts.nbytes
    for name, kind, shape in _layout(*counts.tolist()):
        arrays[name] = np.frombuffer(mapped, kind, math.prod(shape), place).reshape(shape)
        place += arrays[name].nbytes
    return Signatures(num_texts=counts[:1], **arrays)


def _layout(_num_texts: int, num_entries: int, num_shingles: int) -> list[tuple[str, type, tuple[int, ...]]]:
    """The arrays of a file in order, with their types and shapes."""
    return [
        ("text", np.int64, (num_entries,)),
        ("offsets", np.int64, (num_entries + 1,)),
        ("keys", np.uint64, (BANDS, num_entries)),
        ("shingles", np.uint32, (num_shingles,)),
        ("n", np.int8, (num_entries,)),
        ("is_own", np.bool_, (num_entries,)),
    ]
