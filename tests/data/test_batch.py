"""A batch moves whole, and is itself where it is already."""

from __future__ import annotations

import torch

from pretune.data.batch import Attention, Batch


def make_batch(is_causal: torch.Tensor | None = None) -> Batch:
    ids = torch.arange(6).view(2, 3)
    return Batch(
        input_ids=ids,
        labels=torch.tensor([1, 2]),
        positions=torch.tensor([0, 4]),
        label_weights=torch.tensor([0.5, 1.0]),
        attention=Attention(document_ids=torch.zeros_like(ids), is_causal=is_causal),
        num_tokens=6,
    )


def test_a_batch_that_is_there_is_not_copied() -> None:
    batch = make_batch()
    assert batch.to("cpu") is batch


def test_every_tensor_moves() -> None:
    moved = make_batch(torch.tensor([True, False])).to("meta")
    attention = moved.attention
    assert moved.num_tokens == 6
    assert attention.is_causal is not None
    tensors = [moved.input_ids, moved.labels, moved.positions, moved.label_weights, attention.document_ids]
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in [*tensors, attention.is_causal])


def test_what_is_not_there_stays_absent() -> None:
    ids = torch.zeros(1, 2, dtype=torch.long)
    batch = Batch(input_ids=ids, labels=torch.tensor([1]), attention=Attention(document_ids=ids)).to("meta")
    assert (batch.positions, batch.label_weights, batch.attention.is_causal) == (None, None, None)
