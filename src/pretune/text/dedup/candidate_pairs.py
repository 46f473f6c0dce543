"""Find pairs of similar texts from signatures that share a key, in one range of the keys of one band.

Entries that share a key form a bucket. The first entry of a bucket is compared with all others by their true Jaccard
similarity; those that reach the threshold are removed, and the first of the rest is next. The pairs of a bucket depend
on its entries alone, so buckets can be processed anywhere, in any order.
"""

from __future__ import annotations

import itertools
import resource
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pretune.runtime.map_reduce import amount_of_range
from pretune.text.arrays.word_hashes import Bools, Int64s, UInt32s, UInt64s, ranges
from pretune.text.dedup.minhash import BANDS, Signatures, band_keys, read_signatures

MOST_LEADERS = 16  # per bucket: only the first documents that differ are compared with all others in it
LEADERS_OF_LARGE, LARGE_BUCKET = 2, 64  # leaders before a bucket with more entries is divided
ENTRIES_AT_ONCE = 1 << 20  # at most, in a range of one band, unless there are many shards
_SHINGLES_AT_ONCE = 1 << 20  # in a comparison, about 30 MB
_MOST_SHINGLES_HELD = 1 << 24  # per range, 64 MB; with more, each turn gathers its own from all shards
_MOST_OPEN = 400  # files of a task at once

PAIRS_NAME = "pairs.npy"
# Document `number` is like the earlier document `of`, by this Jaccard index.
PAIR = np.dtype([("number", "<i8"), ("of", "<i8"), ("similarity", "<f4")])
PairArray = np.ndarray[Any, np.dtype[np.void]]
Marks = np.ndarray[Any, np.dtype[np.uint8]]  # of every document: 0 if it takes part


@dataclass(frozen=True)
class Signed:
    """The signatures of all shards; documents and entries are numbered consecutively."""

    shards: Sequence[Path]
    first_documents: Int64s  # shards + 1
    first_entries: Int64s  # shards + 1
    # Only within a task: a later run of the same process has other files of the same names.
    _opened: dict[int, Signatures] = field(default_factory=dict)

    @classmethod
    def of(cls, shards: Sequence[Path], num_texts: Sequence[int], num_entries: Sequence[int]) -> Signed:
        """Files of signatures, with the number of texts and of entries in each."""
        return cls(shards, np.cumsum([0, *num_texts]), np.cumsum([0, *num_entries]))

    @property
    def num_documents(self) -> int:
        return int(self.first_documents[-1])

    @property
    def num_entries(self) -> int:
        return int(self.first_entries[-1])

    def __getitem__(self, number: int) -> Signatures:
        if number not in self._opened:
            most = most_open()
            while len(self._opened) >= most:  # shards are visited in order: the last one is needed again last
                self._opened.popitem()
            self._opened[number] = read_signatures(self.shards[number])
        return self._opened[number]


