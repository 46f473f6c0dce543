"""The batch of a step is a pure function of its number, and an epoch has every row once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pretune.data.batch import Batch
from pretune.data.masked_rows import MaskedRows, ordinary_fraction
from pretune.data.packing import RowTable, build_rows
from pretune.data.special_ids import SpecialIds, special_ids
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer


@pytest.fixture
def shard(write_shard: Any, draw_documents: Any) -> TokenShard:
    return TokenShard(write_shard(draw_documents(60, 40), "train"), "train")


def table_of(shard: TokenShard, row_tokens: int = 16) -> RowTable:
    return build_rows(shard.offsets, row_tokens, np.zeros(shard.num_tokens, dtype=np.bool_))


def make_rows(shard: TokenShard, special: SpecialIds, *, rows: int = 7, seed: int = 0) -> MaskedRows:
    return MaskedRows(shard.tokens, table_of(shard), special, rows_per_batch=rows, mask_prob=0.2, seed=seed)


def equal(one: Batch, two: Batch) -> bool:
    assert one.positions is not None
    assert two.positions is not None
    pairs = [(one.input_ids, two.input_ids), (one.labels, two.labels), (one.positions, two.positions)]
    return all(torch.equal(a, b) for a, b in [*pairs, (one.attention.document_ids, two.attention.document_ids)])


def test_a_batch_is_a_function_of_its_number(shard: TokenShard, special: SpecialIds) -> None:
    forwards = [make_rows(shard, special).batch(i) for i in range(40)]
    rows = make_rows(shard, special)
    backwards = [rows.batch(i) for i in reversed(range(40))]
    assert all(equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not equal(forwards[0], make_rows(shard, special, seed=1).batch(0))
    assert not equal(forwards[0], forwards[1])


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_every_row_comes_once_per_epoch(
    shard: TokenShard, special: SpecialIds, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    rows = make_rows(shard, special, rows=size)
    drawn: list[int] = []
    masked = rows.masked

    def note(chosen: npt.NDArray[np.int64], index: int) -> Batch:
        drawn.extend(chosen.tolist())
        return masked(chosen, index)

    monkeypatch.setattr(rows, "masked", note)
    total, epochs = len(rows.table), 4
    for index in range(-(-total * epochs // rows.rows_per_batch)):
        rows.batch(index)
    orders = [tuple(drawn[i * total : (i + 1) * total]) for i in range(epochs)]
    assert all(sorted(order) == list(range(total)) for order in orders)
    assert len(set(orders)) == epochs


def test_tokens_and_masks_together_are_the_text(shard: TokenShard, special: SpecialIds) -> None:
    rows = make_rows(shard, special, rows=1000)
    batch = rows.batch(0)
    assert batch.positions is not None
    flat = batch.input_ids.flatten().clone()
    assert (flat[batch.positions] == special.mask).all()
    assert (batch.labels >= special.first_ordinary).all()
    flat[batch.positions] = batch.labels
    real = (batch.attention.document_ids >= 0).flatten()
    assert Counter(flat[real].tolist()) == Counter(shard.tokens.tolist())
    assert (flat[~real] == special.pad).all()
    assert batch.num_tokens == int(real.sum()) == shard.num_tokens


def test_chunks_have_their_own_document_ids(shard: TokenShard, special: SpecialIds) -> None:
    rows = make_rows(shard, special)
    ids, documents = rows.gather(np.arange(len(rows.table)))
    for row in range(len(rows.table)):
        place = 0
        for number, chunk in enumerate(range(rows.table.firsts[row], rows.table.firsts[row + 1])):
            start, length = rows.table.starts[chunk], rows.table.lengths[chunk]
            np.testing.assert_array_equal(ids[row, place : place + length], shard.tokens[start : start + length])
            assert (documents[row, place : place + length] == number).all()
            place += length
        assert (documents[row, place:] == -1).all()


def test_every_batch_has_the_same_shape_and_number_of_labels(shard: TokenShard, special: SpecialIds) -> None:
    rows = make_rows(shard, special)
    shapes = {(tuple(b.input_ids.shape), len(b.labels)) for b in (rows.batch(i) for i in range(30))}
    assert shapes == {((7, 16), rows.masked_per_batch)}
    ordinary = float(np.mean(shard.tokens >= special.first_ordinary))
    assert rows.masked_per_batch == pytest.approx(0.2 * ordinary * 7 * 16 * rows.table.fill, abs=1)


@pytest.mark.parametrize("words", [1, 3, 6, 12, 30, 120])
def test_the_hidden_fraction_is_of_ordinary_tokens_whatever_the_length(
    write_shard: Any, special: SpecialIds, words: int
) -> None:
    """When begin and end tokens were counted as well, 51 % of three-word documents were hidden at 0.3."""
    documents = [[1, *range(10, 10 + words), 2] for _ in range(3000 // words)]
    shard = TokenShard(write_shard(documents, "train"), "train")
    rows = MaskedRows(shard.tokens, table_of(shard, 64), special, rows_per_batch=8, mask_prob=0.3, seed=0)
    hidden = ordinary = 0
    for index in range(20):
        batch = rows.batch(index)
        hidden += len(batch.labels)
        ordinary += int((batch.input_ids >= special.first_ordinary).sum()) + len(batch.labels)
    assert hidden / ordinary == pytest.approx(0.3, abs=0.01)


def test_special_ids_are_those_of_the_tokenizer(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    found = special_ids(tokenizer)
    assert (found.pad, found.mask) == (tokenizer.pad_id, tokenizer.mask_id)
    assert found.first_ordinary == 1 + max(tokenizer.special_ids.values())


@pytest.mark.parametrize("chosen", [[0], [5, 2, 2, 7], list(range(30)), []])
def test_rows_are_gathered_chunk_by_chunk(shard: TokenShard, special: SpecialIds, chosen: list[int]) -> None:
    rows = make_rows(shard, special)
    table = rows.table
    ids, documents = rows.gather(np.array(chosen, dtype=np.int64))
    assert ids.shape == documents.shape == (len(chosen), table.row_tokens)
    for i, row in enumerate(chosen):
        expected: list[int] = []
        numbers: list[int] = []
        for document, chunk in enumerate(range(table.firsts[row], table.firsts[row + 1])):
            start, length = table.starts[chunk], table.lengths[chunk]
            expected += shard.tokens[start : start + length].tolist()
            numbers += [document] * int(length)
        padding = table.row_tokens - len(expected)
        assert ids[i].tolist() == expected + [special.pad] * padding
        assert documents[i].tolist() == numbers + [-1] * padding


def test_padding_is_never_hidden(shard: TokenShard) -> None:
    """A foreign tokenizer without a token for padding pads with an ordinary one."""
    rows = make_rows(shard, SpecialIds(pad=5, mask=3, first_ordinary=4))
    batches = [rows.batch(index) for index in range(8)]
    assert any((batch.attention.document_ids < 0).any() for batch in batches)
    for batch in batches:
        assert batch.positions is not None
        assert (batch.attention.document_ids.flatten()[batch.positions] >= 0).all()


def test_special_tokens_at_the_end_of_a_vocabulary_are_never_hidden() -> None:
    """As those of EuroBERT, which begin and end every text with ids above all others."""
    special = SpecialIds(pad=0, mask=3, first_ordinary=4, later=(8, 9))
    ids = np.array([[3, 4, 8, 9], [10, 8, 0, 5]])
    assert special.are_ordinary(ids).tolist() == [[False, True, False, False], [True, False, False, True]]
    assert special.is_ordinary(torch.from_numpy(ids)).tolist() == special.are_ordinary(ids).tolist()
    assert ordinary_fraction(ids.astype(np.uint16).reshape(-1), special, step=3) == 3 / 8
