"""The words of many texts as 64-bit hashes in one array, and the hashes of their n-grams.

A word is a run of letters, digits and marks, case folded; punctuation separates. In scripts that are written without
blanks, each character is a word. Nothing here loops over words in Python.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretune.text.arrays.scripts import SCRIPTS_WITHOUT_BLANKS

UInt64s = np.ndarray[Any, np.dtype[np.uint64]]
UInt32s = np.ndarray[Any, np.dtype[np.uint32]]
Int64s = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

BLOCK_BYTES = 1 << 18  # of text hashed at once: the working set of a block fits the cache of a core

# Never change these: signatures on disk may be compared with those of another version.
_BYTE_BASE = 0x9E3779B97F4A7C15
_WORD_BASE = 0xD1342543DE82EF95


@dataclass(frozen=True)
class HashedWords:
    """`hashes` of all words, one text after another; text i has the words from `offsets[i]` to `offsets[i + 1]`."""

    hashes: UInt64s  # W
    lengths: Int64s  # W: bytes of UTF-8 of each word
    offsets: Int64s  # N + 1

    @property
    def num_words(self) -> Int64s:
        """(texts,): the number of words of each text."""
        return np.diff(self.offsets)

    def only(self, is_wanted: Bools) -> HashedWords:
        """The words of the wanted texts."""
        if is_wanted.all():
            return self
        counts = self.num_words
        of_words = np.repeat(is_wanted, counts)
        offsets = np.concatenate([[0], np.cumsum(counts[is_wanted])])
        return HashedWords(self.hashes[of_words], self.lengths[of_words], offsets)

    def ngrams(self, n: int) -> UInt64s:
        """(W,): the hash of the n words that start at each word; the last n - 1 of every text are not n-grams."""
        num_words = len(self.hashes)
        powers, inverses = _powers(_WORD_BASE, num_words + 1)
        sums = np.zeros(num_words + n, dtype=np.uint64)
        np.cumsum(self.hashes * powers[:num_words], out=sums[1 : num_words + 1])
        sums[num_words + 1 :] = sums[num_words]
        return scramble((sums[n:] - sums[:num_words]) * inverses[:num_words])

    def ngram_positions(self, texts: Int64s, n: int) -> tuple[Int64s, Int64s]:
        """The positions of the n-grams of some texts, one text after another, and their number for each text."""
        starts = self.offsets[texts]
        counts = np.maximum(self.offsets[texts + 1] - starts - (n - 1), 0)
        return ranges(starts, counts), counts


def hash_words(texts: Sequence[str]) -> HashedWords:
    """The words of every text. Equal words have equal hashes; two different words share one once in 10^19 pairs."""
    none = np.zeros(0, dtype=np.int64)
    parts = [(none.astype(np.uint64), none, none)]
    room = np.empty((2, 0), dtype=np.uint64)  # for products and sums, reused for all blocks: fresh memory is slow
    for block in _blocks(texts):
        data = b" " + b" ".join(block) + b" "
        if room.shape[1] < len(data):
            room = np.empty((2, len(data)), dtype=np.uint64)
        parts.append(_hash_block(block, data.translate(_FOLDED_BYTES), *room))
    hashes, lengths, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return HashedWords(hashes, lengths, np.concatenate([[0], np.cumsum(counts)]))


def fold_words(text: str) -> list[str]:
    """The words of one text, as `hash_words` sees them."""
    return text.translate(_FOLDED).split()


def _blocks(texts: Sequence[str]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    size = 0
    for text in texts:
        data = (text if text.isascii() else text.translate(_FOLDED)).encode("utf-8", "replace")
        block.append(data)
        size += len(data) + 1
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _hash_block(block: list[bytes], folded: bytes, products: UInt64s, sums: UInt64s) -> tuple[UInt64s, Int64s, Int64s]:
    """Hashes and lengths of the words, and the number of words of each text; `folded` has zeros between words.

    A word is hashed as a polynomial of its bytes: all products at once, then a sum over each word, shifted back to the
    beginning of the word by the inverse power, which exists modulo 2^64 because the base is odd.
    """
    data = np.frombuffer(folded, dtype=np.uint8)
    hashes, before, lengths = _hash_runs(data, data != 0, products, sums)
    ends_of_texts = np.cumsum(np.fromiter(map(len, block), dtype=np.int64, count=len(block)) + 1)
    counts = np.diff(np.searchsorted(before, ends_of_texts), prepend=0)
    return scramble(hashes), lengths, counts


def hash_stretches(data: bytes) -> tuple[UInt64s, Int64s, Int64s]:
    """Hashes of the stretches between the blanks of a text, the start of each, and its length in bytes."""
    none = np.zeros(0, dtype=np.int64)
    parts = [(none.astype(np.uint64), none, none)]
    room = np.empty((2, 0), dtype=np.uint64)
    start = 0
    while start < len(data):
        end = data.find(b" ", min(start + BLOCK_BYTES, len(data)))
        end = len(data) if end < 0 else end
        block = np.frombuffer(b" " + data[start:end] + b" ", dtype=np.uint8)
        if room.shape[1] < len(block):
            room = np.empty((2, len(block)), dtype=np.uint64)
        hashes, before, lengths = _hash_runs(block, block != ord(" "), *room)
        hashes += lengths.astype(np.uint64) * np.uint64(_WORD_BASE)  # otherwise trailing zeros would not count
        parts.append((scramble(hashes), before + start, lengths))
        start = end
    hashes, starts, lengths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return hashes, starts, lengths


def _hash_runs(
    data: np.ndarray[Any, np.dtype[np.uint8]], is_inside: Bools, products: UInt64s, sums: UInt64s
) -> tuple[UInt64s, Int64s, Int64s]:
    """The hash of each run of bytes for which `is_inside` is true, the position before it, and its length.

    The first and the last byte must not be inside.
    """
    products, sums = products[: len(data)], sums[: len(data)]
    edges = np.flatnonzero(is_inside[1:] != is_inside[:-1])  # alternately the position before a run, and its last one
    before, last = edges[::2], edges[1::2]
    powers, inverses = _powers(_BYTE_BASE, len(data))
    np.multiply(data, powers[: len(data)], out=products)
    np.cumsum(products, out=sums)
    return (sums[last] - sums[before]) * inverses[before], before, last - before


def scramble(values: UInt64s) -> UInt64s:
    """Spread every bit over all 64, in place, so that any of them can be used: the finalizer of SplitMix64."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def ranges(starts: Int64s, counts: Int64s) -> Int64s:
    """The numbers start, start + 1, ... of each range, one range after another."""
    ends = np.cumsum(counts)
    if not len(ends):
        return np.zeros(0, dtype=np.int64)
    return np.arange(ends[-1], dtype=np.int64) + np.repeat(starts - (ends - counts), counts)


