"""A row that is longer than the model reads, as windows of nearly equal length that together have all of its tokens.

Every window has the special tokens of a text at its ends and attends within itself. The vector of the text is the mean
over all positions of its windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.text.tokenizer.tokenizer import Tokenizer

MOST_WINDOWS = 64  # of one text; of a longer text as many are read, evenly spread over it
_NEAR = 8  # a window may end this fraction of its length, an eighth, before or after the place of equal lengths

Ids = Sequence[int] | npt.NDArray[np.integer]
Span = tuple[int, int]  # of the tokens of a row


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """Where rows of more than `max_seq_len` tokens are divided; both arrays (V,) describe every token.

    A row has `before` special tokens before the text, and `after` behind it.
    """

    max_seq_len: int
    is_sentence_end: npt.NDArray[np.bool_]
    starts_word: npt.NDArray[np.bool_]
    before: int = 1
    after: int = 1

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_seq_len: int) -> WindowRule:
        """The rule for the rows of a tokenizer; `max_seq_len` counts the special tokens of a window."""
        before, after = tokenizer.num_around
        return cls(
            max_seq_len=max_seq_len,
            is_sentence_end=tokenizer.is_sentence_end,
            starts_word=tokenizer.starts_word,
            before=before,
            after=after,
        )

    def spans(self, ids: Ids) -> list[Span]:
        """The windows that are read of a row, as spans of it without the special tokens at its ends.

        A row that is not too long is one window. There are as few windows as possible, of equal length, but that one
        ends with a sentence, or else with a word, if such a place is near. Of more than MOST_WINDOWS windows, as many
        are read.
        """
        edges = self._edges(np.asarray(ids, dtype=np.int64))
        count = len(edges) - 1
        read = range(count) if count <= MOST_WINDOWS else np.arange(MOST_WINDOWS) * (count - 1) // (MOST_WINDOWS - 1)
        return [(edges[number], edges[number + 1]) for number in read]

    def windows(self, ids: Ids, spans: Sequence[Span] | None = None) -> list[list[int]]:
        """The ids of the windows of a row, or of those with these spans."""
        row = [int(each) for each in ids]
        first, last = row[: self.before], row[len(row) - self.after :]
        return [[*first, *row[start:end], *last] for start, end in (self.spans(ids) if spans is None else spans)]

    def would_exceed(self, length: int) -> bool:
        """Whether a row of this many tokens has more windows than are read."""
        return self._count(length) > MOST_WINDOWS

    @property
    def num_special(self) -> int:
        """The special tokens of a window."""
        return self.before + self.after

    def _count(self, length: int) -> int:
        return max(1, -(-(length - self.num_special) // (self.max_seq_len - self.num_special)))

    def _edges(self, ids: npt.NDArray[np.int64]) -> list[int]:
        inside, room = len(ids) - self.num_special, self.max_seq_len - self.num_special
        count, end = self._count(len(ids)), len(ids) - self.after
        near = inside // count // _NEAR
        edges = [self.before]
        for number in range(1, count):
            ideal = self.before + inside * number // count
            low = max(ideal - near, end - room * (count - number))  # the rest must fit in the other windows
            high = min(ideal + near, edges[-1] + room)
            edges.append(self._best_edge(ids, min(max(ideal, low), high), low, high))
        return [*edges, end]

    def _best_edge(self, ids: npt.NDArray[np.int64], ideal: int, low: int, high: int) -> int:
        """The first token of the next window: from `low` to `high`, near `ideal`."""
        places = np.arange(low, high + 1)
        starts = self.starts_word[ids[low : high + 1]]
        for is_good in (self.is_sentence_end[ids[low - 1 : high]] & (starts | ~starts.any()), starts):
            if is_good.any():
                good = places[is_good]
                return int(good[np.abs(good - ideal).argmin()])
        return ideal


def mean_over_windows(
    values: npt.NDArray[np.float32], lengths: Sequence[int], windows: Sequence[int]
) -> npt.NDArray[np.float32]:
    """The mean (..., N, D) over the positions of N texts, from the means (..., B, D) over those of their windows.

    `lengths` are the tokens of each window, `windows` (N,) the number of windows of each text.
    """
    counts, firsts = np.array(lengths), np.cumsum([0, *windows[:-1]])
    sums = np.add.reduceat(values * counts[:, None], firsts, axis=-2)
    return np.asarray(sums / np.add.reduceat(counts, firsts)[:, None], dtype=np.float32)
