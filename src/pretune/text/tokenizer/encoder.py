"""Fast encoding of clean text: every stretch between two blanks is tokenized once and then looked up.

Nothing here loops over texts or stretches in Python, except over new stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from pretune.text.arrays.counted_words import group_equal
from pretune.text.arrays.word_hashes import UInt64s, hash_stretches, ranges
from pretune.text.tokenizer.tokenizer import Tokenizer

MOST_STRETCHES_KEPT = 500_000  # about 25 MB
TEXTS_TO_CHECK = 200
_BOS_ROW, _EOS_ROW = 0, 1

IdArray = npt.NDArray[np.uint32]
IntArray = npt.NDArray[np.int64]


class CleanTextEncoder:
    """Encodes texts as `Tokenizer.encode_documents` does, several times faster.

    No kind of tokenizer joins text across a blank, so a clean text (single blanks only, none at the ends) has the ids
    of its stretches, one after another. This is checked against the tokenizer itself on the first texts; if it fails,
    `is_exact` is false and the tokenizer does all the work. Stretches are identified by a hash, which two share once in
    10^19 pairs.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.is_exact = tokenizer.is_own  # a foreign tokenizer may join text across a blank
        self._num_checked = 0
        self._known: UInt64s  # hashes of stretches, sorted
        self._rows: IntArray  # the row of each in the table
        self._tokens: IdArray  # of all rows, one after the other
        self._lengths: IntArray  # of each row
        self._starts: IntArray
        self._forget()

    def encode(self, texts: Sequence[str]) -> tuple[IdArray, IntArray]:
        """All ids one after another, each text between [BOS] and [EOS], and the number of ids of each text."""
        if self.is_exact and self._num_checked < TEXTS_TO_CHECK:
            self._check(texts[: TEXTS_TO_CHECK - self._num_checked])
        found = self._by_stretches(texts) if self.is_exact else None
        return _flatten(self.tokenizer.encode_documents(texts)) if found is None else found

    def _check(self, texts: Sequence[str]) -> None:
        found = self._by_stretches(texts)
        ids, lengths = _flatten(self.tokenizer.encode_documents(texts))
        self.is_exact = found is not None and np.array_equal(found[0], ids) and np.array_equal(found[1], lengths)
        self._num_checked += len(texts)

    def _by_stretches(self, texts: Sequence[str]) -> tuple[IdArray, IntArray] | None:
        """Ids and lengths; None if a text has a line feed, since it is not clean then."""
        if not texts:
            return np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64)
        data = "\n".join(texts).encode("utf-8", "surrogatepass")
        ends_of_texts = np.append(np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")), len(data))
        if len(ends_of_texts) != len(texts):
            return None
        data = data.replace(b"\n", b" ")
        hashes, starts, sizes = hash_stretches(data)
        num_stretches = np.diff(np.searchsorted(starts, ends_of_texts), prepend=0)
        # Rows of the table, text by text, with the rows of [BOS] and [EOS] around each.
        last = np.cumsum(num_stretches + 2) - 1
        rows = np.full(last[-1] + 1, -1, dtype=np.int64)
        rows[last - num_stretches - 1], rows[last] = _BOS_ROW, _EOS_ROW
        rows[rows < 0] = self._rows_of(data, hashes, starts, sizes)
        lengths = self._lengths[rows]
        ends = np.cumsum(lengths)
        tokens = self._tokens[ranges(self._starts[rows], lengths)]
        return tokens, np.diff(ends[last], prepend=0)

    def _rows_of(self, data: bytes, hashes: UInt64s, starts: IntArray, sizes: IntArray) -> IntArray:
        """The row of each stretch in the table; new stretches are added to it."""
        order, firsts = group_equal(hashes)
        wanted = hashes[order[firsts]]
        if len(self._known) > MOST_STRETCHES_KEPT:
            self._forget()
        is_new = self._known[self._places_of(wanted)] != wanted
        if is_new.any():
            new, which = np.unique(wanted[is_new], return_index=True)
            which = order[firsts[is_new][which]]
            bounds = zip(starts[which].tolist(), (starts[which] + sizes[which]).tolist(), strict=True)
            self._learn(new, [data[start:end].decode("utf-8", "surrogatepass") for start, end in bounds])
        rows = np.empty(len(hashes), dtype=np.int64)
        rows[order] = np.repeat(self._rows[self._places_of(wanted)], np.diff(firsts, append=len(order)))
        return rows

    def _places_of(self, wanted: UInt64s) -> IntArray:
        """The positions of hashes among the known ones, if they are known."""
        return np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)

    def _learn(self, hashes: UInt64s, stretches: list[str]) -> None:
        ids, lengths = self.tokenizer.encode_clean_stretches(stretches)
        known = np.concatenate([self._known, hashes])
        rows = np.concatenate([self._rows, np.arange(len(self._lengths), len(self._lengths) + len(hashes))])
        order = np.argsort(known, kind="stable")
        self._known, self._rows = known[order], rows[order]
        self._tokens = np.concatenate([self._tokens, ids])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._starts = np.cumsum(self._lengths) - self._lengths

    def _forget(self) -> None:
        """Reset the table: row 0 is [BOS], row 1 is [EOS], and the largest possible hash has row 0."""
        self._known = np.array([2**64 - 1], dtype=np.uint64)
        self._rows = np.zeros(1, dtype=np.int64)
        self._tokens = np.array([max(0, self.tokenizer.bos_id), max(0, self.tokenizer.eos_id)], dtype=np.uint32)
        self._lengths = np.ones(2, dtype=np.int64)
        self._starts = np.arange(2)


def _flatten(rows: list[list[int]]) -> tuple[IdArray, IntArray]:
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(chain.from_iterable(rows), dtype=np.uint32, count=int(lengths.sum())), lengths
