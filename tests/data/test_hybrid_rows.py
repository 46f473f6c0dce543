"""A step has rows of both kinds, every row once per epoch, and weights that fix the ratio of the two losses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretune.data.batch import Batch
from pretune.data.hybrid_rows import HybridRows
from pretune.data.packing import build_rows
from pretune.data.special_ids import SpecialIds
from pretune.text.token_shards import TokenShard


@pytest.fixture
def shard(write_shard: Any, draw_documents: Any) -> TokenShard:
    return TokenShard(write_shard(draw_documents(90, 40), "train"), "train")


def make_rows(tokens: Any, table: Any, rows: int, share: float, at_once: int = 100) -> HybridRows:
    special = SpecialIds(pad=0, mask=3, first_ordinary=4)
    return HybridRows(
        tokens, table, special, rows_per_step=rows, rows_at_once=at_once, causal_share=share, mask_prob=0.2, seed=0
    )


def table_of(shard: TokenShard) -> Any:
    return build_rows(shard.offsets, 16, np.zeros(shard.num_tokens, dtype=np.bool_))


def is_causal(batch: Batch) -> bool:
    if batch.attention.is_causal is None:
        return False
    assert bool(batch.attention.is_causal.all())
    return True


@pytest.mark.parametrize(("share", "causal"), [(0.25, 2), (0.5, 4), (0.01, 1), (0.99, 7), (0.3, 2)])
def test_the_causal_rows_are_the_share_of_the_step_but_never_none_or_all(
    shard: TokenShard, share: float, causal: int
) -> None:
    rows = make_rows(shard.tokens, table_of(shard), 8, share)
    kinds = [(len(b.input_ids), is_causal(b)) for b in (rows.batch(i) for i in range(2 * rows.micro_batches))]
    assert kinds == [(8 - causal, False), (causal, True)] * 2
    assert rows.tokens_per_step == pytest.approx(8 * 16 * rows.table.fill)


def test_micro_batches_have_one_kind_and_are_not_too_large(shard: TokenShard) -> None:
    rows = make_rows(shard.tokens, table_of(shard), 20, 0.4, at_once=5)
    kinds = [(len(b.input_ids), is_causal(b)) for b in (rows.batch(i) for i in range(rows.micro_batches))]
    assert kinds == [(4, False), (4, False), (4, False), (4, True), (4, True)]
    assert (rows.most_rows, rows.fewest_rows) == (4, 4)


def test_an_epoch_has_every_row_once_as_one_kind_or_the_other(shard: TokenShard) -> None:
    table = table_of(shard)
    rows = make_rows(shard.tokens, table, 8, 0.25)
    steps = len(table) // 8
    texts = Counter[tuple[int, ...]]()
    for index in range(steps * rows.micro_batches):
        batch = rows.batch(index)
        flat = batch.input_ids.flatten().clone()
        assert batch.positions is not None
        if not is_causal(batch):
            flat[batch.positions] = batch.labels
        texts.update(map(tuple, flat.view(batch.input_ids.shape).tolist()))
    everything = rows.masked.gather(rows.masked.rows(0, 8 * steps))[0]
    assert texts == Counter(map(tuple, everything.tolist()))
    # In another epoch other rows are causal.
    later = [rows.batch(rows.micro_batches * (steps + step) + 1).input_ids for step in range(3)]
    assert not torch.equal(later[0], rows.batch(1).input_ids)


@given(share=st.floats(0.01, 0.99), num_rows=st.integers(2, 30), at_once=st.integers(1, 9), step=st.integers(0, 20))
def test_the_weights_of_the_labels_are_in_the_given_ratio(share: float, num_rows: int, at_once: int, step: int) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 30, size=60)
    tokens = np.concatenate([[1, *rng.integers(4, 50, size=n - 2), 2] for n in lengths]).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    table = build_rows(offsets, 16, np.zeros(len(tokens), dtype=np.bool_))
    rows = make_rows(tokens, table, num_rows, share, at_once)
    batches = [rows.batch(step * rows.micro_batches + number) for number in range(rows.micro_batches)]
    weights = [sum(b.weight for b in batches if is_causal(b) is kind) for kind in (True, False)]
    assert weights[0] / sum(weights) == pytest.approx(share, rel=1e-4)
    assert sum(weights) == pytest.approx(sum(len(b.labels) for b in batches), rel=1e-4)
    for kind in (True, False):  # every label of a kind counts the same
        of_kind = torch.cat([b.label_weights for b in batches if is_causal(b) is kind and b.label_weights is not None])
        assert len(set(of_kind.tolist())) == 1
