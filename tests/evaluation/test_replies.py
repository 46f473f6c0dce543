"""The losses of replies: equal to a plain computation row by row, in the template and in a transcript."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretune.evaluation.replies import measure_conversations, write_replies
from pretune.inference import token_scores
from pretune.inference.generate import TextGenerator
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel
from pretune.settings import Sampling
from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.template import encode_all
from pretune.text.chat.tokens import add_chat_tokens, turn_end_id
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

LENGTH = 128


def talk(*texts: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant") * len(texts)
    messages = [Message(role, text) for role, text in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    return Conversation(tuple([Message("system", system)] if system else []) + tuple(messages))


CONVERSATIONS = [
    talk("The food?", "It was cold."),
    talk("The film?", "Warm and funny.", "And the hotel?", "Dreadful: noisy rooms."),
    talk("Where does the sun rise?", "In the east.", system="Be brief."),
    talk("The food? " * 40, "Cold. " * 40),  # both are cut
]


def random_model(vocab_size: int) -> LanguageModel:
    config = ModelConfig(
        vocab_size=vocab_size, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16,
        intermediate_size=48, max_seq_len=LENGTH, objective="causal",
    )  # fmt: skip
    model, random = LanguageModel(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=random)
    return model.eval()


@pytest.fixture(scope="module")
def base(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture(scope="module")
def tokenizer(base: Tokenizer) -> Tokenizer:
    return add_chat_tokens(base)


def plain_losses(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    """The loss of every token but the first, of one row without padding."""
    row = torch.tensor([ids])
    with torch.inference_mode():
        logits = model(row, torch.zeros_like(row), is_causal=torch.ones(1, dtype=torch.bool))
    return F.cross_entropy(logits[0, :-1], row[0, 1:], reduction="none")


def test_parity_with_rows_one_by_one(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer.vocab_size)
    found = measure_conversations(model, tokenizer, CONVERSATIONS, LENGTH)
    for place, conversation in enumerate(CONVERSATIONS):
        [row] = encode_all([conversation], tokenizer, LENGTH)
        assert row is not None
        losses = plain_losses(model, row.ids)
        words = [i for i, learns in enumerate(row.is_supervised) if learns and row.ids[i] != turn_end_id(tokenizer)]
        ends = [i for i, learns in enumerate(row.is_supervised) if learns and i not in words]
        assert found.word_sums[place] == pytest.approx(float(losses[[i - 1 for i in words]].sum()), rel=1e-4)
        assert found.end_sums[place] == pytest.approx(float(losses[[i - 1 for i in ends]].sum()), rel=1e-4)
        assert (found.word_counts[place], found.end_counts[place]) == (len(words), len(ends))
    assert found.end_counts.tolist() == [1, 2, 1, 0]
    assert found.num_cut == 1


def test_the_head_computes_few_logits_at_once(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all replies of a batch would be 0.8 GB with the vocabulary of a public model."""
    model, sizes = random_model(tokenizer.vocab_size), list[int]()
    whole = measure_conversations(model, tokenizer, CONVERSATIONS, LENGTH)
    most = 8 * tokenizer.vocab_size
    monkeypatch.setattr(token_scores, "_LOGITS_AT_ONCE", most)
    model.lm_head.register_forward_hook(lambda _head, _given, logits: sizes.append(logits.numel()))
    found = measure_conversations(model, tokenizer, CONVERSATIONS, LENGTH)
    assert len(sizes) > 1 and max(sizes) <= most
    assert np.allclose(found.word_sums, whole.word_sums, rtol=1e-5)


def test_the_order_changes_nothing(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer.vocab_size)
    there = measure_conversations(model, tokenizer, CONVERSATIONS, LENGTH)
    back = measure_conversations(model, tokenizer, CONVERSATIONS[::-1], LENGTH)
    assert np.allclose(there.word_sums, back.word_sums[::-1], rtol=1e-5)


def test_a_transcript_has_the_same_tokens_of_the_replies(tokenizer: Tokenizer, base: Tokenizer) -> None:
    model = random_model(base.vocab_size)
    template = measure_conversations(random_model(tokenizer.vocab_size), tokenizer, CONVERSATIONS, LENGTH)
    found = measure_conversations(model, tokenizer, CONVERSATIONS, LENGTH, base_tokenizer=base)
    assert found.word_counts.tolist() == template.word_counts.tolist()
    assert found.end_counts.tolist() == [0, 0, 0, 0]
    ids = base.encode("User: The food? Assistant: It was cold.")[:-1]
    num_words = int(found.word_counts[0])
    assert found.word_sums[0] == pytest.approx(float(plain_losses(model, ids)[-num_words:].sum()), rel=1e-4)


def test_a_transcript_is_no_longer_than_the_row(tokenizer: Tokenizer, base: Tokenizer) -> None:
    long = talk("The food was cold. " * 40, "It was.")
    model, rows = random_model(base.vocab_size), list[list[int]]()
    model.transformer.register_forward_pre_hook(lambda _model, given: rows.extend(given[0].tolist()))
    found = measure_conversations(model, tokenizer, [long], LENGTH, base_tokenizer=base)
    [read] = rows
    assert len(read) == LENGTH
    assert read[0] == base.bos_id and base.bos_id not in read[1:]
    [row] = encode_all([long], tokenizer, LENGTH)
    assert row is not None
    assert found.word_counts.tolist() == [row.num_supervised - 1]  # without the mark that ends it


def test_a_conversation_without_room_for_a_reply_is_left_out(tokenizer: Tokenizer) -> None:
    crowded = talk("The food?", "Cold.", system="The hotel was dreadful. " * 30)
    found = measure_conversations(random_model(tokenizer.vocab_size), tokenizer, [CONVERSATIONS[0], crowded], LENGTH)
    assert found.num_left_out == 1
    assert len(found.word_sums) == 1


def test_replies_are_to_the_last_question_and_repeatable(tokenizer: Tokenizer) -> None:
    generator = TextGenerator(random_model(tokenizer.vocab_size), tokenizer)
    sampling = Sampling(max_tokens=6, seed=3)
    first = write_replies(generator, CONVERSATIONS[:3], sampling)
    assert write_replies(generator, CONVERSATIONS[:3], sampling) == first
    assert write_replies(generator, CONVERSATIONS[:3], replace(sampling, seed=4)) != first
    # The same question twice is answered with other random numbers.
    twice = write_replies(generator, [CONVERSATIONS[0]] * 2, sampling)
    assert twice[0] == first[0] and twice[1] != first[0]
