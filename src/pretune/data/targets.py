"""What the rows of a labelled file should be predicted as: one value for each text, or for some of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets of N rows: `values` (M, ...), those of row i from `offsets[i]` to `offsets[i + 1]`.

    For a text as a whole there is one target per row, and `positions` is None. For tokens, `positions` (M,) has the
    place of each labelled token in its row, and `words` (M, 2) the characters of its word in the text, from and to.
    """

    values: npt.NDArray[Any]
    offsets: IntArray
    positions: IntArray | None = None
    words: IntArray | None = None

    @classmethod
    def of_rows(cls, values: npt.NDArray[Any]) -> Targets:
        """One target (N, ...) for each of N rows."""
        return cls(values=values, offsets=np.arange(len(values) + 1))

    @classmethod
    def of_words(
        cls,
        words: Sequence[Sequence[tuple[int, int]]],
        values: npt.NDArray[Any] | None = None,
        positions: IntArray | None = None,
    ) -> Targets:
        """One target for each word of N texts; without `values` (M,), they are zero, for texts without labels."""
        offsets = np.cumsum([0, *map(len, words)]).astype(np.int64)
        return cls(
            values=np.zeros(offsets[-1], dtype=np.int64) if values is None else values,
            offsets=offsets,
            positions=positions,
            words=np.array([word for row in words for word in row], dtype=np.int64).reshape(-1, 2),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> IntArray:
        """The number of targets (N,) of each row."""
        return np.diff(self.offsets)

    def places(self, rows: IntArray) -> IntArray:
        """The indices of the targets of some rows, in the order of `rows`."""
        if self.positions is None:
            return self.offsets[rows]
        spans = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows.tolist()]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)

    def take(self, rows: IntArray) -> Targets:
        """The targets of some rows, in the order of `rows`."""
        places = self.places(rows)
        return Targets(
            values=self.values[places],
            offsets=np.concatenate([[0], np.cumsum(self.counts[rows])]).astype(np.int64),
            positions=None if self.positions is None else self.positions[places],
            words=None if self.words is None else self.words[places],
        )

    def sum_by_row(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sum (N,) over the targets of each row of `values` (M,)."""
        if self.positions is None:
            return values
        sums = np.bincount(np.repeat(np.arange(len(self)), self.counts), weights=values, minlength=len(self))
        return sums.astype(values.dtype)

    def words_in(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of N texts that have a target each."""
        assert self.words is not None
        edges = self.offsets.tolist()
        return [
            [text[start:end] for start, end in self.words[first:last].tolist()]
            for text, first, last in zip(texts, edges[:-1], edges[1:], strict=True)
        ]

    def flat_positions(self, rows: Sequence[int], width: int) -> IntArray:
        """The places of the targets of some rows in their flattened batch of `width` tokens a row, ascending."""
        assert self.positions is not None
        spans = [
            self.positions[self.offsets[row] : self.offsets[row + 1]] + place * width for place, row in enumerate(rows)
        ]
        return np.concatenate(spans).astype(np.int64)
