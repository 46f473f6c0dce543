"""What passes from data to training: token ids, what to predict, and who may look at whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

IGNORE_INDEX = -100


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Who may look at whom: positions with the same document id; padding has -1."""

    document_ids: Int[Tensor, "B T"]
    is_causal: Tensor | None = None  # (B,) of bool: rows in which a position may not look ahead; None: no row


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One micro-batch. Masked, causal and classification batches differ in how they are made, not in how they train.

    `labels` is (M,) beside `positions` (M,) for token prediction at chosen places of the flattened batch, and (B,)
    without `positions` for classification.
    """

    input_ids: Int[Tensor, "B T"]
    labels: Int[Tensor, "N"]
    attention: Attention
    positions: Int[Tensor, "N"] | None = None
    label_weights: Float[Tensor, "N"] | None = None
    num_tokens: int = 0  # real tokens, padding apart

    def to(self, device: str) -> Batch:
        """The same batch on a device; itself where it is there already."""
        if self.input_ids.device.type == device:
            return self
        causal = self.attention.is_causal
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            labels=self.labels.to(device),
            positions=None if self.positions is None else self.positions.to(device),
            label_weights=None if self.label_weights is None else self.label_weights.to(device),
            attention=Attention(
                document_ids=self.attention.document_ids.to(device),
                is_causal=None if causal is None else causal.to(device),
            ),
        )
