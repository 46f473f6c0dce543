"""What passes from data to training: token ids, what to predict, and who may look at whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.compute.varlen import Spans, find_spans

IGNORE_INDEX = -100


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Who may look at whom: positions with the same document id; padding has -1."""

    document_ids: Int[Tensor, "B T"]
    is_causal: Tensor | None = None  # (B,) of bool: rows in which a position may not look ahead; None: no row
    spans: Spans | None = None  # the same for a GPU's kernel, which needs no mask; None elsewhere

    def to(self, device: str) -> Attention:
        """The same on a device; what a GPU is told besides is found out here, where nobody waits for it."""
        spans = self.spans
        if spans is None and device == "cuda":
            spans = find_spans(self.document_ids, self.is_causal)
        if spans is not None:
            spans = spans._replace(runs=tuple(run._replace(edges=_move(run.edges, device)) for run in spans.runs))
        return Attention(
            document_ids=_move(self.document_ids, device),
            is_causal=None if self.is_causal is None else _move(self.is_causal, device),
            spans=spans,
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One micro-batch. Masked, causal and classification batches differ in how they are made, not in how they train.

    `labels` is (M,) beside `positions` (M,), ascending, for token prediction at chosen places of the flattened batch,
    and (B,) without `positions` for classification.
    """

    input_ids: Int[Tensor, "B T"]
    labels: Int[Tensor, "N"]
    attention: Attention
    positions: Int[Tensor, "N"] | None = None
    label_weights: Float[Tensor, "N"] | None = None
    num_tokens: int = 0  # real tokens, padding apart

    def to(self, device: str) -> Batch:
        """The same batch on a device; itself where it is there already.

        To a GPU it goes through pinned memory, so that the processor does not wait for the copy.
        """
        if self.input_ids.device.type == device:
            return self
        return replace(
            self,
            input_ids=_move(self.input_ids, device),
            labels=_move(self.labels, device),
            positions=None if self.positions is None else _move(self.positions, device),
            label_weights=None if self.label_weights is None else _move(self.label_weights, device),
            attention=self.attention.to(device),
        )

    def cut(self, pieces: int) -> list[Batch]:
        """The same rows in `pieces` batches of nearly equal size, in order; as many as there are rows, if fewer."""
        num_rows, seq_len = self.input_ids.shape
        pieces = min(pieces, num_rows)
        if pieces <= 1:
            return [self]
        edges = [num_rows * i // pieces for i in range(pieces + 1)]
        return [self._rows(first, last, seq_len) for first, last in pairwise(edges)]

    def _rows(self, first: int, last: int, seq_len: int) -> Batch:
        causal, documents = self.attention.is_causal, self.attention.document_ids[first:last]
        if self.positions is None:
            positions, labels = None, slice(first, last)
        else:  # sorted, as places of the whole flattened batch
            edges = torch.tensor([first * seq_len, last * seq_len], device=self.positions.device)
            start, end = torch.searchsorted(self.positions, edges).tolist()
            positions, labels = self.positions[start:end] - first * seq_len, slice(start, end)
        return Batch(
            input_ids=self.input_ids[first:last],
            labels=self.labels[labels],
            positions=positions,
            label_weights=None if self.label_weights is None else self.label_weights[labels],
            attention=Attention(document_ids=documents, is_causal=None if causal is None else causal[first:last]),
            num_tokens=int((documents >= 0).sum()) if self.num_tokens else 0,
        )


def _move(tensor: Tensor, device: str) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device == "cuda" else tensor.to(device)
