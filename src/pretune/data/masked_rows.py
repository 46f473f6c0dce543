"""Token shards go in, masked batches come out: the batch of a step is a function of (shards, settings, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pretune.data.batch import Attention, Batch
from pretune.data.masking import draw_masked_positions
from pretune.data.packing import RowTable
from pretune.runtime.randomness import permutation
from pretune.text.tokenizer.tokenizer import Tokenizer

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """The special ids that batches need; tokens from `first_ordinary` upwards may be masked, except `later`."""

    pad: int
    mask: int
    first_ordinary: int
    later: tuple[int, ...] = ()  # special tokens of a foreign tokenizer that come after ordinary ones

    def is_ordinary(self, input_ids: Int[Tensor, "*B T"]) -> Bool[Tensor, "*B T"]:
        """Whether a token stands for text."""
        found = input_ids >= self.first_ordinary
        return found & ~torch.isin(input_ids, torch.tensor(self.later)) if self.later else found

    def are_ordinary(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """The same for an array of numpy."""
        found: npt.NDArray[np.bool_] = ids >= self.first_ordinary
        return found & ~np.isin(ids, self.later) if self.later else found


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """The special ids of a tokenizer that batches need."""
    first = tokenizer.first_ordinary_id
    later = tuple(sorted(token_id for token_id in tokenizer.all_special_ids if token_id >= first))
    return SpecialIds(pad=tokenizer.pad_id, mask=tokenizer.mask_id, first_ordinary=first, later=later)


def ordinary_fraction(tokens: npt.NDArray[np.unsignedinteger], special: SpecialIds, step: int = 1 << 24) -> float:
    """The fraction of the tokens that may be hidden, counted `step` tokens at a time."""
    counts = (np.count_nonzero(special.are_ordinary(tokens[i : i + step])) for i in range(0, len(tokens), step))
    return sum(counts) / max(1, len(tokens))


class MaskedRows:
    """Rows of packed documents with `mask_prob` of their ordinary tokens hidden.

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
    ) -> None:
        self.tokens = np.asarray(tokens)  # still a mapped file, but faster to index than a memmap
        self.table = table
        self.special = special
        self.rows_per_batch = min(rows_per_batch, len(table))
        self.seed = seed
        self.tokens_per_batch = self.rows_per_batch * table.row_tokens * table.fill
        # Special tokens are never hidden, and in short documents they are a large fraction of all tokens.
        ordinary = self.tokens_per_batch * ordinary_fraction(self.tokens, special)
        self.masked_per_batch = max(1, round(mask_prob * ordinary))
        # An epoch and its order, in one tuple because several threads may read it.
        self._known = (-1, np.empty(0, dtype=np.int64))

    def batch(self, index: int) -> Batch:
        """The `index`-th batch of an endless sequence of rows: every row once per epoch, in a new order each time.

        All batches have the same size: if an epoch does not fill its last batch, the next epoch starts in it.
        """
        epoch, place = divmod(index * self.rows_per_batch, len(self.table))
        rows = self._epoch_order(epoch)[place : place + self.rows_per_batch]
        if missing := self.rows_per_batch - len(rows):
            rows = np.concatenate([rows, self._epoch_order(epoch + 1)[:missing]])
        return self.masked(rows, index)

    def _epoch_order(self, epoch: int) -> IntArray:
        known, order = self._known
        if known != epoch:
            order = permutation(len(self.table), self.seed, epoch)
            self._known = (epoch, order)
        return order

    def masked(self, rows: IntArray, index: int) -> Batch:
        """These rows with the masks of batch `index`."""
        input_ids, document_ids = self.gather(rows)
        positions = draw_masked_positions(
            self.special.are_ordinary(input_ids), self.masked_per_batch, self.seed, "mask", index
        )
        flat = input_ids.reshape(-1)
        labels = flat[positions]
        flat[positions] = self.special.mask
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(labels),
            positions=torch.from_numpy(positions),
            attention=Attention(document_ids=torch.from_numpy(document_ids)),
            num_tokens=int((document_ids >= 0).sum()),
        )

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
