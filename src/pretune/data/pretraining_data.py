"""A preprocess folder goes in, the batches of pre-training come out: short rows, then long ones; validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretune.data.batch import Batch
from pretune.data.masked_rows import MaskedRows, SpecialIds
from pretune.data.packing import RowTable, build_rows
from pretune.data.rank_slice import ALONE, RankSlice
from pretune.errors import InputDataError, UsageError
from pretune.text.token_shards import TokenShard

_VALIDATION_BATCH_ROWS = 32
_VALIDATION_SEED = 20_26  # masks of the validation rows do not depend on --seed
_MIN_ROWS = 8


@dataclass(frozen=True, kw_only=True)
class RowSettings:
    """How rows and steps are made; see PretrainConfig for the meaning of each field."""

    row_tokens: int
    long_row_tokens: int
    tokens_per_step: int
    mask_prob: float
    validation_tokens: int
    seed: int
    micro_batch_tokens: int = 16_384  # at most, padding included


class Corpus:
    """Training and validation rows over the token shards of a preprocess folder.

    The batches of a step are this process's slice of it; order and masks do not depend on the number of processes.
    Raises InputDataError if there is too little text, UsageError if a step is too small to be divided.
    """

    def __init__(
        self,
        folder: Path,
        settings: RowSettings,
        special: SpecialIds,
        is_sentence_end: npt.NDArray[np.bool_],
        rank_slice: RankSlice = ALONE,
    ) -> None:
        train, validation = TokenShard(folder, "train"), TokenShard(folder, "validation")
        self.train, self.settings, self.rank_slice = train, settings, rank_slice
        self.num_documents, self.tokens_per_epoch = len(train), train.num_tokens
        ends = is_sentence_end[train.tokens]
        table = build_rows(train.offsets, settings.row_tokens, ends)
        if len(table) < _MIN_ROWS or validation.num_tokens == 0:
            raise InputDataError(
                f"The training split has {train.num_tokens:,} tokens in {len(train):,} documents and the validation "
                f"split {validation.num_tokens:,} tokens, too little to train on in rows of {settings.row_tokens:,} "
                "tokens; give more text, or a smaller --row-tokens."
            )
        rows_per_step = max(1, min(settings.tokens_per_step // settings.row_tokens, len(table)))
        self.micro_batches = -(-rows_per_step * settings.row_tokens // settings.micro_batch_tokens)
        rows = max(1, rows_per_step // self.micro_batches)
        self.short = self._rows(table, special, rows)
        self.fill = table.fill
        longest = int(train.lengths.max())
        self.long: MaskedRows | None = None
        if settings.long_row_tokens > settings.row_tokens and np.mean(train.lengths > settings.row_tokens) > 0.1:
            length = min(settings.long_row_tokens, -(-longest // settings.row_tokens) * settings.row_tokens)
            long_table = build_rows(train.offsets, length, ends)
            self.long = self._rows(long_table, special, max(1, rows * settings.row_tokens // length))
        self._refuse_idle_processes()
        self.validation = self._validation(validation, special, is_sentence_end)

    def _refuse_idle_processes(self) -> None:
        for rows in [self.short] + ([self.long] if self.long is not None else []):
            if not self.rank_slice.can_divide(self.micro_batches, rows.rows_per_batch):
                tokens = self.rank_slice.size * rows.table.row_tokens
                raise UsageError(
                    f"{self.rank_slice.size} processes cannot divide a step of {rows.rows_per_batch} rows of "
                    f"{rows.table.row_tokens} tokens; give --tokens-per-step {tokens} or more, give more text if that "
                    "is the limit, or start fewer processes."
                )

    def _rows(self, table: RowTable, special: SpecialIds, rows: int) -> MaskedRows:
        s = self.settings
        return MaskedRows(self.train.tokens, table, special, rows_per_batch=rows, mask_prob=s.mask_prob, seed=s.seed)

    def _validation(
        self, shard: TokenShard, special: SpecialIds, is_sentence_end: npt.NDArray[np.bool_]
    ) -> list[Batch]:
        """The same rows with the same masks at every evaluation, up to `validation_tokens`.

        The same fraction of tokens is hidden as in training, so that the two losses are of the same task.
        """
        table = build_rows(shard.offsets, self.settings.row_tokens, is_sentence_end[shard.tokens])
        size = min(_VALIDATION_BATCH_ROWS, len(table))
        rows = MaskedRows(
            shard.tokens,
            table,
            special,
            rows_per_batch=size,
            mask_prob=self.settings.mask_prob,
            seed=_VALIDATION_SEED,
        )
        count = max(1, min(len(table) // size, self.settings.validation_tokens // (size * table.row_tokens)))
        return [rows.batch(index) for index in range(count)]

    @property
    def tokens_per_step(self) -> float:
        """Mean number of real tokens in one update."""
        return self.short.tokens_per_batch * self.micro_batches

    @property
    def micro_batch_tokens(self) -> int:
        """Positions in one micro-batch, padding included, before it is divided among processes."""
        return self.short.rows_per_batch * self.short.table.row_tokens

    def batches(self, step: int, long_start_step: int, shift: int = 0) -> list[Batch]:
        """The micro-batches of update number `step`, read `shift` steps ahead; long rows after `long_start_step`."""
        if self.long is not None and step > long_start_step:
            return self.long_batches(step - long_start_step + shift)
        return self.short_batches(step + shift)

    def short_batches(self, step: int) -> list[Batch]:
        return self._slice_of(self.short, step)

    def long_batches(self, step: int) -> list[Batch]:
        assert self.long is not None
        return self._slice_of(self.long, step)

    def _slice_of(self, rows: MaskedRows, step: int) -> list[Batch]:
        first = (step - 1) * self.micro_batches
        return self.rank_slice.micro_batches(self.micro_batches, lambda i: rows.batch(first + i))

    def references(self, vocab_size: int) -> dict[str, float]:
        """Reference values: losses of guessing uniformly and by frequency, and accuracy of the most frequent token."""
        counts = np.bincount(self.train.tokens, minlength=vocab_size).astype(np.float64)
        counts[~self.short.special.are_ordinary(np.arange(len(counts)))] = 0
        frequencies = (counts + 1) / (counts + 1).sum()
        labels = np.concatenate([batch.labels.numpy() for batch in self.validation])
        return {
            "uniform_nats": float(np.log(vocab_size)),
            "unigram_nats": float(-np.log(frequencies[labels]).mean()),
            "most_frequent_share": float((labels == counts.argmax()).mean()),
        }
