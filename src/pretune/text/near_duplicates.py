"""Near duplicates among all documents: the reduce half, over the signatures of every batch in document order.

Entries that share a key of an LSH band are candidates, and a candidate is dropped only where its true Jaccard
similarity with an earlier document that is kept reaches the threshold: no chain of similar texts collapses into one.
The outcome is a function of the documents and their order, never of batch sizes or of where a batch was signed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.cleaning import SIGNATURES_NAME
from pretune.text.dedup import DUPLICATE, load_duplicates, save_duplicates
from pretune.text.hashed_words import Bools, Int64s, UInt32s, UInt64s, ranges
from pretune.text.signatures import BANDS, Signatures, read_signatures

DEFAULT_THRESHOLD = 0.8
MOST_LEADERS = 16  # of one bucket: only the first documents that differ are compared with all others of it
LEADERS_OF_LARGE, LARGE_BUCKET = 2, 64  # of a bucket with more entries, before it is divided
MOST_ATTEMPTS = 12
ENTRIES_AT_ONCE = 1 << 22  # of one band in memory, about 100 MB
_PLACE_SHIFT = np.uint64(44)
_SHINGLES_AT_ONCE = 1 << 21  # in a comparison, about 60 MB

Floats = np.ndarray[Any, np.dtype[np.float32]]

NEAR_DUPLICATE = np.dtype([*DUPLICATE.descr, ("similarity", "<f4")])


@dataclass(frozen=True)
class NearDuplicates:
    """What was found, by document number: `original` is the earlier, kept document that each repeats, or -1."""

    original: Int64s
    similarity: Floats  # their Jaccard index; 0 where there is none

    def __len__(self) -> int:
        return int((self.original >= 0).sum())


def find_near_duplicates(
    batches: Sequence[Signatures], threshold: float = DEFAULT_THRESHOLD, is_out: Bools | None = None
) -> NearDuplicates:
    """Which documents repeat an earlier one; those that `is_out` marks take no part.

    Memory is about 25 bytes a document and what ENTRIES_AT_ONCE allows; batches may be mapped files.
    """
    search = _Search(batches, threshold, is_out)
    looking_for: Bools | None = None  # at first, duplicates of all
    for _ in range(MOST_ATTEMPTS):
        search.look(looking_for)
        looking_for = search.take_back()
        if not looking_for.any():
            break
    while search.take_back().any():
        pass  # what is left after so many attempts is kept
    return NearDuplicates(search.original, search.similarity)


def find_among_parts(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce, over all cleaned parts `task["parts"]`, without the duplicates in the folders `task["exact_duplicates"]`.

    Writes a list of duplicates as `dedup.find_exact_duplicates` does, with the similarity of each.
    """
    batches = [read_signatures(Path(part) / SIGNATURES_NAME) for part in task["parts"]]
    firsts = np.cumsum([0, *(int(batch.num_texts[0]) for batch in batches)])
    is_out = np.zeros(firsts[-1], dtype=bool)
    folders = [Path(folder) for folder in task["exact_duplicates"]]
    for part, first in enumerate(firsts[:-1]):
        is_out[first + load_duplicates(folders, part)["row"]] = True
    found = find_near_duplicates(batches, task["threshold"], is_out)
    documents = np.flatnonzero(found.original >= 0)
    originals = found.original[documents]
    listed = np.empty(len(documents), dtype=NEAR_DUPLICATE)
    for prefix, numbers in (("", documents), ("of_", originals)):
        parts = np.searchsorted(firsts, numbers, side="right") - 1
        listed[f"{prefix}part"], listed[f"{prefix}row"] = parts, numbers - firsts[parts]
    listed["similarity"] = found.similarity[documents]
    save_duplicates(out, listed)
    return {"texts": int(firsts[-1]), "duplicates": len(listed)}


