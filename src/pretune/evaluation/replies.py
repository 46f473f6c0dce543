"""From a causal model and held-out conversations to the losses of their replies, and to replies of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.padding import group_by_length, pad_rows
from pretune.inference.chat_session import answer
from pretune.inference.generate import TextGenerator
from pretune.inference.token_scores import log_probabilities, tokens_per_batch
from pretune.model.transformer import LanguageModel
from pretune.runtime.randomness import derive_seed
from pretune.settings import Sampling
from pretune.text.chat.conversations import Conversation
from pretune.text.chat.template import ChatRow, encode_all
from pretune.text.chat.tokens import turn_end_id
from pretune.text.chat.transcript import encode_transcript
from pretune.text.tokenizer.tokenizer import Tokenizer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ConversationLosses:
    """Of N conversations: the summed losses of their replies in nats, and how many tokens these are.

    `words` are those of the replies alone; `ends` are the marks with which the replies end, which a model without a
    chat template does not know. `num_left_out` conversations had no room for a reply; `num_cut` of the N were too long
    and lost some of their messages or words.
    """

    word_sums: FloatArray
    word_counts: IntArray
    end_sums: FloatArray
    end_counts: IntArray
    num_left_out: int
    num_cut: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The ids of a conversation, the places whose token is to be predicted, and which of them are ends of a reply."""

    ids: list[int]
    places: list[int]
    is_end: list[bool]


def measure_conversations(
    model: LanguageModel,
    tokenizer: Tokenizer,
    conversations: Sequence[Conversation],
    max_seq_len: int,
    *,
    base_tokenizer: Tokenizer | None = None,
) -> ConversationLosses:
    """The losses of the replies of conversations, each of at most `max_seq_len` tokens, in fp32.

    `tokenizer` has the marks of the chat template and decides how a conversation is cut. A model that does not know
    them has a `base_tokenizer` without: it reads each conversation as a transcript, in which the tokens of the replies
    are the same.
    """
    encoded = encode_all(conversations, tokenizer, max_seq_len)
    end_id = turn_end_id(tokenizer)
    rows = [
        _row_of(row, end_id)
        if base_tokenizer is None
        else _transcript_of(each, row, end_id, base_tokenizer, max_seq_len)
        for each, row in zip(conversations, encoded, strict=True)
        if row is not None
    ]
    sums, ends = np.zeros(len(rows)), np.zeros(len(rows))
    for batch in group_by_length([len(row.ids) for row in rows], tokens_per_batch(model)):
        for index, losses in zip(batch, _losses(model, [rows[i] for i in batch], tokenizer.pad_id), strict=True):
            is_end = np.array(rows[index].is_end, dtype=np.bool_)
            sums[index], ends[index] = losses[~is_end].sum(), losses[is_end].sum()
    return ConversationLosses(
        word_sums=sums,
        word_counts=np.array([row.is_end.count(False) for row in rows], dtype=np.int64),
        end_sums=ends,
        end_counts=np.array([row.is_end.count(True) for row in rows], dtype=np.int64),
        num_left_out=len(conversations) - len(rows),
        num_cut=sum(row.num_left_out > 0 or row.is_message_cut for row in encoded if row is not None),
    )


def _row_of(row: ChatRow, end_id: int) -> _Row:
    places = [place for place, learns in enumerate(row.is_supervised) if learns]
    return _Row(ids=row.ids, places=places, is_end=[row.ids[place] == end_id for place in places])


def _transcript_of(
    conversation: Conversation, row: ChatRow, end_id: int, tokenizer: Tokenizer, max_seq_len: int
) -> _Row:
    """The same conversation as a transcript, whose replies have the ids that they have in the row.

    If it is longer than `max_seq_len`, as with a question that lost its middle in the row, it loses its beginning, but
    not [BOS], which stood before every text that the model was trained on.
    """
    has_system = conversation.messages[0].role == "system"
    kept = [*conversation.messages[:has_system], *conversation.messages[has_system + row.num_left_out :]]
    replies = [[token_id for token_id in reply if token_id != end_id] for reply in _replies_of(row)]
    ids, places = encode_transcript(kept, tokenizer, replies)
    excess = max(0, min(len(ids) - max_seq_len, places[0] - 1))  # no more than what stands before the first reply
    num_first = tokenizer.num_around[0]
    ids, places = [*ids[:num_first], *ids[num_first + excess :]], [place - excess for place in places]
    return _Row(ids=ids, places=places, is_end=[False] * len(places))


def _replies_of(row: ChatRow) -> list[list[int]]:
    """The supervised ids of each reply."""
    grouped = groupby(zip(row.ids, row.is_supervised, strict=True), key=lambda pair: pair[1])
    return [[token_id for token_id, _ in pairs] for learns, pairs in grouped if learns]


def _losses(model: LanguageModel, rows: Sequence[_Row], pad_id: int) -> Iterator[FloatArray]:
    """The loss at each place of each row. Raises ModelError if one is not a finite number."""
    input_ids, document_ids = pad_rows([row.ids for row in rows], max(pad_id, 0))
    width = input_ids.shape[1]
    flat = torch.tensor([index * width + place for index, row in enumerate(rows) for place in row.places])
    before, targets = flat - 1, input_ids.flatten()[flat]  # the token before predicts it
    losses = -log_probabilities(model, input_ids, document_ids, before, targets, is_causal=True).double().cpu().numpy()
    start = 0
    for row in rows:
        yield losses[start : start + len(row.places)]
        start += len(row.places)


def write_replies(generator: TextGenerator, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
    """The model's reply to the last question of each conversation, which has the same history as in the conversation.

    Each has random numbers of its own.
    """
    replies = []
    for number, conversation in enumerate(conversations):
        own = replace(sampling, seed=derive_seed(sampling.seed, "reply", number))
        replies.append(answer(generator, conversation.messages[:-1], own))
    return replies
