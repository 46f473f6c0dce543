"""Whole conversations in rows: each learned token is predicted once an epoch, from its own conversation only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.data.chat_rows import ChatRows, EncodedChats, load_chats
from pretune.errors import InputDataError
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel
from pretune.text.token_shards import ShardWriter


def draw_chats(count: int, longest: int = 20, seed: int = 0) -> EncodedChats:
    """Conversations of tokens 10 to 49, about half of which are learned, and each of which has at least one."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, count)
    learned = rng.random(int(lengths.sum())) < 0.5
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    learned[offsets[1:] - 1] = True
    tokens = rng.integers(10, 50, len(learned)).astype(np.uint16)
    return EncodedChats(tokens=tokens, is_supervised=learned, offsets=offsets)


def rows_of(chats: EncodedChats, row_tokens: int = 32, rows_per_batch: int = 3, seed: int = 0) -> ChatRows:
    return ChatRows(chats, 0, row_tokens=row_tokens, rows_per_batch=rows_per_batch, seed=seed)


@settings(max_examples=15)
@given(count=st.integers(1, 30), seed=st.integers(0, 1000), rows_per_batch=st.integers(1, 40))
def test_every_learned_token_is_predicted_once_an_epoch(count: int, seed: int, rows_per_batch: int) -> None:
    chats = draw_chats(count, seed=seed)
    rows = rows_of(chats, rows_per_batch=rows_per_batch)
    first = np.zeros(len(chats.tokens), dtype=np.bool_)
    first[chats.offsets[:-1]] = True  # nothing is before it
    expected = Counter(chats.tokens[chats.is_supervised & ~first].tolist())
    found: Counter[int] = Counter()
    by_chat: Counter[int] = Counter()
    for batch, chat_of_label in rows.in_order():
        assert batch.positions is not None
        ids = batch.input_ids.reshape(-1)
        assert torch.equal(ids[batch.positions + 1], batch.labels)
        documents = batch.attention.document_ids.reshape(-1)
        assert torch.equal(documents[batch.positions], documents[batch.positions + 1])
        assert (documents[batch.positions] >= 0).all()
        found += Counter(batch.labels.tolist())
        by_chat += Counter(chat_of_label.tolist())
    assert found == expected
    learned = np.add.reduceat((chats.is_supervised & ~first).astype(int), chats.offsets[:-1])
    assert by_chat == Counter({chat: int(count) for chat, count in enumerate(learned) if count})


def test_a_row_has_whole_conversations_and_padding_at_its_end() -> None:
    chats = draw_chats(40)
    rows = rows_of(chats)
    seen = []
    for batch, _ in rows.in_order():
        assert batch.attention.is_causal is not None
        assert batch.attention.is_causal.all()
        documents = batch.attention.document_ids
        assert batch.num_tokens == int((documents >= 0).sum())
        assert (batch.input_ids[documents < 0] == 0).all()
        for ids, of_row in zip(batch.input_ids, documents, strict=True):
            assert (of_row[int((of_row >= 0).sum()) :] == -1).all()
            seen += [tuple(ids[of_row == each].tolist()) for each in of_row.unique().tolist() if each >= 0]
    expected = [tuple(chats.tokens[chats.offsets[i] : chats.offsets[i + 1]].tolist()) for i in range(40)]
    assert sorted(seen) == sorted(expected)
    assert rows.fill > 0.9


def test_batches_are_a_function_of_their_number() -> None:
    chats = draw_chats(40)
    forwards = [rows_of(chats).batch(index).input_ids for index in range(12)]
    rows = rows_of(chats)
    backwards = [rows.batch(index).input_ids for index in reversed(range(12))]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not torch.equal(forwards[0], rows_of(chats, seed=1).batch(0).input_ids)


def test_every_row_comes_once_an_epoch() -> None:
    rows = rows_of(draw_chats(40))
    count = 3 * len(rows)  # batches of 3 rows: three epochs are len(rows) batches
    drawn = Counter(tuple(ids.tolist()) for index in range(count // 3) for ids in rows.batch(index).input_ids)
    assert set(drawn.values()) == {3}


def test_a_conversation_is_read_as_if_it_were_alone() -> None:
    """Packing leaks nothing: the outputs at a conversation's positions do not depend on its neighbours."""
    config = ModelConfig(
        vocab_size=50,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
    )
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    chats = draw_chats(9, longest=12)
    together = rows_of(chats, row_tokens=48, rows_per_batch=100)
    assert len(together) < 4
    [(batch, chat_of_label)] = list(together.in_order())
    with torch.no_grad():
        assert batch.positions is not None
        attention = batch.attention
        packed = model(batch.input_ids, attention.document_ids, batch.positions, is_causal=attention.is_causal)
        for chat in range(len(chats)):
            [(alone, _)] = list(rows_of(chats.take(np.array([chat])), row_tokens=12).in_order())
            mask = alone.attention
            single = model(alone.input_ids, mask.document_ids, alone.positions, is_causal=mask.is_causal)
            torch.testing.assert_close(packed[torch.from_numpy(chat_of_label == chat)], single, atol=1e-5, rtol=1e-4)


def test_a_conversation_must_fit_in_a_row() -> None:
    with pytest.raises(ValueError, match="does not fit in rows of 16"):
        rows_of(draw_chats(30), row_tokens=16)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "train", 50) as writer:
        writer.add([5, 6, 7])
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(InputDataError, match=r"0 conversations in train\.jsonl and 1 rows of tokens"):
        load_chats(tmp_path, "train")
