"""A token shard as a table of rows of equal length: each document for itself, or several packed into one row.

The shard stays what it is. Rows are worked out from its offsets, some at a time and in order, so that memory does not
grow with the shard; documents are packed with those near them. (Training has a table of its own, `packing.RowTable`,
that also breaks at sentence ends.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pretune.data.packing import pack
from pretune.text.token_shards import TokenArray, TokenShard

View = Literal["rows", "packed"]
ROW_TOKENS = 50
PIECES_AT_ONCE = 1 << 16  # at most so many pieces are packed together; packing more saves less than a row in a thousand
PLACES_AT_ONCE = 1 << 19  # of the rows that are made at once

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


def measure_view(shard: TokenShard, row_tokens: int, view: View) -> Shape:
    """The shape of a view of a shard, without making it.

    Of the packed one the rows are counted, not filled: pieces of one length are alike, so best-fit decreasing is a
    matter of how many pieces and how many rows with how much room there are.
    """
    rows = 0
    for _, lengths in _pieces(shard, row_tokens):
        rows += len(lengths) if view == "rows" else _count_packed_rows(np.bincount(lengths).tolist(), row_tokens)
    padding_share = 1 - shard.num_tokens / (rows * row_tokens) if rows else 0.0
    return Shape(rows=rows, row_tokens=row_tokens, padding_share=padding_share)


def _pieces(shard: TokenShard, row_tokens: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Where the pieces of at most `row_tokens` begin in the shard, and their lengths, in blocks of about one size."""
    for first in range(0, len(shard), PIECES_AT_ONCE):
        offsets = np.array(shard.offsets[first : first + PIECES_AT_ONCE + 1])
        counts = -(-np.diff(offsets) // row_tokens)
        ends = np.cumsum(counts)
        num_pieces = int(ends[-1])
        num_blocks = -(-num_pieces // PIECES_AT_ONCE)
        for block in range(num_blocks):  # one document alone may have more pieces than a block
            piece = np.arange(num_pieces * block // num_blocks, num_pieces * (block + 1) // num_blocks)
            document = np.searchsorted(ends, piece, side="right")
            starts = offsets[document] + (piece - (ends - counts)[document]) * row_tokens
            yield starts, np.minimum(offsets[document + 1] - starts, row_tokens)


def _count_packed_rows(pieces: list[int], row_tokens: int) -> int:
    """Rows that `packing.pack` needs for `pieces[n]` pieces of n tokens each."""
    rooms = [0] * (row_tokens + 1)  # rows by their free places
    for length in range(len(pieces) - 1, 0, -1):
        left = pieces[length]
        if not left:
            continue
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


@dataclass(frozen=True)
class Rows:
    """R rows of a view."""

    ids: TokenArray  # (R, row_tokens), padded
    lengths: IntArray  # tokens of every piece, row after row
    counts: IntArray  # (R,): pieces of each row


class RowView:
    """Rows of `row_tokens` ids, padded with `pad_id`; every token of every document is in exactly one of them.

    `rows`: a document begins a row, and goes on in the next ones where it is longer. `packed`: of each block of
    documents, rows hold as many pieces as fit, best-fit decreasing; only pieces of a long document fill rows of their
    own. Going through the view makes the rows, of at most PLACES_AT_ONCE places at once.
    """

    def __init__(self, shard: TokenShard, row_tokens: int, pad_id: int, view: View) -> None:
        self.shard, self.row_tokens, self.pad_id, self.view = shard, row_tokens, pad_id, view
        self.shape = measure_view(shard, row_tokens, view)

    def __iter__(self) -> Iterator[Rows]:
        at_once = max(1, PLACES_AT_ONCE // self.row_tokens)
        for starts, lengths in _pieces(self.shard, self.row_tokens):
            firsts = np.arange(len(starts) + 1)
            if self.view == "packed":
                order, firsts = pack(lengths, self.row_tokens)
                starts, lengths = starts[order], lengths[order]
            for row in range(0, len(firsts) - 1, at_once):
                ends = firsts[row : row + at_once + 1]
                pieces = slice(int(ends[0]), int(ends[-1]))
                yield self._rows(starts[pieces], lengths[pieces], np.diff(ends))

    def _rows(self, starts: IntArray, lengths: IntArray, counts: IntArray) -> Rows:
        row = np.repeat(np.arange(len(counts)), counts)
        ends = np.cumsum(lengths)
        before = (ends - lengths) - (ends - lengths)[np.searchsorted(row, row)]  # tokens of the row before a piece
        inside = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
        ids = np.full((len(counts), self.row_tokens), self.pad_id, dtype=self.shard.tokens.dtype)
        places = np.repeat(before, lengths) + inside
        ids[np.repeat(row, lengths), places] = self.shard.tokens[np.repeat(starts, lengths) + inside]
        return Rows(ids, lengths, counts)