class _Search:
    """The entries of all batches as one numbered sequence, and for every document what it repeats so far."""

    def __init__(self, batches: Sequence[Signatures], threshold: float, is_out: Bools | None) -> None:
        self.batches, self.threshold = batches, threshold
        num_texts = [int(batch.num_texts[0]) for batch in batches]
        first_texts = np.cumsum([0, *num_texts])
        self.first_entries = np.cumsum([0, *(len(batch.text) for batch in batches)])
        self.num_entries = int(self.first_entries[-1])
        self.document = np.empty(self.num_entries, dtype=np.uint32 if first_texts[-1] < 1 << 32 else np.int64)
        self.is_own = np.empty(self.num_entries, dtype=bool)
        self.size = np.empty(self.num_entries, dtype=np.uint32)
        for batch, text, entry in zip(batches, first_texts, self.first_entries, strict=False):
            here = slice(entry, entry + len(batch.text))
            self.document[here] = batch.text + text
            self.is_own[here] = batch.is_own
            self.size[here] = np.diff(batch.offsets)
        self.is_out = np.zeros(first_texts[-1], dtype=bool) if is_out is None else is_out
        self.original = np.full(first_texts[-1], -1, dtype=np.int64)
        self.similarity = np.zeros(first_texts[-1], dtype=np.float32)
        self._id_bits = np.uint64(max(1, self.num_entries.bit_length()))

    def look(self, looking_for: Bools | None) -> None:
        """Go through all buckets once; with `looking_for` only through those with one of these documents."""
        for band in range(BANDS):
            for entries, starts in self._buckets(band, looking_for):
                self._compare_buckets(band, entries, starts, looking_for)

    def take_back(self) -> Bools:
        """Bring back the documents whose original turned out to repeat another one itself; which these are."""
        repeats = self.original >= 0
        repeats_kept = repeats & ~repeats[self.original]
        # Of a longer chain only the first link is sure; the rest is decided in a later attempt.
        orphans = repeats & repeats_kept[self.original] & ~repeats_kept
        self.original[orphans] = -1
        self.similarity[orphans] = 0.0
        return orphans

    def _buckets(self, band: int, looking_for: Bools | None) -> Iterator[tuple[Int64s, Int64s]]:
        """Entries of documents that are still in, bucket after bucket, in document order; and where buckets begin."""
        num_parts = -(-self.num_entries // ENTRIES_AT_ONCE)
        id_mask = (np.uint64(1) << self._id_bits) - np.uint64(1)
        wanted = None if looking_for is None else self._places_of_keys(band, looking_for)
        for part in range(num_parts):
            # The upper bits of the key stand before the entry's number: one plain sort makes the buckets. Keys that
            # share these bits by chance only make candidates that the comparison refuses.
            packed = np.concatenate(list(self._packed(band, part, num_parts, id_mask, wanted)))
            packed.sort()
            keys = packed >> self._id_bits
            is_next_same = np.append(keys[1:] == keys[:-1], False)
            is_same = np.concatenate([[False], is_next_same[:-1]])[: len(keys)]
            is_shared = is_same | is_next_same[: len(keys)]
            entries = (packed[is_shared] & id_mask).astype(np.int64)
            starts = np.flatnonzero(~is_same[is_shared])
            if looking_for is not None and len(starts):
                is_wanted = looking_for[self.document[entries]]
                entries, starts = _only(entries, starts, np.logical_or.reduceat(is_wanted, starts))
            if len(starts):
                yield entries, starts

    def _packed(
        self, band: int, part: int, num_parts: int, id_mask: np.uint64, wanted: Bools | None
    ) -> Iterator[UInt64s]:
        is_document_in = ~self.is_out & (self.original < 0)
        for batch, first in zip(self.batches, self.first_entries, strict=False):
            is_in = is_document_in[self.document[first : first + len(batch.text)]]
            keys = batch.keys[band]
            if wanted is not None:
                is_in &= wanted[keys >> _PLACE_SHIFT]
            if num_parts > 1:
                is_in &= keys % np.uint64(num_parts) == part
            here = np.flatnonzero(is_in)
            yield (keys[here] & ~id_mask) | (here + first).astype(np.uint64)

    def _places_of_keys(self, band: int, looking_for: Bools) -> Bools:
        """Which values the first bits of a key have among the documents looked for: most others are passed over."""
        wanted = np.zeros(1 << (64 - int(_PLACE_SHIFT)), dtype=bool)
        for batch, first in zip(self.batches, self.first_entries, strict=False):
            here = np.flatnonzero(looking_for[self.document[first : first + len(batch.text)]])
            wanted[batch.keys[band][here] >> _PLACE_SHIFT] = True
        return wanted

    def _compare_buckets(self, band: int, entries: Int64s, starts: Int64s, looking_for: Bools | None) -> None:
        """Compare the first of each bucket with all others of it, then the first of those that are left, and so on.

        Texts from one template fill large buckets without being duplicates: after some leaders such a bucket is
        divided by the keys of the next band, which duplicates are likely to share as well.
        """
        for turn in range(MOST_LEADERS):
            if turn == LEADERS_OF_LARGE:
                entries, starts = self._divide_large(band, entries, starts)
                if not len(starts):
                    return
            counts = np.diff(starts, append=len(entries))
            leaders = np.repeat(entries[starts], counts)
            is_left = np.ones(len(entries), dtype=bool)
            is_left[starts] = False
            found = np.flatnonzero(is_left & self._may_match(leaders, entries, looking_for))
            similarity = self._similarity(leaders[found], entries[found])
            matches = similarity >= self.threshold
            found = found[matches]
            repeating = self.document[entries[found]]
            self.original[repeating] = self.document[leaders[found]]
            self.similarity[repeating] = similarity[matches]
            is_left[found] = False
            left = np.add.reduceat(is_left.astype(np.int64), starts)
            entries = entries[is_left]
            starts = (np.cumsum(left) - left)[left > 0]
            entries, starts = _only(entries, starts, left[left > 0] > 1)
            if not len(starts):
                return

    def _divide_large(self, band: int, entries: Int64s, starts: Int64s) -> tuple[Int64s, Int64s]:
        counts = np.diff(starts, append=len(entries))
        bucket = np.repeat(np.arange(len(starts)), counts)
        large = np.flatnonzero(np.repeat(counts > LARGE_BUCKET, counts))
        keys = np.zeros(len(entries), dtype=np.uint64)
        place = np.searchsorted(self.first_entries, entries[large], side="right") - 1
        for number in np.unique(place):
            here = large[place == number]
            keys[here] = self.batches[number].keys[(band + 1) % BANDS][entries[here] - self.first_entries[number]]
        order = np.lexsort((entries, keys, bucket))
        entries, bucket, keys = entries[order], bucket[order], keys[order]
        is_start = np.append(True, (bucket[1:] != bucket[:-1]) | (keys[1:] != keys[:-1]))
        starts = np.flatnonzero(is_start)
        return _only(entries, starts, np.diff(starts, append=len(entries)) > 1)

    def _may_match(self, leaders: Int64s, entries: Int64s, looking_for: Bools | None) -> Bools:
        """What can be said of pairs without their shingles."""
        small, large = (
            np.minimum(self.size[leaders], self.size[entries]),
            np.maximum(self.size[leaders], self.size[entries]),
        )
        a, b = self.document[leaders], self.document[entries]
        may_match: Bools = (self.is_own[leaders] | self.is_own[entries]) & (small >= self.threshold * large) & (a != b)
        may_match &= (self.original[a] < 0) & (self.original[b] < 0)
        if looking_for is not None:
            may_match &= looking_for[a] | looking_for[b]
        return may_match

    def _similarity(self, a: Int64s, b: Int64s) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The Jaccard index of each pair of entries."""
        weights = np.cumsum(self.size[a].astype(np.int64) + self.size[b])
        cuts = np.searchsorted(weights, np.arange(0, weights[-1], _SHINGLES_AT_ONCE)) if len(a) else weights
        cuts = np.unique(np.append(cuts, len(a)))
        parts = [self._jaccard(a[i:j], b[i:j]) for i, j in itertools.pairwise(cuts)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _jaccard(self, a: Int64s, b: Int64s) -> np.ndarray[Any, np.dtype[np.float64]]:
        pairs = np.arange(len(a), dtype=np.uint64) << np.uint64(32)
        sizes_a, sizes_b = self.size[a].astype(np.int64), self.size[b].astype(np.int64)
        packed = np.concatenate(
            [np.repeat(pairs, sizes_a) | self._shingles(a), np.repeat(pairs, sizes_b) | self._shingles(b)]
        )
        packed.sort()  # no entry has a shingle twice: neighbours that are equal are shared
        shared = packed[1:][packed[1:] == packed[:-1]] >> np.uint64(32)
        num_shared = np.bincount(shared.astype(np.int64), minlength=len(a))
        return num_shared / (sizes_a + sizes_b - num_shared)

    def _shingles(self, entries: Int64s) -> UInt32s:
        """The shingles of entries, one entry after the other."""
        sizes = self.size[entries].astype(np.int64)
        ends = np.cumsum(sizes)
        gathered = np.empty(ends[-1] if len(ends) else 0, dtype=np.uint32)
        place = np.searchsorted(self.first_entries, entries, side="right") - 1
        for number in np.unique(place):
            here = np.flatnonzero(place == number)
            batch = self.batches[number]
            starts = batch.offsets[entries[here] - self.first_entries[number]]
            gathered[ranges(ends[here] - sizes[here], sizes[here])] = batch.shingles[ranges(starts, sizes[here])]
        return gathered


def _only(entries: Int64s, starts: Int64s, is_wanted: Bools) -> tuple[Int64s, Int64s]:
    """The buckets that are wanted."""
    counts = np.diff(starts, append=len(entries))
    kept = counts[is_wanted]
    return entries[np.repeat(is_wanted, counts)], np.cumsum(kept) - kept
