"""The words around a row are those of its document, within reach, without special and frequent tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.data.masked_rows import MaskedRows
from pretune.data.neighbours import REACH, Neighbours
from pretune.data.packing import RowTable, build_rows
from pretune.data.special_ids import SpecialIds, special_ids
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer


@pytest.fixture
def shard(write_shard: Any, draw_documents: Any) -> TokenShard:
    return TokenShard(write_shard(draw_documents(40, 300), "train"), "train")


@pytest.fixture
def special(tokenizer_folder: Path) -> SpecialIds:
    return special_ids(load_tokenizer(tokenizer_folder))


def table_of(shard: TokenShard) -> RowTable:
    return build_rows(shard.offsets, 16, np.zeros(shard.num_tokens, dtype=np.bool_))


def test_they_are_the_words_before_and_after_in_the_document(shard: TokenShard, special: SpecialIds) -> None:
    table, tokens = table_of(shard), np.asarray(shard.tokens)
    counts = np.where(np.arange(tokens.max() + 1) % 2 == 0, 1000, 1)  # every other token is frequent
    rows = np.arange(len(table))
    found = Neighbours(tokens, shard.offsets, special, counts).of(table, rows)
    assert found.shape == (len(table), 2 * REACH)
    with_words = 0
    for row in rows.tolist():
        first, end = table.firsts[row], table.firsts[row + 1]
        expected: list[int] = []
        if end - first == 1:
            start, length = int(table.starts[first]), int(table.lengths[first])
            document = int(np.searchsorted(shard.offsets, start, side="right")) - 1
            low, high = int(shard.offsets[document]), int(shard.offsets[document + 1])
            around = [*range(max(low, start - REACH), start), *range(start + length, min(high, start + length + REACH))]
            ids = [int(tokens[place]) for place in around]
            is_rare = [counts[token] <= 1e-3 * counts.sum() for token in ids]
            is_ordinary = special.are_ordinary(np.array(ids, dtype=np.int64)).tolist()
            expected = [t for t, rare, ordinary in zip(ids, is_rare, is_ordinary, strict=True) if rare and ordinary]
        assert sorted(found[row][found[row] >= 0].tolist()) == sorted(expected)
        with_words += bool(expected)
    assert with_words > len(rows) / 4


def test_a_batch_has_them_and_a_part_of_it_has_its_own(shard: TokenShard, special: SpecialIds) -> None:
    table, counts = table_of(shard), np.bincount(np.asarray(shard.tokens))
    neighbours = Neighbours(shard.tokens, shard.offsets, special, counts)
    rows = MaskedRows(shard.tokens, table, special, rows_per_batch=8, mask_prob=0.3, seed=0, neighbours=neighbours)
    batch = rows.batch(3)
    assert batch.neighbours is not None
    assert torch.equal(batch.neighbours, torch.from_numpy(neighbours.of(table, rows.rows(24, 8))))
    parts = [part.neighbours for part in batch.cut(3)]
    assert all(part is not None for part in parts)
    assert torch.equal(torch.cat(parts), batch.neighbours)  # type: ignore[arg-type]