def most_open() -> int:
    """How many files a task may keep open: the limit of the process, often 1,024, is shared by the tasks of all its
    threads, and a fifth of it is left for other files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MOST_OPEN
    return max(1, min(_MOST_OPEN, limit * 4 // 5 // threading.active_count()))


Range = tuple[int, int, int]  # a band, bits and a number: the keys of the band whose first bits are that number


def key_ranges(num_entries: int, num_shards: int = 1) -> list[Range]:
    """The keys of all bands, in ranges of at most about ENTRIES_AT_ONCE entries; more if there are many shards."""
    bits = max(0, (num_entries - 1) // amount_of_range(ENTRIES_AT_ONCE, num_shards)).bit_length()
    return [(band, bits, number) for band in range(BANDS) for number in range(1 << bits)]


def find_pairs(
    signed: Signed, marks: Marks, keys_of: Range, threshold: float, looked_for: Int64s | None = None
) -> PairArray:
    """The pairs in a range of keys, sorted by document; marked documents are ignored.

    If `looked_for` (sorted documents) is given, only pairs with one of them are returned.
    """
    band = keys_of[0]
    wanted = None if looked_for is None else _keys_of(signed, looked_for, band)
    packed = np.concatenate([np.zeros(0, dtype=np.uint64), *_packed(signed, marks, keys_of, wanted)])
    # The upper bits of the key come before the entry's number, so one plain sort makes the buckets. Keys that share
    # these bits by chance only make candidates that the comparison rejects.
    packed.sort()
    id_bits = np.uint64(signed.num_entries.bit_length())
    keys = packed >> id_bits
    is_next_same = np.append(keys[1:] == keys[:-1], False)[: len(keys)]
    is_same = np.concatenate([[False], is_next_same[:-1]])[: len(keys)]
    is_shared = is_same | is_next_same
    entries = (packed[is_shared] & ((np.uint64(1) << id_bits) - np.uint64(1))).astype(np.int64)
    return _Comparison(signed, entries, band, threshold, looked_for).pairs(np.flatnonzero(~is_same[is_shared]))


def _packed(signed: Signed, marks: Marks, keys_of: Range, wanted: UInt64s | None) -> Iterator[UInt64s]:
    """The keys of the range, shard by shard: the upper bits that differ, followed by the number of the entry."""
    band, bits, number = keys_of
    id_bits = np.uint64(signed.num_entries.bit_length())
    bounds = [number << (64 - bits), ((number + 1) << (64 - bits)) - 1]
    if wanted is not None:
        wanted = wanted[np.searchsorted(wanted, np.uint64(bounds[0])) : np.searchsorted(wanted, np.uint64(bounds[1]))]
    for place, first in enumerate(signed.first_entries[:-1]):
        shard = signed[place]
        own_bits = np.uint64(shard.entry_bits)
        keys = shard.keys[band]
        if wanted is None:
            start = np.searchsorted(keys, np.uint64(bounds[0]))
            keys = keys[start : np.searchsorted(keys, np.uint64(bounds[1]), side="right")]
        else:
            lowest = np.unique(wanted >> own_bits)
            starts = np.searchsorted(keys, lowest << own_bits)
            ends = np.searchsorted(keys, (lowest << own_bits) | ((np.uint64(1) << own_bits) - np.uint64(1)), "right")
            keys = keys[ranges(starts, ends - starts)]
        entries = keys & ((np.uint64(1) << own_bits) - np.uint64(1))
        is_in = marks[shard.text[entries.astype(np.int64)] + signed.first_documents[place]] == 0
        upper = ((keys[is_in] >> own_bits << own_bits) << np.uint64(bits)) >> id_bits << id_bits
        yield upper | (entries[is_in] + np.uint64(first))


def _keys_of(signed: Signed, documents: Int64s, band: int) -> UInt64s:
    """The sorted keys of some documents in a band."""
    found = [np.zeros(0, dtype=np.uint64)]
    cuts = np.searchsorted(documents, signed.first_documents)
    for place in np.flatnonzero(np.diff(cuts)).tolist():
        shard = signed[place]
        texts = documents[cuts[place] : cuts[place + 1]] - signed.first_documents[place]
        starts, ends = np.searchsorted(shard.text, texts), np.searchsorted(shard.text, texts, side="right")
        entries = ranges(starts, ends - starts)
        sizes = shard.offsets[entries + 1] - shard.offsets[entries]
        shingles = shard.shingles[ranges(shard.offsets[entries], sizes)]
        found.append(band_keys(shingles, np.append(0, np.cumsum(sizes)), shard.n[entries], [band])[0])
    return np.unique(np.concatenate(found))


class _Comparison:
    """The entries of some buckets, one bucket after another, each in document order."""

    def __init__(self, signed: Signed, entries: Int64s, band: int, threshold: float, looked_for: Int64s | None) -> None:
        self.signed, self.band, self.threshold = signed, band, threshold
        self.ids, self.places = np.unique(entries, return_inverse=True)
        self.cuts = np.searchsorted(self.ids, signed.first_entries)  # shard p has the ids from cut p to cut p + 1
        count = len(self.ids)
        self.document, self.start = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        self.size = np.empty(count, dtype=np.int64)
        self.is_own, self.n = np.empty(count, dtype=bool), np.empty(count, dtype=np.int8)
        for place in np.flatnonzero(np.diff(self.cuts)).tolist():
            shard, here = signed[place], slice(self.cuts[place], self.cuts[place + 1])
            of_shard = self.ids[here] - signed.first_entries[place]
            self.document[here] = shard.text[of_shard] + signed.first_documents[place]
            self.start[here] = shard.offsets[of_shard]
            self.size[here] = shard.offsets[of_shard + 1] - self.start[here]
            self.is_own[here], self.n[here] = shard.is_own[of_shard], shard.n[of_shard]
        self.held: UInt32s | None = None
        if 0 < self.size.sum() <= _MOST_SHINGLES_HELD:
            held = self._shingles(np.arange(count))
            self.held, self.start = held, np.cumsum(self.size) - self.size
        self.is_looked_for: Bools | None = None
        if looked_for is not None:
            self.is_looked_for = np.isin(self.document, looked_for)

    def pairs(self, starts: Int64s) -> PairArray:
        """All pairs in the buckets that begin at `starts`."""
        entries = self.places
        if self.is_looked_for is not None and len(starts):
            entries, starts = _only(entries, starts, np.logical_or.reduceat(self.is_looked_for[entries], starts))
        found = [np.empty(0, dtype=PAIR), *self._compare(entries, starts)]
        pairs = np.concatenate(found)
        return pairs[np.lexsort((pairs["of"], pairs["number"]))]

    def _compare(self, entries: Int64s, starts: Int64s) -> Iterator[PairArray]:
        """Compare the first entry of each bucket with all others in it, then the first of the rest, and so on.

        Texts from one template fill large buckets without being duplicates, so after some leaders such a bucket is
        divided by the keys of the next band, which duplicates are likely to share as well.
        """
        for turn in range(MOST_LEADERS):
            if turn == LEADERS_OF_LARGE and len(starts):
                entries, starts = self._divide_large(entries, starts)
            if not len(starts):
                return
            counts = np.diff(starts, append=len(entries))
            leaders = np.repeat(entries[starts], counts)
            is_left = np.ones(len(entries), dtype=bool)
            is_left[starts] = False
            found = np.flatnonzero(is_left & self._may_match(leaders, entries))
            similarity = self._similarity(leaders[found], entries[found])
            matches = similarity >= self.threshold
            found = found[matches]
            pairs = np.empty(len(found), dtype=PAIR)
            pairs["number"], pairs["of"] = self.document[entries[found]], self.document[leaders[found]]
            pairs["similarity"] = similarity[matches]
            yield pairs
            is_left[found] = False
            left = np.add.reduceat(is_left.astype(np.int64), starts)
            entries = entries[is_left]
            starts = (np.cumsum(left) - left)[left > 0]
            entries, starts = _only(entries, starts, left[left > 0] > 1)

    def _divide_large(self, entries: Int64s, starts: Int64s) -> tuple[Int64s, Int64s]:
        counts = np.diff(starts, append=len(entries))
        bucket = np.repeat(np.arange(len(starts)), counts)
        large = np.flatnonzero(np.repeat(counts > LARGE_BUCKET, counts))
        keys = np.zeros(len(entries), dtype=np.uint64)
        for some in self._some(large, self.size[entries[large]]):
            of_some = entries[some]
            offsets = np.append(0, np.cumsum(self.size[of_some]))
            keys[some] = band_keys(self._shingles(of_some), offsets, self.n[of_some], [(self.band + 1) % BANDS])[0]
        order = np.lexsort((entries, keys, bucket))
        entries, bucket, keys = entries[order], bucket[order], keys[order]
        is_start = np.append(True, (bucket[1:] != bucket[:-1]) | (keys[1:] != keys[:-1]))
        starts = np.flatnonzero(is_start)
        return _only(entries, starts, np.diff(starts, append=len(entries)) > 1)

    def _may_match(self, leaders: Int64s, entries: Int64s) -> Bools:
        """Whether each pair may be similar, judged without its shingles."""
        small = np.minimum(self.size[leaders], self.size[entries])
        large = np.maximum(self.size[leaders], self.size[entries])
        may_match: Bools = (self.is_own[leaders] | self.is_own[entries]) & (small >= self.threshold * large)
        may_match &= self.document[leaders] != self.document[entries]
        if self.is_looked_for is not None:
            may_match &= self.is_looked_for[leaders] | self.is_looked_for[entries]
        return may_match

    def _similarity(self, a: Int64s, b: Int64s) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The Jaccard index of each pair of entries."""
        blocks = self._some(np.arange(len(a)), self.size[a] + self.size[b])
        return np.concatenate([np.zeros(0), *(self._jaccard(a[some], b[some]) for some in blocks)])

    def _some(self, which: Int64s, sizes: Int64s) -> Iterator[Int64s]:
        """The same in blocks of about as many shingles as are compared at once."""
        if len(which):
            weights = np.cumsum(sizes)
            cuts = np.searchsorted(weights, np.arange(0, weights[-1], _SHINGLES_AT_ONCE))
            for start, end in itertools.pairwise(np.unique(np.append(cuts, len(which))).tolist()):
                yield which[start:end]

    def _jaccard(self, a: Int64s, b: Int64s) -> np.ndarray[Any, np.dtype[np.float64]]:
        pairs = np.arange(len(a), dtype=np.uint64) << np.uint64(32)
        sizes_a, sizes_b = self.size[a], self.size[b]
        packed = np.concatenate(
            [np.repeat(pairs, sizes_a) | self._shingles(a), np.repeat(pairs, sizes_b) | self._shingles(b)]
        )
        packed.sort()  # no entry has a shingle twice, so equal neighbours are shared
        shared = packed[1:][packed[1:] == packed[:-1]] >> np.uint64(32)
        num_shared = np.bincount(shared.astype(np.int64), minlength=len(a))
        return num_shared / (sizes_a + sizes_b - num_shared)

    def _shingles(self, entries: Int64s) -> UInt32s:
        """The shingles of the entries, one entry after another."""
        sizes = self.size[entries]
        if self.held is not None:
            return self.held[ranges(self.start[entries], sizes)]
        ends = np.cumsum(sizes)
        gathered = np.empty(ends[-1] if len(ends) else 0, dtype=np.uint32)
        order = np.argsort(entries, kind="stable")  # one shard after another
        cuts = np.searchsorted(entries[order], self.cuts)
        for place in np.flatnonzero(np.diff(cuts)).tolist():
            here = order[cuts[place] : cuts[place + 1]]
            source = ranges(self.start[entries[here]], sizes[here])
            gathered[ranges(ends[here] - sizes[here], sizes[here])] = self.signed[place].shingles[source]
        return gathered


def _only(entries: Int64s, starts: Int64s, is_wanted: Bools) -> tuple[Int64s, Int64s]:
    """The wanted buckets."""
    counts = np.diff(starts, append=len(entries))
    kept = counts[is_wanted]
    return entries[np.repeat(is_wanted, counts)], np.cumsum(kept) - kept
