"""A token shard as a table of rows of equal length: each document for itself, or several packed into one row.

The shard stays what it is; a view is worked out from its offsets, and rows are made when they are asked for. (Training
has a table of its own, `packing.RowTable`, that also breaks at sentence ends.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pretune.data.packing import pack
from pretune.data.shards import TokenArray, TokenShard

View = Literal["rows", "packed"]
ROW_TOKENS = 50
ROWS_AT_ONCE = 10_000

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large a view is: rows x row_tokens, and the share of these places that hold no token."""

    rows: int
    row_tokens: int
    padding_share: float

    @property
    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {"shape": [self.rows, self.row_tokens], "padding_share": round(self.padding_share, 6)}


def measure_view(lengths: Iterable[IntArray], row_tokens: int, view: View) -> Shape:
    """The shape of a view of documents of these lengths, which come in blocks, without making it.

    Of the packed one the rows are counted, not filled: pieces of one length are alike, so best-fit decreasing is a
    matter of how many pieces and how many rows with how much room there are.
    """
    rows = num_tokens = 0
    pieces = np.zeros(row_tokens, dtype=np.int64)
    for block in lengths:
        rows += int((-(-block // row_tokens) if view == "rows" else block // row_tokens).sum())
        pieces += np.bincount(block % row_tokens, minlength=row_tokens)
        num_tokens += int(block.sum())
    if view == "packed":
        pieces[0] = 0
        rows += _count_packed_rows(pieces.tolist(), row_tokens)
    return Shape(rows=rows, row_tokens=row_tokens, padding_share=1 - num_tokens / max(1, rows * row_tokens))


def _count_packed_rows(pieces: list[int], row_tokens: int) -> int:
    """Rows that `packing.pack` needs for `pieces[n]` pieces of n tokens each."""
    rooms = [0] * (row_tokens + 1)  # rows by their free places
    for length in range(len(pieces) - 1, 0, -1):
        left = pieces[length]
        for room in range(length, row_tokens + 1):
            fit = room // length  # a row that takes one piece is from then on the fullest that takes another
            if room == row_tokens:
                rooms[room] = -(-left // fit)
            used = min(rooms[room], -(-left // fit))
            if not used:
                continue
            rooms[room] -= used
            last = left - (used - 1) * fit  # what the last of these rows is given
            rooms[room - fit * length] += used - 1
            rooms[room - min(fit, last) * length] += 1
            left -= min(left, used * fit)
            if not left:
                break
    return sum(rooms[:row_tokens])


class RowView:
    """Rows of `row_tokens` ids, padded with `pad_id`; every token of every document is in exactly one of them.

    `rows`: a document begins a row, and goes on in the next ones where it is longer. `packed`: rows hold as many
    documents as fit, best-fit decreasing, and only the pieces of a long document fill rows of their own.
    """

    def __init__(self, shard: TokenShard, row_tokens: int, pad_id: int, view: View) -> None:
        self.shard, self.row_tokens, self.pad_id = shard, row_tokens, pad_id
        lengths = shard.lengths
        count = -(-lengths // row_tokens)
        first = np.cumsum(count) - count
        place = np.arange(int(count.sum())) - np.repeat(first, count)  # of a piece in its document
        starts = np.repeat(shard.offsets[:-1], count) + place * row_tokens
        sizes = np.minimum(np.repeat(shard.offsets[1:], count) - starts, row_tokens)
        self._firsts = np.arange(len(starts) + 1)
        if view == "packed":
            order, self._firsts = pack(sizes, row_tokens)
            starts, sizes = starts[order], sizes[order]
        self._starts, self._sizes = starts, sizes

    def __len__(self) -> int:
        return len(self._firsts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, tokens in each."""
        return len(self), self.row_tokens

    @property
    def padding_share(self) -> float:
        """Share of the places that hold no token."""
        return 1 - self.shard.num_tokens / max(1, len(self) * self.row_tokens)

    def rows(self, start: int, stop: int) -> TokenArray:
        """Rows `start` to `stop` (n, row_tokens)."""
        pieces = slice(int(self._firsts[start]), int(self._firsts[stop]))
        starts, sizes = self._starts[pieces], self._sizes[pieces]
        row = np.repeat(np.arange(stop - start), np.diff(self._firsts[start : stop + 1]))
        ends = np.cumsum(sizes)
        before = (ends - sizes) - (ends - sizes)[np.searchsorted(row, row)]  # tokens of the row before a piece
        inside = np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)
        table = np.full((stop - start, self.row_tokens), self.pad_id, dtype=self.shard.tokens.dtype)
        table[np.repeat(row, sizes), np.repeat(before, sizes) + inside] = self.shard.tokens[
            np.repeat(starts, sizes) + inside
        ]
        return table

    def lengths(self, start: int, stop: int) -> tuple[IntArray, IntArray]:
        """Tokens of every piece in rows `start` to `stop`, one after another, and how many pieces each row has."""
        first, last = int(self._firsts[start]), int(self._firsts[stop])
        return self._sizes[first:last], np.diff(self._firsts[start : stop + 1])

    def batches(self, size: int = ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
        """Where to begin and end to go through all rows, some at a time."""
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))
