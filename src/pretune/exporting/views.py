"""From a token shard to rows of equal length, with one document or several packed into each.

The rows are computed from the offsets of the shard, some at a time and in order, so memory does not grow with the
shard; a document is packed with others near it. (Training has its own table, `packing.RowTable`, which also breaks at
sentence ends.)
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
CHUNKS_AT_ONCE = 1 << 16  # most chunks packed together; packing more saves less than one row in a thousand
SLOTS_AT_ONCE = 1 << 19  # most tokens, padding included, of the rows made at once

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of a view: rows x row_tokens, and the fraction of these slots that are padding."""

    rows: int
    row_tokens: int
    padding_share: float

    @property
    def as_json(self) -> dict[str, Any]:
        """The shape as JSON values."""
        return {"shape": [self.rows, self.row_tokens], "padding_share": round(self.padding_share, 6)}


def measure_view(shard: TokenShard, row_tokens: int, view: View) -> Shape:
    """The shape of a view of a shard, without building the view.

    The rows of a packed view are counted, not filled: best-fit decreasing only needs the number of chunks of each
    length and the number of rows with each amount of room.
    """
    rows = 0
    for _, lengths in _iter_chunks(shard, row_tokens):
        rows += len(lengths) if view == "rows" else _count_packed_rows(np.bincount(lengths).tolist(), row_tokens)
    padding_share = 1 - shard.num_tokens / (rows * row_tokens) if rows else 0.0
    return Shape(rows=rows, row_tokens=row_tokens, padding_share=padding_share)


def _iter_chunks(shard: TokenShard, row_tokens: int) -> Iterator[tuple[IntArray, IntArray]]:
    """The starts in the shard of the chunks of at most `row_tokens`, and their lengths, in blocks of similar size."""
    for first in range(0, len(shard), CHUNKS_AT_ONCE):
        offsets = np.array(shard.offsets[first : first + CHUNKS_AT_ONCE + 1])
        counts = -(-np.diff(offsets) // row_tokens)
        ends = np.cumsum(counts)
        num_chunks = int(ends[-1])
        num_blocks = -(-num_chunks // CHUNKS_AT_ONCE)
        for block in range(num_blocks):  # a single document may have more chunks than a block
            chunk = np.arange(num_chunks * block // num_blocks, num_chunks * (block + 1) // num_blocks)
            document = np.searchsorted(ends, chunk, side="right")
            starts = offsets[document] + (chunk - (ends - counts)[document]) * row_tokens
            yield starts, np.minimum(offsets[document + 1] - starts, row_tokens)


def _count_packed_rows(chunks: list[int], row_tokens: int) -> int:
    """The number of rows that `packing.pack` needs for `chunks[n]` chunks of n tokens each."""
    rooms = [0] * (row_tokens + 1)  # number of rows by their free slots
    for length in range(len(chunks) - 1, 0, -1):
        left = chunks[length]
        if not left:
            continue
        for room in range(length, row_tokens + 1):
            fit = room // length  # a row that takes one chunk is then the fullest that takes another
            if room == row_tokens:
                rooms[room] = -(-left // fit)
            used = min(rooms[room], -(-left // fit))
            if not used:
                continue
            rooms[room] -= used
            last = left - (used - 1) * fit  # chunks in the last of these rows
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
    lengths: IntArray  # tokens of each chunk, row after row
    counts: IntArray  # (R,): chunks in each row


class RowView:
    """Rows of `row_tokens` ids, padded with `pad_id`; every token of every document is in exactly one row.

    `rows`: each document starts a new row, and a longer one continues in the next rows. `packed`: the chunks of a block
    of documents are packed into rows by best-fit decreasing. Iterating builds the rows, at most SLOTS_AT_ONCE slots at
    a time.
    """

    def __init__(self, shard: TokenShard, row_tokens: int, pad_id: int, view: View) -> None:
        self.shard, self.row_tokens, self.pad_id, self.view = shard, row_tokens, pad_id, view
        self.shape = measure_view(shard, row_tokens, view)

    def __iter__(self) -> Iterator[Rows]:
        at_once = max(1, SLOTS_AT_ONCE // self.row_tokens)
        for starts, lengths in _iter_chunks(self.shard, self.row_tokens):
            firsts = np.arange(len(starts) + 1)
            if self.view == "packed":
                order, firsts = pack(lengths, self.row_tokens)
                starts, lengths = starts[order], lengths[order]
            for row in range(0, len(firsts) - 1, at_once):
                ends = firsts[row : row + at_once + 1]
                chunk = slice(int(ends[0]), int(ends[-1]))
                yield self._rows(starts[chunk], lengths[chunk], np.diff(ends))

    def _rows(self, starts: IntArray, lengths: IntArray, counts: IntArray) -> Rows:
        row = np.repeat(np.arange(len(counts)), counts)
        ends = np.cumsum(lengths)
        before = (ends - lengths) - (ends - lengths)[np.searchsorted(row, row)]  # tokens of the row before each chunk
        inside = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
        ids = np.full((len(counts), self.row_tokens), self.pad_id, dtype=self.shard.tokens.dtype)
        slots = np.repeat(before, lengths) + inside
        ids[np.repeat(row, lengths), slots] = self.shard.tokens[np.repeat(starts, lengths) + inside]
        return Rows(ids, lengths, counts)
