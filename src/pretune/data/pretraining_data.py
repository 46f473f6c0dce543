"""A preprocess folder goes in, the batches of pre-training come out: short rows, then long ones; validation rows."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pretune.data.batch import Batch
from pretune.data.causal_rows import CausalRows
from pretune.data.hybrid_rows import HybridRows
from pretune.data.masked_rows import MaskedRows
from pretune.data.masking import frequency_weights
from pretune.data.neighbours import Neighbours
from pretune.data.packing import RowTable, SentenceEnds, build_rows
from pretune.data.rank_slice import ALONE, RankSlice
from pretune.data.special_ids import SpecialIds
from pretune.errors import InputDataError, UsageError
from pretune.text.token_shards import TokenShard

_VALIDATION_BATCH_ROWS = 32
_VALIDATION_BATCH_TOKENS = 2048  # so many fit, however small the micro-batches of training are
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
    objective: Literal["masked", "causal", "hybrid"] = "masked"
    causal_share: float = 0.25  # of the rows and of the loss, if the objective is hybrid
    mask_weights: Literal["frequency", "uniform"] = "uniform"
    has_neighbours: bool = False  # whether masked rows come with the words around them


# An endless sequence of micro-batches, `micro_batches` of which make a step.
TrainingRows = MaskedRows | CausalRows | HybridRows


class Corpus:
    """Training and validation rows over the token shards of a preprocess folder.

    `masked_validation` and `causal_validation` are the batches to evaluate each objective on; those of one that is not
    trained are empty. The batches of a step are this process's slice of it; order and masks do not depend on the number
    of processes. Raises InputDataError if there is too little text, UsageError if a step is too small to be divided.
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
        # As many as there are ids in rows: of padding, too, which may come after all others.
        self.counts = _count_tokens(train.tokens, 1 + max(int(validation.tokens.max(initial=0)), special.pad))
        self.log_weights = frequency_weights(self.counts) if settings.mask_weights == "frequency" else None
        longest = int(train.lengths.max(initial=0))
        self.neighbours = None
        if settings.has_neighbours and longest > settings.row_tokens:  # else nothing is around any row
            self.neighbours = Neighbours(train.tokens, train.offsets, special, self.counts)
        ends = SentenceEnds(train.tokens, is_sentence_end)
        table = build_rows(train.offsets, settings.row_tokens, ends)
        if len(table) < _MIN_ROWS or validation.num_tokens == 0:
            raise InputDataError(
                f"The training split has {train.num_tokens:,} tokens in {len(train):,} documents and the validation "
                f"split {validation.num_tokens:,} tokens, too little to train on in rows of {settings.row_tokens:,} "
                "tokens; give more text, or a smaller --row-tokens."
            )
        rows_per_step = max(1, min(settings.tokens_per_step // settings.row_tokens, len(table)))
        self.short = self._rows(table, special, rows_per_step)
        self.fill = table.fill
        self.long: TrainingRows | None = None
        if settings.long_row_tokens > settings.row_tokens and np.mean(train.lengths > settings.row_tokens) > 0.1:
            length = min(settings.long_row_tokens, -(-longest // settings.row_tokens) * settings.row_tokens)
            long_table = build_rows(train.offsets, length, ends)
            most = min(len(table) * settings.row_tokens // length, len(long_table))  # however large a step is
            if most >= 2 or settings.objective != "hybrid":  # which needs a row of each kind in a step
                self.long = self._rows(long_table, special, max(1, rows_per_step * settings.row_tokens // length))
        self._refuse_idle_processes()
        self.special = special
        self.masked_validation, self.causal_validation = self._validation(validation, is_sentence_end)

    def _refuse_idle_processes(self) -> None:
        for rows in [self.short] + ([self.long] if self.long is not None else []):
            if not self.rank_slice.can_divide(rows.micro_batches, rows.fewest_rows):
                width = rows.table.row_tokens
                found = f"a step of {rows.micro_batches * rows.fewest_rows} rows"
                if self.settings.objective == "hybrid":
                    found = f"a step of {rows.micro_batches} micro-batches with as few as {rows.fewest_rows} rows"
                short = self.settings.row_tokens
                needed = -(-self._rows_for_all(self._rows_at_once(width)) * width // short) * short
                raise UsageError(
                    f"{self.rank_slice.size} processes cannot divide {found} of {width} tokens; give --tokens-per-step "
                    f"{needed} or more, give more text if that is the limit, or start fewer processes."
                )

    def _rows_at_once(self, row_tokens: int) -> int:
        """The most rows of a micro-batch."""
        return max(1, self.settings.micro_batch_tokens // row_tokens)

    def _rows_for_all(self, at_once: int) -> int:
        """A number of rows, as a step, in which every process has work."""
        size, share = self.rank_slice.size, self.settings.causal_share
        if self.settings.objective == "hybrid":
            return math.ceil(size / min(share, 1 - share))
        # Micro-batches have equally many rows, so a step may have a few rows less than it could.
        return next(rows for rows in itertools.count(size) if rows - rows % -(-rows // at_once) >= size)

    def _rows(self, table: RowTable, special: SpecialIds, rows_per_step: int) -> TrainingRows:
        s, tokens = self.settings, self.train.tokens
        at_once = self._rows_at_once(table.row_tokens)
        if s.objective == "hybrid":
            if rows_per_step < 2:
                needed = -(-2 * table.row_tokens // s.row_tokens) * s.row_tokens
                raise UsageError(
                    f"A step of {s.tokens_per_step:,} tokens is one row of {table.row_tokens}, which cannot be both "
                    f"masked and causal; give --tokens-per-step {needed} or more, or shorter rows."
                )
            return HybridRows(
                tokens,
                table,
                special,
                rows_per_step=rows_per_step,
                rows_at_once=at_once,
                causal_share=s.causal_share,
                mask_prob=s.mask_prob,
                seed=s.seed,
                log_weights=self.log_weights,
            )
        micro_batches = -(-rows_per_step // at_once)
        rows = rows_per_step // micro_batches
        if s.objective == "causal":
            return CausalRows(tokens, table, special, rows_per_batch=rows, seed=s.seed, micro_batches=micro_batches)
        return MaskedRows(
            tokens,
            table,
            special,
            rows_per_batch=rows,
            mask_prob=s.mask_prob,
            seed=s.seed,
            micro_batches=micro_batches,
            log_weights=self.log_weights,
            neighbours=self.neighbours,
        )

    def _validation(self, shard: TokenShard, is_sentence_end: npt.NDArray[np.bool_]) -> tuple[list[Batch], list[Batch]]:
        """The same rows with the same masks at every evaluation, up to `validation_tokens`, masked and causal.

        As many tokens are hidden as in training, by the same weights, so that the two losses are of the same task. A
        batch has no more long rows than training has at once, since it may have as many logits.
        """
        table = build_rows(shard.offsets, self.settings.row_tokens, SentenceEnds(shard.tokens, is_sentence_end))
        s = self.settings
        fitting = max(_VALIDATION_BATCH_TOKENS, min(s.tokens_per_step, s.micro_batch_tokens, s.validation_tokens))
        size = min(_VALIDATION_BATCH_ROWS, max(1, fitting // table.row_tokens), len(table))
        count = max(1, min(len(table) // size, self.settings.validation_tokens // (size * table.row_tokens)))
        masked, causal = list[Batch](), list[Batch]()
        if self.settings.objective != "causal":
            masked_rows = MaskedRows(
                shard.tokens,
                table,
                self.special,
                rows_per_batch=size,
                mask_prob=self.settings.mask_prob,
                seed=_VALIDATION_SEED,
                log_weights=self.log_weights,
            )
            masked = [masked_rows.batch(index) for index in range(count)]
        if self.settings.objective != "masked":
            causal_rows = CausalRows(shard.tokens, table, self.special, rows_per_batch=size, seed=_VALIDATION_SEED)
            causal = [causal_rows.batch(index) for index in range(count)]
        return masked, causal

    def first_validation(self) -> list[Batch]:
        """The first validation batch of each objective that is trained."""
        return [batches[0] for batches in (self.masked_validation, self.causal_validation) if batches]

    @property
    def tokens_per_step(self) -> float:
        """Mean number of real tokens in one update."""
        return self.short.tokens_per_step

    @property
    def micro_batch_tokens(self) -> int:
        """The most positions that a process computes at once, padding included."""
        rows = self.short
        at_once = self.rank_slice.rows_at_once(rows.micro_batches, rows.fewest_rows, rows.most_rows)
        return at_once * rows.table.row_tokens

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

    def _slice_of(self, rows: TrainingRows, step: int) -> list[Batch]:
        first = (step - 1) * rows.micro_batches
        return self.rank_slice.micro_batches(rows.micro_batches, rows.fewest_rows, lambda i: rows.batch(first + i))

    def references(self, vocab_size: int) -> dict[str, float]:
        """Reference values of the main evaluation: losses of guessing uniformly and by frequency, and accuracy of the
        most frequent token; frequencies are those of the tokens that are hidden."""
        counts = np.zeros(max(vocab_size, len(self.counts)))
        counts[: len(self.counts)] = self.counts
        if self.masked_validation and self.log_weights is not None:
            counts[: len(self.counts)] *= np.exp(self.log_weights)
        ids = np.arange(len(counts))
        is_ever_label = self.special.are_ordinary(ids)
        if not self.masked_validation:
            is_ever_label |= ids == self.special.end
        counts[~is_ever_label] = 0
        frequencies = (counts + 1) / (counts + 1).sum()
        batches = self.masked_validation or self.causal_validation
        labels = np.concatenate([batch.labels.numpy() for batch in batches])
        return {
            "uniform_nats": float(np.log(vocab_size)),
            "unigram_nats": float(-np.log(frequencies[labels]).mean()),
            "most_frequent_share": float((labels == counts.argmax()).mean()),
        }


def _count_tokens(tokens: npt.NDArray[np.unsignedinteger], num_ids: int, step: int = 1 << 24) -> npt.NDArray[np.int64]:
    """How often each of at least so many ids occurs; `step` tokens at a time, since counting makes them wider."""
    counts = np.zeros(num_ids, dtype=np.int64)
    for first in range(0, len(tokens), step):
        found = np.bincount(tokens[first : first + step], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts
