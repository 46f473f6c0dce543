"""Token shards go in, rows of packed documents come out, in an order that is a function of (shards, seed)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.data.packing import RowTable
from pretune.data.special_ids import SpecialIds
from pretune.runtime.randomness import permutation

IntArray = npt.NDArray[np.int64]


class PackedRows:
    """The rows of a table in an endless order: every row once per epoch, in a new order each time."""

    def __init__(
        self, tokens: npt.NDArray[np.unsignedinteger], table: RowTable, special: SpecialIds, seed: int
    ) -> None:
        self.tokens = np.asarray(tokens)  # still a mapped file, but faster to index than a memmap
        self.table, self.special, self.seed = table, special, seed
        # An epoch and its order, in one tuple because several threads may read it.
        self._known = (-1, np.empty(0, dtype=np.int64))

    def rows(self, first: int, count: int) -> IntArray:
        """The rows at the places `first` to `first + count` of the order.

        If an epoch ends among them, the next one begins there. `count` is at most the number of rows.
        """
        epoch, place = divmod(first, len(self.table))
        rows = self._epoch_order(epoch)[place : place + count]
        if missing := count - len(rows):
            rows = np.concatenate([rows, self._epoch_order(epoch + 1)[:missing]])
        return rows

    def _epoch_order(self, epoch: int) -> IntArray:
        known, order = self._known
        if known != epoch:
            order = permutation(len(self.table), self.seed, epoch)
            self._known = (epoch, order)
        return order

    def gather(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Token ids and document ids (B, T) of some rows; padding has the pad id and document -1."""
        table, width = self.table, self.table.row_tokens
        input_ids = np.full((len(rows), width), self.special.pad, dtype=np.int64)
        document_ids = np.full_like(input_ids, -1)
        counts = table.firsts[rows + 1] - table.firsts[rows]  # chunks of each row
        firsts = np.cumsum(counts) - counts  # the first chunk of each row among those of all these rows
        documents = np.arange(counts.sum()) - np.repeat(firsts, counts)
        chunks = np.repeat(table.firsts[rows], counts) + documents
        lengths = table.lengths[chunks]
        before = np.cumsum(lengths) - lengths  # tokens of all earlier chunks
        places = before + np.repeat(np.arange(len(rows)) * width - before[firsts], counts)
        tokens = np.arange(lengths.sum())
        into = np.repeat(places - before, lengths) + tokens
        input_ids.reshape(-1)[into] = self.tokens[np.repeat(table.starts[chunks] - before, lengths) + tokens]
        document_ids.reshape(-1)[into] = np.repeat(documents, lengths)
        return input_ids, document_ids