def random_numbers(seed: int, count: int) -> UInt64s:
    """Fixed pseudo-random numbers, the same on every machine and with every version of numpy."""
    return scramble(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_BYTE_BASE) + np.uint64(seed << 32))


def _powers(base: int, length: int) -> tuple[UInt64s, UInt64s]:
    """At least `length` powers of a base and of its inverse modulo 2^64."""
    known = _KNOWN_POWERS.get(base)
    if known is None or len(known[0]) < length:
        size = max(1 << 19, 1 << (length - 1).bit_length())
        known = _KNOWN_POWERS[base] = _powers_of(base, size), _powers_of(pow(base, -1, 1 << 64), size)
    return known


def _powers_of(factor: int, length: int) -> UInt64s:
    table = np.ones(length, dtype=np.uint64)
    filled = 1
    while filled < length:  # doubles in each turn
        step = min(filled, length - filled)
        table[filled : filled + step] = table[:step] * np.uint64(pow(factor, filled, 1 << 64))
        filled += step
    return table


_KNOWN_POWERS: dict[int, tuple[UInt64s, UInt64s]] = {}


class _Folding(dict[int, str]):
    """For `str.translate`: the folded form of a character, computed when it is first needed."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if kind == "Cf":  # joiners and direction marks occur inside words
            folded = ""
        elif kind[0] not in "LMN":
            folded = " "
        elif any(first <= code <= last for first, last in SCRIPTS_WITHOUT_BLANKS):
            folded = f" {character} "
        else:
            folded = character.casefold()
        self[code] = folded
        return folded


_FOLDED = _Folding()
_FOLDED_BYTES = bytes(byte if byte >= 128 or chr(byte).isalnum() else 0 for byte in range(256)).lower()
