"""Rows of packed documents go in, causal batches come out: every position predicts the next token of its document."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.packed_rows import IntArray, PackedRows
from pretune.data.packing import RowTable
from pretune.data.special_ids import SpecialIds


class CausalRows(PackedRows):
    """Rows of packed documents in which positions see only earlier ones of their document.

    The label at a position is the token after it. Ordinary tokens and the end of a document are predicted; its
    beginning, padding and unknown words never are, so no position predicts across documents.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        table: RowTable,
        special: SpecialIds,
        *,
        rows_per_batch: int,
        seed: int,
        micro_batches: int = 1,
    ) -> None:
        super().__init__(tokens, table, special, seed)
        self.micro_batches = micro_batches
        self.most_rows = self.fewest_rows = self.rows_per_batch = min(rows_per_batch, len(table))
        self.tokens_per_step = self.rows_per_batch * table.row_tokens * table.fill * micro_batches

    def batch(self, index: int) -> Batch:
        """The `index`-th batch. All batches have the same number of rows."""
        return self.causal(self.rows(index * self.rows_per_batch, self.rows_per_batch))

    def causal(self, rows: IntArray) -> Batch:
        """These rows, each position that has a label predicting the token after it."""
        input_ids, document_ids = self.gather(rows)
        positions = self._positions(input_ids, document_ids)
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(input_ids.reshape(-1)[positions + 1]),
            positions=torch.from_numpy(positions),
            attention=Attention(
                document_ids=torch.from_numpy(document_ids),
                is_causal=torch.ones(len(rows), dtype=torch.bool),
            ),
            num_tokens=int((document_ids >= 0).sum()),
        )

    def count_labels(self, rows: IntArray) -> int:
        """The number of labels of these rows."""
        return len(self._positions(*self.gather(rows)))

    def _positions(self, input_ids: IntArray, document_ids: IntArray) -> IntArray:
        """The positions with a label in the flattened rows (B, T), ascending; never the last of a row."""
        is_target = self.special.are_ordinary(input_ids) | (input_ids == self.special.end)
        is_target[:, 1:] &= (document_ids[:, 1:] == document_ids[:, :-1]) & (document_ids[:, 1:] >= 0)
        is_target[:, 0] = False  # nothing is before it
        return np.flatnonzero(is_target.reshape(-1)).astype(np.int64) - 1
