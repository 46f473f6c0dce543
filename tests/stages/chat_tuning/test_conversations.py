"""The micro-batches of an update hold all of its conversations, whatever fits into memory at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pretune.data.batch import Batch
from pretune.data.rank_slice import ALONE, RankSlice
from pretune.errors import UsageError
from pretune.stages.chat_tuning.conversations import ChatCorpus, ChatShape, PreparedChat

MAX_SEQ_LEN = 512


@pytest.fixture(scope="module")
def chat(prepared_folder: Path) -> PreparedChat:
    """120 conversations for training."""
    return PreparedChat(prepared_folder, MAX_SEQ_LEN)


def corpus_of(chat: PreparedChat, at_once: int, rank_slice: RankSlice = ALONE) -> ChatCorpus:
    """With updates of 32 conversations, and so many rows at once."""
    shape = ChatShape(batch_size=32, micro_batch_tokens=at_once * chat.row_tokens, evaluation_tokens=1000)
    return ChatCorpus(chat, shape, 0, rank_slice)


def rows_of(batches: list[Batch]) -> list[tuple[int, ...]]:
    return [tuple(row) for batch in batches for row in batch.input_ids.tolist()]


def test_an_update_has_the_same_conversations_however_it_is_divided(chat: PreparedChat) -> None:
    """Of 32 conversations, it had as few as 24 if the micro-batches could not all have the same size."""
    whole = corpus_of(chat, 1000)
    assert whole.micro_batches == 1
    count = whole.rows_per_step
    assert count == round(32 * len(whole.rows) / 120)
    for at_once in range(1, count + 1):
        corpus = corpus_of(chat, at_once)
        assert corpus.tokens_per_step == whole.tokens_per_step
        assert corpus.micro_batch_tokens <= at_once * chat.row_tokens
        for step in (1, 2, 9):  # the last one is in a later epoch
            batches = corpus.short_batches(step)
            sizes = [len(batch.input_ids) for batch in batches]
            assert sum(sizes) == count and max(sizes) * chat.row_tokens == corpus.micro_batch_tokens
            assert max(sizes) - min(sizes) <= 1
            assert rows_of(batches) == rows_of(whole.short_batches(step))


@pytest.mark.parametrize(("at_once", "size"), [(1, 2), (3, 2), (3, 3), (5, 2), (5, 3), (7, 3), (4, 32)])
def test_processes_divide_an_update_of_unequal_micro_batches(chat: PreparedChat, at_once: int, size: int) -> None:
    ranks = [RankSlice(rank=rank, size=size) for rank in range(size)]
    parts = [rows_of(corpus_of(chat, at_once, rank).short_batches(3)) for rank in ranks]
    assert all(parts)
    whole = Counter(rows_of(corpus_of(chat, 1000).short_batches(3)))
    assert Counter(row for part in parts for row in part) == whole


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_update_of_one_row_has_all_of_its_conversations(prepared_folder: Path, batch_size: int) -> None:
    chat = PreparedChat(prepared_folder, MAX_SEQ_LEN)
    chat.row_tokens *= 4
    shape = ChatShape(batch_size=batch_size, micro_batch_tokens=10_000, evaluation_tokens=1000)
    corpus = ChatCorpus(chat, shape, 0)
    [row] = rows_of(corpus.short_batches(1))
    assert corpus.conversations_per_step == row.count(chat.turn_end_id) / 2 > 2  # each a question and a reply
    assert ChatCorpus(chat, replace(shape, batch_size=1000), 0).conversations_per_step == 120


def test_processes_that_cannot_divide_an_update_are_refused(chat: PreparedChat) -> None:
    with pytest.raises(UsageError, match="33 processes cannot divide an update of 32 rows of"):
        corpus_of(chat, 4, RankSlice(rank=0, size=33))
