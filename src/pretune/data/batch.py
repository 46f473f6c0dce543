"""The batch that goes from data to training: token ids, labels to predict, and the attention mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from pretune.compute.varlen import Spans, find_spans


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The attention mask: positions with the same document id see each other; padding has -1."""

    document_ids: Int[Tensor, "B T"]
    is_causal: Tensor | None = None  # (B,) of bool: rows in which positions see only earlier ones; None: no row
    spans: Spans | None = None  # the same mask for a GPU's varlen kernel; None elsewhere

    def each(self, do: Callable[[Tensor], Tensor]) -> Attention:
        """The same with `do` applied to every tensor."""
        spans = self.spans
        if spans is not None:
            spans = spans._replace(runs=tuple(run._replace(edges=do(run.edges)) for run in spans.runs))
        is_causal = None if self.is_causal is None else do(self.is_causal)
        return Attention(document_ids=do(self.document_ids), is_causal=is_causal, spans=spans)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One micro-batch. Masked, causal and classification batches differ in how they are made, not in how they train.

    To predict at tokens, `labels` is (M,), along with ascending `positions` (M,) in the flattened batch. To predict
    something of each text, `labels` is (B, ...), without `positions`; or (R, ...) if the rows are the windows of R
    texts, one text after another, of which `windows` has the numbers. A text is never divided between batches.
    """

    input_ids: Int[Tensor, "B T"]
    labels: Shaped[Tensor, "N ..."]
    attention: Attention
    positions: Int[Tensor, "N"] | None = None
    windows: Int[Tensor, "R"] | None = None
    label_weights: Float[Tensor, "N"] | None = None
    neighbours: Int[Tensor, "B K"] | None = None  # tokens around each row in its document, for a second loss; -1: none
    num_tokens: int = 0  # real tokens, without padding
    known_weight: float | None = None  # precomputed for a batch on a GPU, to avoid a device sync

    @property
    def weight(self) -> float:
        """The number of labels, or the sum of their weights."""
        if self.known_weight is not None:
            return self.known_weight
        return float(len(self.labels)) if self.label_weights is None else float(self.label_weights.sum())

    @property
    def num_texts(self) -> int:
        """The most batches that this one can be cut into: one for each row, or for each text with its windows."""
        return self.input_ids.shape[0] if self.windows is None else len(self.windows)

    def ready_for(self, device: str) -> Batch:
        """The same batch; for a GPU with its spans and in pinned memory, so that copying does not block."""
        if device != "cuda":
            return self
        attention = self.attention
        if attention.spans is None:
            attention = replace(attention, spans=find_spans(attention.document_ids, attention.is_causal))
        return replace(self, attention=attention)._each(Tensor.pin_memory)

    def to(self, device: str) -> Batch:
        """The batch on a device, without a copy if it is already there. Copying to a GPU does not block."""
        if self.input_ids.device.type == device:
            return self
        ready = replace(self.ready_for(device), known_weight=self.weight)
        return ready._each(lambda tensor: tensor.to(device, non_blocking=device == "cuda"))

    def _each(self, do: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            input_ids=do(self.input_ids),
            labels=do(self.labels),
            positions=None if self.positions is None else do(self.positions),
            windows=None if self.windows is None else do(self.windows),
            label_weights=None if self.label_weights is None else do(self.label_weights),
            neighbours=None if self.neighbours is None else do(self.neighbours),
            attention=self.attention.each(do),
        )

    def cut(self, count: int) -> list[Batch]:
        """The same texts, in order, in `count` batches of nearly equal size, or one per text if there are fewer."""
        count = min(count, self.num_texts)
        if count <= 1:
            return [self]
        edges = [self.num_texts * i // count for i in range(count + 1)]
        return [self._texts(first, last) for first, last in pairwise(edges)]

    def part(self, index: int, count: int) -> Batch:
        """One of `count` parts of nearly equal size; empty if there are fewer texts than parts."""
        parts = self.cut(count)
        return parts[index] if index < len(parts) else self._texts(self.num_texts, self.num_texts)

    def _texts(self, first: int, last: int) -> Batch:
        if self.windows is None:
            return self._rows(first, last, slice(first, last))
        start, end = (int(self.windows[:text].sum()) for text in (first, last))
        return replace(self._rows(start, end, slice(first, last)), windows=self.windows[first:last])

    def _rows(self, first: int, last: int, labels: slice) -> Batch:
        causal, documents = self.attention.is_causal, self.attention.document_ids[first:last]
        positions, seq_len = None, self.input_ids.shape[1]
        if self.positions is not None:  # ascending, in the whole flattened batch
            edges = torch.tensor([first * seq_len, last * seq_len], device=self.positions.device)
            start, end = torch.searchsorted(self.positions, edges).tolist()
            positions, labels = self.positions[start:end] - first * seq_len, slice(start, end)
        return Batch(
            input_ids=self.input_ids[first:last],
            labels=self.labels[labels],
            positions=positions,
            label_weights=None if self.label_weights is None else self.label_weights[labels],
            neighbours=None if self.neighbours is None else self.neighbours[first:last],
            attention=Attention(document_ids=documents, is_causal=None if causal is None else causal[first:last]),
            num_tokens=int((documents >= 0).sum()) if self.num_tokens else 0,
        )
