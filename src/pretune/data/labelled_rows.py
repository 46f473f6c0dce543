"""Labelled texts go in, batches of rows of similar length come out, in an order that depends on seed and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.masked_rows import SpecialIds
from pretune.data.padding import pad_rows
from pretune.data.targets import Targets
from pretune.runtime.randomness import generator
from pretune.text.token_shards import TokenShard

IntArray = npt.NDArray[np.int64]
_POOL_BATCHES = 32  # rows are sorted by length within pools of this many batches


@dataclass(frozen=True, kw_only=True)
class LabeledShard:
    """The encoded texts of one split and their targets; `rows` are the indices of the rows in use."""

    shard: TokenShard
    all_targets: Targets
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Targets:
        """Targets of the rows in use."""
        return self.all_targets.take(self.rows)

    @property
    def lengths(self) -> IntArray:
        """Tokens of the rows in use."""
        return self.shard.lengths[self.rows]

    def text(self, row: int) -> IntArray:
        """Token ids of one of the rows in use."""
        return self.shard.doc(int(self.rows[row])).astype(np.int64)


def load_labeled(folder: Path, name: str, targets: Targets, num_rows: int | None = None) -> LabeledShard:
    """One split of a prepare folder, or `num_rows` of its rows, spread evenly over it."""
    count = len(targets) if num_rows is None else min(num_rows, len(targets))
    return LabeledShard(
        shard=TokenShard(folder, name), all_targets=targets, rows=np.arange(count) * len(targets) // count
    )


class LabelledBatches:
    """Batches of labelled texts. `mask_augment` is the fraction of tokens hidden in training batches: regularisation
    that is a function of (seed, epoch, batch) like everything else, and keeps [MASK] familiar to the model
    (arXiv:2310.07819). `label_weights` (M,) are those of the targets in the loss."""

    def __init__(
        self,
        data: LabeledShard,
        special: SpecialIds,
        *,
        batch_size: int,
        seed: int,
        mask_augment: float = 0.0,
        label_weights: npt.NDArray[np.float32] | None = None,
        width_multiple: int = 1,
    ) -> None:
        self.data, self.special, self.width_multiple = data, special, width_multiple
        self.batch_size, self.seed, self.mask_augment = batch_size, seed, mask_augment
        self.label_weights = label_weights
        self.targets, self.lengths = data.targets, data.lengths

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def epoch(self, epoch: int) -> list[IntArray]:
        """The rows of every batch in one epoch, every row exactly once."""
        order = generator(self.seed, "rows", epoch).permutation(len(self.data))
        pool = self.batch_size * _POOL_BATCHES
        batches: list[IntArray] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        places = generator(self.seed, "batches", epoch).permutation(len(batches))
        return [batches[place] for place in places]

    def in_order(self) -> list[Batch]:
        """All rows once, in the order of `order()`, with nothing hidden: for evaluation."""
        order = self.order()
        return [self.batch(order[i : i + self.batch_size]) for i in range(0, len(order), self.batch_size)]

    def order(self) -> IntArray:
        """The indices of the rows, shortest first."""
        return np.argsort(self.lengths, kind="stable")

    def training_batch(self, rows: IntArray, epoch: int, index: int) -> Batch:
        """These rows with tokens hidden for `mask_augment`."""
        batch = self.batch(rows)
        if self.mask_augment > 0:
            is_ordinary = self.special.is_ordinary(batch.input_ids)
            drawn = generator(self.seed, "hide", epoch, index).random(int(is_ordinary.sum()))
            ids = batch.input_ids[is_ordinary]  # only these, so that the result does not depend on padding
            batch.input_ids[is_ordinary] = ids.masked_fill(
                torch.from_numpy(drawn < self.mask_augment), self.special.mask
            )
        return batch

    def batch(self, rows: IntArray) -> Batch:
        """Some rows, padded to the longest of them, or to the next multiple of `width_multiple`."""
        texts = [self.data.text(int(row)) for row in rows]
        input_ids, document_ids = pad_rows(texts, self.special.pad, self.width_multiple)
        places, positions = self.targets.places(rows), None
        if self.targets.positions is not None:
            positions = torch.from_numpy(self.targets.flat_positions(rows.tolist(), input_ids.shape[1]))
        weights = None if self.label_weights is None else torch.from_numpy(self.label_weights[places])
        return Batch(
            input_ids=input_ids,
            labels=torch.from_numpy(self.targets.values[places]),
            attention=Attention(document_ids=document_ids),
            positions=positions,
            label_weights=weights,
            num_tokens=sum(map(len, texts)),
        )
