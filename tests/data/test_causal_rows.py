"""Every position predicts the token after it, within its document; what a row hides is not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pretune.data.causal_rows import CausalRows
from pretune.data.packing import build_rows
from pretune.data.special_ids import SpecialIds
from pretune.model.config import ModelConfig
from pretune.model.transformer import Transformer, initialize
from pretune.text.token_shards import TokenShard

BOS, EOS, UNKNOWN = 1, 2, 3


@pytest.fixture
def shard(write_shard: Any, draw_documents: Any) -> TokenShard:
    return TokenShard(write_shard(draw_documents(60, 40), "train"), "train")


def make_rows(shard: TokenShard, special: SpecialIds, *, rows: int = 7, row_tokens: int = 16) -> CausalRows:
    table = build_rows(shard.offsets, row_tokens, np.zeros(shard.num_tokens, dtype=np.bool_))
    return CausalRows(shard.tokens, table, special, rows_per_batch=rows, seed=0)


def test_every_label_is_the_next_token_of_the_document_written_out_by_hand(
    write_shard: Any, special: SpecialIds
) -> None:
    documents = [[BOS, 10, 11, EOS], [BOS, 20, UNKNOWN, 21, EOS], [BOS, EOS]]
    rows = make_rows(TokenShard(write_shard(documents, "train"), "train"), special, rows=1, row_tokens=12)
    batch = rows.batch(0)
    assert batch.input_ids.tolist() == [[*documents[1], *documents[0], *documents[2], special.pad]]
    assert batch.positions is not None
    pairs = list(zip(batch.input_ids.flatten()[batch.positions].tolist(), batch.labels.tolist(), strict=True))
    # What comes before the unknown word is not asked for it; what comes after it is.
    assert pairs == [(BOS, 20), (UNKNOWN, 21), (21, EOS), (BOS, 10), (10, 11), (11, EOS), (BOS, EOS)]


def test_every_token_but_the_first_of_a_chunk_is_a_label_once(shard: TokenShard, special: SpecialIds) -> None:
    rows = make_rows(shard, special, rows=1000)
    batch = rows.batch(0)
    assert batch.positions is not None
    assert batch.attention.is_causal is not None
    assert bool(batch.attention.is_causal.all())
    flat, documents = batch.input_ids.flatten(), batch.attention.document_ids.flatten()
    assert torch.equal(batch.labels, flat[batch.positions + 1])
    assert torch.equal(documents[batch.positions], documents[batch.positions + 1])
    assert bool((documents[batch.positions] >= 0).all())
    assert bool(((batch.positions + 1) % 16 != 0).all())  # the last position of a row has nothing after it
    assert not set(batch.labels.tolist()) & {special.pad, BOS}
    assert len(batch.labels) == shard.num_tokens - len(rows.table.lengths)
    assert batch.num_tokens == shard.num_tokens
    assert rows.count_labels(np.arange(len(rows.table))) == len(batch.labels)


def test_the_batches_are_those_of_masked_rows_without_masks(shard: TokenShard, special: SpecialIds) -> None:
    from pretune.data.masked_rows import MaskedRows

    causal = make_rows(shard, special)
    masked = MaskedRows(shard.tokens, causal.table, special, rows_per_batch=7, mask_prob=0.2, seed=0)
    for index in (0, 5, 30):
        one, other = causal.batch(index), masked.batch(index)
        assert other.positions is not None
        flat = other.input_ids.flatten()
        flat[other.positions] = other.labels
        assert torch.equal(one.input_ids.flatten(), flat)
        assert torch.equal(one.attention.document_ids, other.attention.document_ids)


def test_part_of_a_batch_keeps_labels_and_direction(shard: TokenShard, special: SpecialIds) -> None:
    batch = make_rows(shard, special).batch(3)
    parts = batch.cut(3)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    for part in parts:
        assert part.positions is not None
        assert part.attention.is_causal is not None
        assert bool(part.attention.is_causal.all())
        assert torch.equal(part.labels, part.input_ids.flatten()[part.positions + 1])


def test_no_position_is_told_its_label_by_what_it_sees(write_shard: Any, special: SpecialIds) -> None:
    """The probe that would win by leaking: in a row, every document is there twice, so another document has all labels,
    and so has the next position. The gradient of each logit with respect to both is exactly zero."""
    rng = np.random.default_rng(0)
    documents = [[BOS, *rng.integers(4, 50, size=6).tolist(), EOS] for _ in range(3)]
    shard = TokenShard(write_shard([each for each in documents for _ in range(2)], "train"), "train")
    batch = make_rows(shard, special, rows=3, row_tokens=16).batch(0)
    config = ModelConfig(
        vocab_size=50, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16, intermediate_size=48
    )
    model = Transformer(config)
    initialize(model, 0)
    with torch.no_grad():
        for parameter in model.parameters():  # the initial projections into the residual stream are zero
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    embedded = list[torch.Tensor]()
    model.embed_tokens.register_forward_hook(lambda _module, _ids, vectors: embedded.append(vectors))
    documents_of, is_causal = batch.attention.document_ids, batch.attention.is_causal
    hidden = model(batch.input_ids, documents_of, is_causal)
    assert batch.positions is not None
    for position in batch.positions[::4].tolist():
        row, place = divmod(position, 16)
        [gradient] = torch.autograd.grad(hidden[row, place].sum(), embedded, retain_graph=True)
        seen = (gradient.abs().sum(-1) > 0).nonzero().tolist()
        first = 8 * (place // 8)  # the beginning of this document
        assert seen == [[row, other] for other in range(first, place + 1)]
