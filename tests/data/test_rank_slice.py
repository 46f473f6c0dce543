"""The slices of all processes together are the step, whatever their number."""

from __future__ import annotations

import pytest
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.rank_slice import RankSlice


def make(index: int) -> Batch:
    rng = torch.Generator().manual_seed(index)
    ids = torch.randint(4, 100, (8, 5), generator=rng)
    positions = torch.randperm(40, generator=rng)[:11].sort().values
    return Batch(
        input_ids=ids,
        labels=ids.flatten()[positions],
        positions=positions,
        attention=Attention(document_ids=torch.zeros_like(ids)),
        num_tokens=40,
    )


@pytest.mark.parametrize("size", [1, 2, 4, 9, 16])
@pytest.mark.parametrize("count", [1, 2, 4, 11])
def test_rows_and_labels_of_all_slices_are_those_of_the_step(size: int, count: int) -> None:
    slices = [RankSlice(rank=rank, size=size).micro_batches(count, 8, make) for rank in range(size)]
    whole = [make(index) for index in range(count)]

    def rows(batches: list[Batch]) -> list[list[int]]:
        return sorted(row for batch in batches for row in batch.input_ids.tolist())

    def labels(batches: list[Batch]) -> list[int]:
        return sorted(label for batch in batches for label in batch.labels.tolist())

    sliced = [batch for own in slices for batch in own]
    assert rows(sliced) == rows(whole)
    assert labels(sliced) == labels(whole)
    assert sum(batch.num_tokens for batch in sliced) == 40 * count


def test_too_many_processes_are_detected() -> None:
    assert RankSlice(size=8).can_divide(1, 8)
    assert not RankSlice(size=9).can_divide(1, 8)
    assert RankSlice(size=16).can_divide(32, 1)
    assert RankSlice(size=32).can_divide(4, 8)
    assert not RankSlice(size=33).can_divide(4, 8)


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (16, 4, [[2]] * 16),  # was refused, since 16 processes divide neither 4 micro-batches nor 8 rows
        (9, 11, [[8, 8]] * 2 + [[8]] * 7),  # was refused, too
        (3, 4, [[2, 2, 2, 2], [3, 3, 3, 3], [3, 3, 3, 3]]),
        (3, 2, [[2, 2], [3, 3], [3, 3]]),
    ],
)
def test_no_process_is_idle_if_there_are_rows_for_all(size: int, count: int, expected: list[list[int]]) -> None:
    assert RankSlice(size=size).can_divide(count, 8)
    slices = [RankSlice(rank=rank, size=size).micro_batches(count, 8, make) for rank in range(size)]
    assert [[len(batch.input_ids) for batch in own] for own in slices] == expected
    assert RankSlice(size=size).rows_at_once(count, 8, 8) == max(max(own) for own in expected)


def test_with_more_processes_than_rows_some_have_none() -> None:
    slices = [RankSlice(rank=rank, size=10).micro_batches(1, 8, make) for rank in range(10)]
    assert [len(batch.input_ids) for [batch] in slices] == [1] * 8 + [0, 0]
    assert sum(len(batch.labels) for [batch] in slices) == 11
    assert [batch.num_tokens for [batch] in slices[8:]] == [0, 0]
