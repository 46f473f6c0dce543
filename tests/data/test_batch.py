"""A batch moves as a whole, and is not copied if it is already there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_gpu_is_fed_from_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []
    moves: list[tuple[object, object]] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor)
        return tensor

    def move(tensor: torch.Tensor, device: str, non_blocking: bool = False) -> torch.Tensor:
        moves.append((device, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", move)
    make_batch(torch.tensor([True, False])).to("cuda")
    assert len(pinned) == 8  # the six tensors, and the edges of the spans of two rows in two modes
    assert moves == [("cuda", True)] * 8
    make_batch().to("meta")
    assert len(pinned) == 8


def test_a_gpu_gets_spans_and_a_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking=False: tensor)
    there = make_batch().to("cuda").attention.spans
    assert there is not None
    [run] = there.runs
    assert (run.first, run.last, run.is_causal, run.edges[:3].tolist()) == (0, 2, False, [0, 3, 6])
    assert make_batch().to("cpu").attention.spans is None
    assert make_batch().to("meta").attention.spans is None


def test_missing_fields_stay_missing() -> None:
    ids = torch.zeros(1, 2, dtype=torch.long)
    batch = Batch(input_ids=ids, labels=torch.tensor([1]), attention=Attention(document_ids=ids)).to("meta")
    assert (batch.positions, batch.label_weights, batch.attention.is_causal) == (None, None, None)


@given(rows=st.integers(1, 7), count=st.integers(1, 9), masked=st.lists(st.booleans(), min_size=35, max_size=35))
def test_cutting_loses_nothing(rows: int, count: int, masked: list[bool]) -> None:
    ids = torch.arange(rows * 5).view(rows, 5)
    documents = torch.where(ids % 5 == 4, -1, 0)
    positions = torch.tensor([i for i in range(rows * 5) if masked[i]], dtype=torch.long)
    batch = Batch(
        input_ids=ids,
        labels=positions + 100,
        positions=positions,
        label_weights=positions / 2,
        attention=Attention(document_ids=documents, is_causal=torch.arange(rows) % 2 == 0),
        num_tokens=rows * 4,
    )
    parts = batch.cut(count)
    assert len(parts) == min(rows, count)
    assert max(len(part.input_ids) for part in parts) - min(len(part.input_ids) for part in parts) <= 1
    assert torch.equal(torch.cat([part.input_ids for part in parts]), ids)
    assert torch.equal(torch.cat([part.attention.document_ids for part in parts]), documents)
    assert torch.equal(torch.cat([part.attention.is_causal for part in parts]), torch.arange(rows) % 2 == 0)  # type: ignore[misc]
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    assert torch.equal(torch.cat([part.label_weights for part in parts]), positions / 2)  # type: ignore[misc]
    hidden = torch.cat([part.input_ids.flatten()[part.positions] for part in parts])
    assert torch.equal(hidden, positions)
    assert sum(part.num_tokens for part in parts) == batch.num_tokens


@pytest.mark.parametrize("is_weighted", [True, False])
def test_labels_of_whole_rows_are_cut_with_them(is_weighted: bool) -> None:
    ids = torch.arange(15).view(5, 3)
    weights = torch.arange(5) / 4 if is_weighted else None
    batch = Batch(
        input_ids=ids, labels=ids[:, 0], label_weights=weights, attention=Attention(document_ids=torch.zeros_like(ids))
    )
    parts = batch.cut(2)
    assert [len(part.labels) for part in parts] == [2, 3]
    assert torch.equal(torch.cat([part.labels for part in parts]), ids[:, 0])
    assert (parts[0].label_weights is not None) == is_weighted
    assert batch.cut(1) == [batch]


def windowed_batch() -> Batch:
    """Three texts of 2, 1 and 3 windows."""
    ids = torch.arange(4, 22).view(6, 3)
    return Batch(
        input_ids=ids,
        labels=torch.tensor([0, 1, 2]),
        label_weights=torch.tensor([0.5, 1.0, 2.0]),
        attention=Attention(document_ids=torch.zeros_like(ids)),
        windows=torch.tensor([2, 1, 3]),
        num_tokens=18,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_windows_of_a_text_stay_together(count: int) -> None:
    batch = windowed_batch()
    parts = batch.cut(count)
    assert len(parts) == min(count, 3)
    windows = [part.windows for part in parts if part.windows is not None]
    assert torch.cat(windows).tolist() == [2, 1, 3]
    for part, of_texts in zip(parts, windows, strict=True):
        assert len(part.input_ids) == int(of_texts.sum())
        assert len(part.labels) == len(of_texts) == part.num_texts
        assert part.num_tokens == part.input_ids.numel()
    assert torch.cat([part.input_ids for part in parts]).equal(batch.input_ids)
    assert torch.cat([part.labels for part in parts]).tolist() == [0, 1, 2]
    assert sum(part.weight for part in parts) == batch.weight


def test_every_process_gets_whole_texts() -> None:
    parts = [windowed_batch().part(rank, 4) for rank in range(4)]
    assert [len(part.input_ids) for part in parts] == [2, 1, 3, 0]
    assert [len(part.labels) for part in parts] == [1, 1, 1, 0]
    moved = windowed_batch().to("meta")
    assert moved.windows is not None
    assert moved.windows.device.type == "meta"


def test_the_empty_part_of_a_process_moves_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking=False: tensor)
    for batch in (make_batch(), windowed_batch()):
        there = batch.part(3, 4).to("cuda")
        assert (len(there.input_ids), len(there.labels), there.weight) == (0, 0, 0.0)
