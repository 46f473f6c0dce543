"""Labelled texts go in, batches of rows of similar length come out, in an order that depends on seed and epoch.

A text that is longer than the model reads may be several rows of its batch, its windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.padding import pad_rows
from pretune.data.special_ids import SpecialIds
from pretune.data.targets import Targets
from pretune.runtime.randomness import generator
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.windows import Span, WindowRule

IntArray = npt.NDArray[np.int64]
_ONE = (None,)  # the windows of a row that is not too long
_POOL_BATCHES = 32  # rows are sorted by length within pools of this many batches


class EncodedRows:
    """Token ids of some texts in memory, used like a token shard."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = [np.array(row, dtype=np.uint32) for row in rows]
        self.lengths: IntArray = np.array([len(row) for row in rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def doc(self, index: int) -> npt.NDArray[np.uint32]:
        """The ids of one text."""
        return self._rows[index]


@dataclass(frozen=True, kw_only=True)
class LabeledShard:
    """The encoded texts of one split and their targets; `rows` are the indices of the rows in use."""

    shard: TokenShard | EncodedRows
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


def load_labeled(
    folder: Path, name: str, targets: Targets, num_rows: int | None = None, encoded: EncodedRows | None = None
) -> LabeledShard:
    """One split of a prepare folder, or `num_rows` of its rows, spread evenly over it.

    `encoded` replaces its token ids.
    """
    count = len(targets) if num_rows is None else min(num_rows, len(targets))
    return LabeledShard(
        shard=encoded or TokenShard(folder, name), all_targets=targets, rows=np.arange(count) * len(targets) // count
    )


class LabelledBatches:
    """Batches of labelled texts. `mask_augment` is the fraction of tokens hidden in training batches: regularisation
    that is a function of (seed, epoch, batch) like everything else, and keeps [MASK] familiar to the model
    (arXiv:2310.07819). `label_weights` (M,) are those of the targets in the loss.

    With a `window_rule`, texts that are too long are read in windows. A training batch has at most `train_windows` of a
    text, drawn anew in each epoch, so that its size is bounded; an evaluation has all of them.
    """

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
        window_rule: WindowRule | None = None,
        train_windows: int | None = None,
    ) -> None:
        self.data, self.special, self.width_multiple = data, special, width_multiple
        self.batch_size, self.seed, self.mask_augment = batch_size, seed, mask_augment
        self.label_weights = label_weights
        self.targets = data.targets
        self.window_rule, self.train_windows = window_rule, train_windows
        self._spans = {} if window_rule is None else self._find_spans(window_rule)
        self.lengths = self._lengths_in_training()
        self._widths = self._widths_of_rows()

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
            rows = rows[np.argsort(self._widths[rows], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        places = generator(self.seed, "batches", epoch).permutation(len(batches))
        return [batches[place] for place in places]

    def in_order(self) -> list[IntArray]:
        """The rows of every batch of an evaluation: all once, in the order of `order()`.

        A batch has at most `batch_size` windows, unless a single text has more.
        """
        chosen: list[list[int]] = []
        room = 0
        for row in self.order().tolist():
            count = len(self._spans.get(row, _ONE))
            if count > room:
                chosen.append([])
                room = self.batch_size
            chosen[-1].append(row)
            room -= count
        return [np.array(rows, dtype=np.int64) for rows in chosen]

    def order(self) -> IntArray:
        """The indices of the rows, those with the shortest windows first."""
        return np.argsort(self._widths, kind="stable")

    def training_batch(self, rows: IntArray, epoch: int, index: int) -> Batch:
        """These rows, with the windows of this epoch, and tokens hidden for `mask_augment`."""
        batch = self._batch(rows, {int(row): self._draw_windows(int(row), epoch) for row in rows if row in self._spans})
        if self.mask_augment > 0:
            # Only these, so that the result does not depend on padding, for which an ordinary token may be used.
            may_be_hidden = self.special.is_ordinary(batch.input_ids) & (batch.attention.document_ids >= 0)
            drawn = generator(self.seed, "hide", epoch, index).random(int(may_be_hidden.sum()))
            batch.input_ids[may_be_hidden] = batch.input_ids[may_be_hidden].masked_fill(
                torch.from_numpy(drawn < self.mask_augment), self.special.mask
            )
        return batch

    def batch(self, rows: IntArray) -> Batch:
        """Some rows with all their windows, padded to the longest of them, or to the next multiple of
        `width_multiple`."""
        return self._batch(rows, self._spans)

    def _batch(self, rows: IntArray, spans: Mapping[int, Sequence[Span]]) -> Batch:
        texts, counts = self._read(rows, spans)
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
            windows=torch.tensor(counts) if len(texts) > len(rows) else None,
            label_weights=weights,
            num_tokens=sum(map(len, texts)),
        )

    # -- windows -------------------------------------------------------------------------------------------------

    def _read(
        self, rows: IntArray, spans: Mapping[int, Sequence[Span]]
    ) -> tuple[list[IntArray | list[int]], list[int]]:
        """The windows of some rows, one row after another, and the number of each."""
        texts: list[IntArray | list[int]] = []
        counts = []
        for row in rows.tolist():
            ids = self.data.text(row)
            rule = self.window_rule if row in spans else None
            windows = [ids] if rule is None else rule.windows(ids, spans[row])
            texts += windows
            counts.append(len(windows))
        return texts, counts

    def _find_spans(self, rule: WindowRule) -> dict[int, list[Span]]:
        """The windows of each row that is too long."""
        too_long = np.flatnonzero(self.data.lengths > rule.max_seq_len).tolist()
        return {row: rule.spans(self.data.text(row)) for row in too_long}

    def _draw_windows(self, row: int, epoch: int) -> list[Span]:
        spans = self._spans[row]
        if self.train_windows is None or len(spans) <= self.train_windows:
            return spans
        drawn = generator(self.seed, "windows", epoch, row).permutation(len(spans))[: self.train_windows]
        return [spans[place] for place in sorted(drawn.tolist())]

    def _lengths_in_training(self) -> IntArray:
        """The tokens (N,) that an epoch reads of each row, on average; without windows, its length."""
        lengths = self.data.lengths
        for row, spans in self._spans.items():
            read = sum(self._width(span) for span in spans)
            drawn = len(spans) if self.train_windows is None else min(len(spans), self.train_windows)
            lengths[row] = read * drawn // len(spans)
        return lengths

    def _widths_of_rows(self) -> IntArray:
        """The tokens (N,) of the longest window of each row."""
        widths = self.data.lengths
        for row, spans in self._spans.items():
            widths[row] = max(self._width(span) for span in spans)
        return widths

    def _width(self, span: Span) -> int:
        assert self.window_rule is not None
        return span[1] - span[0] + self.window_rule.num_special
