"""Rows of packed documents go in, masked batches come out: a batch is a function of (shards, settings, its number)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.masking import FloatArray, draw_masked_positions
from pretune.data.neighbours import Neighbours
from pretune.data.packed_rows import IntArray, PackedRows
from pretune.data.packing import RowTable
from pretune.data.special_ids import SpecialIds


def ordinary_fraction(tokens: npt.NDArray[np.unsignedinteger], special: SpecialIds, step: int = 1 << 24) -> float:
    """The fraction of the tokens that may be hidden, counted `step` tokens at a time."""
    counts = (np.count_nonzero(special.are_ordinary(tokens[i : i + step])) for i in range(0, len(tokens), step))
    return sum(counts) / max(1, len(tokens))


class MaskedRows(PackedRows):
    """Rows of packed documents with `mask_prob` of their ordinary tokens hidden: all alike, or by `log_weights` (V,);
    with the words around them, if there are `neighbours`.

    Every hidden token becomes [MASK] (100 %, not 80/10/10, which is simpler and better: arXiv:2202.08005).
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        table: RowTable,
        special: SpecialIds,
        *,
        rows_per_batch: int,
        mask_prob: float,
        seed: int,
        micro_batches: int = 1,
        log_weights: FloatArray | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        super().__init__(tokens, table, special, seed)
        self.micro_batches, self.log_weights, self.neighbours = micro_batches, log_weights, neighbours
        self.most_rows = self.fewest_rows = self.rows_per_batch = min(rows_per_batch, len(table))
        tokens_per_batch = self.rows_per_batch * table.row_tokens * table.fill
        self.tokens_per_step = tokens_per_batch * micro_batches
        # Special tokens are never hidden, and in short documents they are a large fraction of all tokens.
        ordinary = tokens_per_batch * ordinary_fraction(self.tokens, special)
        self.masked_per_batch = max(1, round(mask_prob * ordinary))

    def batch(self, index: int) -> Batch:
        """The `index`-th batch. All batches have the same number of rows."""
        return self.masked(self.rows(index * self.rows_per_batch, self.rows_per_batch), index)

    def masked(self, rows: IntArray, index: int) -> Batch:
        """These rows with the masks of batch `index`."""
        input_ids, document_ids = self.gather(rows)
        positions = draw_masked_positions(
            self.special.are_ordinary(input_ids) & (document_ids >= 0),  # an ordinary token may also pad
            self.masked_per_batch,
            self.seed,
            "mask",
            index,
            log_weights=None if self.log_weights is None else self.log_weights[input_ids],
        )
        flat = input_ids.reshape(-1)
        labels = flat[positions]
        flat[positions] = self.special.mask
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(labels),
            positions=torch.from_numpy(positions),
            attention=Attention(document_ids=torch.from_numpy(document_ids)),
            neighbours=None if self.neighbours is None else torch.from_numpy(self.neighbours.of(self.table, rows)),
            num_tokens=int((document_ids >= 0).sum()),
        )
