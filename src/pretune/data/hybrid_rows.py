"""One order of rows goes in, masked and causal micro-batches come out, in every step both, weighted to a fixed ratio.

Hybrid pre-training is GPT-BERT's (arXiv:2410.24159), without its shift of the masked predictions by one position.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Batch
from pretune.data.causal_rows import CausalRows
from pretune.data.masked_rows import MaskedRows
from pretune.data.masking import FloatArray
from pretune.data.packing import RowTable
from pretune.data.special_ids import SpecialIds


class HybridRows:
    """Steps of `rows_per_step` rows, of which `causal_share` are causal (rounded, but some of each) and the others
    masked.

    A step first takes its masked rows from the order, then its causal ones, so an epoch has every row once, as one or
    the other. A micro-batch has rows of one kind, at most `rows_at_once`. The weights of the labels make the loss of a
    step (1 - causal_share) * mean over its masked labels + causal_share * mean over its causal labels, however many
    labels there are of each. `rows_per_step` is at least two.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        table: RowTable,
        special: SpecialIds,
        *,
        rows_per_step: int,
        rows_at_once: int,
        causal_share: float,
        mask_prob: float,
        seed: int,
        log_weights: FloatArray | None = None,
    ) -> None:
        self.table, self.causal_share = table, causal_share
        rows_per_step = min(rows_per_step, len(table))
        num_causal = min(rows_per_step - 1, max(1, round(causal_share * rows_per_step)))
        masked_batches = -(-(rows_per_step - num_causal) // rows_at_once)
        causal_batches = -(-num_causal // rows_at_once)
        self.masked = MaskedRows(
            tokens,
            table,
            special,
            rows_per_batch=(rows_per_step - num_causal) // masked_batches,
            mask_prob=mask_prob,
            seed=seed,
            micro_batches=masked_batches,
            log_weights=log_weights,
        )
        self.causal = CausalRows(
            tokens,
            table,
            special,
            rows_per_batch=num_causal // causal_batches,
            seed=seed,
            micro_batches=causal_batches,
        )
        self.micro_batches = masked_batches + causal_batches
        self.num_masked = masked_batches * self.masked.rows_per_batch
        self.num_causal = causal_batches * self.causal.rows_per_batch
        self.most_rows = max(self.masked.rows_per_batch, self.causal.rows_per_batch)
        self.fewest_rows = min(self.masked.rows_per_batch, self.causal.rows_per_batch)
        self.tokens_per_step = self.masked.tokens_per_step + self.causal.tokens_per_step

    def batch(self, index: int) -> Batch:
        """The `index`-th micro-batch, counted over all steps; the masked ones of a step come first."""
        step, number = divmod(index, self.micro_batches)
        first = step * (self.num_masked + self.num_causal)
        causal_rows = self.masked.rows(first + self.num_masked, self.num_causal)
        labels = {
            "masked": self.masked.masked_per_batch * self.masked.micro_batches,
            "causal": self.causal.count_labels(causal_rows),
        }
        total = sum(labels.values())  # so that a weight is about one
        if number < self.masked.micro_batches:
            size = self.masked.rows_per_batch
            rows = self.masked.rows(first + number * size, size)
            batch = self.masked.masked(rows, step * self.masked.micro_batches + number)
            return _weighted(batch, (1 - self.causal_share) * total / labels["masked"])
        place = (number - self.masked.micro_batches) * self.causal.rows_per_batch
        batch = self.causal.causal(causal_rows[place : place + self.causal.rows_per_batch])
        return _weighted(batch, self.causal_share * total / max(1, labels["causal"]))


def _weighted(batch: Batch, weight: float) -> Batch:
    return replace(batch, label_weights=torch.full((len(batch.labels),), weight))
