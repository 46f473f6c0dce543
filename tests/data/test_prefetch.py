"""Prefetched batches equal those made on demand, in any order of steps, and errors are raised on use."""

from __future__ import annotations

import threading

import pytest
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.prefetch import Prefetcher, feed


def batch_of(step: int) -> Batch:
    ids = torch.full((2, 3), step)
    return Batch(input_ids=ids, labels=ids[:, 0], attention=Attention(document_ids=torch.zeros_like(ids)))


def numbers(batches: list[Batch]) -> list[int]:
    return [int(batch.input_ids[0, 0]) for batch in batches]


def test_a_cpu_does_not_prefetch() -> None:
    def batches(step: int) -> list[Batch]:
        return [batch_of(step)]

    assert feed(batches, "cpu") is batches
    assert isinstance(feed(batches, "cuda"), Prefetcher)


def test_steps_may_follow_each_other_or_not() -> None:
    ahead = Prefetcher(lambda step: [batch_of(step), batch_of(-step)], "cpu")
    assert [numbers(ahead(step)) for step in (3, 4, 5, 5, 9, 2, 3)] == [[step, -step] for step in (3, 4, 5, 5, 9, 2, 3)]


def test_the_next_step_is_made_in_the_background() -> None:
    made, is_made = list[int](), threading.Event()

    def batches(step: int) -> list[Batch]:
        made.append(step)
        if step == 8:
            is_made.set()
        return [batch_of(step)]

    ahead = Prefetcher(batches, "cpu")
    assert numbers(list(ahead(7))) == [7]
    assert is_made.wait(timeout=30)
    assert made == [7, 8]
    assert numbers(list(ahead(8))) == [8]
    assert made[:2] == [7, 8]


def test_an_error_is_raised_when_its_step_is_requested() -> None:
    def batches(step: int) -> list[Batch]:
        if step == 2:
            raise OSError("the shard is gone")
        return [batch_of(step)]

    ahead = Prefetcher(batches, "cpu")
    assert numbers(list(ahead(1))) == [1]
    for _ in range(2):
        with pytest.raises(OSError, match="the shard is gone"):
            ahead(2)
    assert numbers(list(ahead(3))) == [3]


def test_batches_for_a_gpu_are_pinned_and_have_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(step: int) -> list[Batch]:
        return [batch_of(step)] if step == 1 else []  # nothing is pinned in the background while the patch is undone

    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    [batch] = Prefetcher(batches, "cuda")(1)
    assert batch.attention.spans is not None
    assert {id(tensor) for tensor in (batch.input_ids, batch.labels, batch.attention.document_ids)} <= {
        id(tensor) for tensor in pinned
    }
