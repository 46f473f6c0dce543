"""The ids of a conversation: those of transformers, none learned by mistake, and nothing typed is special."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.template import CHAT_TEMPLATE, ChatRow, encode_all, encode_prompt, template_of
from pretune.text.chat.tokens import TURN_END, TURN_START, turn_end_id, turn_start_id
from pretune.text.tokenizer.rows import common_prefix_length
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer

TYPED = ["<|im_end|>", "<|im_start|>assistant\n", "[BOS]", "[EOS]", "[MASK]", "<s>", "</s>", "<|endoftext|>"]
WORDS = ["What", " is ", "the", "\n", "\n\n- ", "12", "doctor", "isn't", " ", "?", "東京", "😀", "é", "a\tb", "<|", "]"]
MARKS = [*TYPED, "[UNK]", "[PAD]"]  # Hypothesis draws the strings of the source, too
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), min_size=1, max_size=8).map("".join)
untyped = texts.filter(lambda text: not any(mark in text for mark in MARKS))
typed = st.lists(st.sampled_from([*WORDS, *TYPED]) | st.text(max_size=8), min_size=1, max_size=8).map("".join)
LAW = settings(max_examples=20)


def encode(conversation: Conversation, tokenizer: Tokenizer, max_seq_len: int) -> ChatRow:
    [row] = encode_all([conversation], tokenizer, max_seq_len)
    assert row is not None
    return row


@st.composite
def conversations(draw: st.DrawFn, contents: st.SearchStrategy[str] = typed) -> Conversation:
    turns = draw(st.lists(st.tuples(contents, contents), min_size=1, max_size=3))
    system = draw(st.lists(contents, max_size=1))
    messages = [Message("system", text) for text in system]
    for question, reply in turns:
        messages += [Message("user", question), Message("assistant", reply)]
    return Conversation(tuple(messages))


@pytest.fixture(scope="module")
def reference(kind: str, chat_folder: Callable[[str], Path]) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(chat_folder(kind))


@LAW
@given(conversation=conversations(untyped))
def test_the_ids_are_those_of_transformers(tokenizer: Tokenizer, reference: Any, conversation: Conversation) -> None:
    expected = reference.apply_chat_template(conversation.to_json())["input_ids"]
    assert encode(conversation, tokenizer, 10_000).ids == expected
    messages = conversation.messages[:-1]
    prompt = reference.apply_chat_template(conversation.to_json()[:-1], add_generation_prompt=True)["input_ids"]
    assert encode_prompt(messages, tokenizer) == prompt


def test_transformers_reads_typed_marks_as_marks_unless_asked(tokenizer: Tokenizer, reference: Any) -> None:
    """The difference that docs/guide/chat-data.md describes."""
    messages = (Message("user", "Hi <|im_end|>"), Message("assistant", "Hello"))
    theirs = reference.apply_chat_template(Conversation(messages).to_json())["input_ids"]
    ours = encode(Conversation(messages), tokenizer, 1000).ids
    assert (theirs.count(turn_end_id(tokenizer)), ours.count(turn_end_id(tokenizer))) == (3, 2)


@LAW
@given(conversation=conversations())
def test_nothing_that_is_typed_becomes_a_special_token(tokenizer: Tokenizer, conversation: Conversation) -> None:
    ids = encode(conversation, tokenizer, 10_000).ids
    count = len(conversation.messages)
    assert ids.count(turn_start_id(tokenizer)) == ids.count(turn_end_id(tokenizer)) == count
    special = [i for i in ids if i in tokenizer.all_special_ids and i != tokenizer.unk_id]
    assert len(special) == 2 * count + (tokenizer.bos_id != NONE)


@LAW
@given(conversation=conversations())
def test_the_replies_and_their_ends_are_learned_and_nothing_else(
    tokenizer: Tokenizer, conversation: Conversation
) -> None:
    row = encode(conversation, tokenizer, 10_000)
    end = turn_end_id(tokenizer)
    expected = [False] * int(tokenizer.bos_id != NONE)
    for message in conversation.messages:
        head, whole = tokenizer.encode_inside([f"{message.role}\n", f"{message.role}\n{message.content}"])
        assert row.ids[len(expected) + 1 :][: len(whole) + 1] == [*whole, end]
        num_head = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(head, whole, strict=False))))
        is_reply = message.role == "assistant"
        expected += [False] * (1 + num_head) + [is_reply] * (len(whole) - num_head + 1)
        expected += [False] * len(tokenizer.encode_inside(["\n"])[0])
    assert row.is_supervised == expected


@LAW
@given(conversation=conversations())
def test_a_row_continues_its_prompt(tokenizer: Tokenizer, kind: str, conversation: Conversation) -> None:
    """What the model reads before it replies is what it read in training, and it learns the first token after that.

    SentencePiece may have a piece for the line break before the reply and what the reply begins with, such as "\\n-".
    """
    reply = conversation.messages[-1]
    assume(not reply.content[:1].isspace())  # `prepare` takes blanks away
    prompt = encode_prompt(conversation.messages[:-1], tokenizer)
    row = encode(conversation, tokenizer, 10_000)
    common = common_prefix_length(row.ids, prompt)
    assert common == len(prompt) or (kind == "sentencepiece" and common == len(prompt) - 1)
    assert row.is_supervised[common - 1 : common + 1] == [False, True]


def test_a_reply_may_begin_within_the_last_piece_of_its_prompt(tokenizer: Tokenizer, kind: str) -> None:
    conversation = Conversation((Message("user", "What"), Message("assistant", "-")))
    prompt, row = encode_prompt(conversation.messages[:-1], tokenizer), encode(conversation, tokenizer, 10_000)
    assert (row.ids[: len(prompt)] == prompt) == (kind != "sentencepiece")


LONG = Conversation(
    (
        Message("system", "the doctor said"),
        Message("user", "What is the matter? " * 3),
        Message("assistant", "drink water " * 3),
        Message("user", "I have a cough. " * 6),
        Message("assistant", "rest and sleep " * 6),
    )
)


@pytest.mark.parametrize("max_seq_len", range(30, 200, 17))
def test_a_long_conversation_loses_its_oldest_turns_then_the_middle_of_the_question(
    tokenizer: Tokenizer, max_seq_len: int
) -> None:
    whole = encode(LONG, tokenizer, 10_000)
    [row] = encode_all([LONG], tokenizer, max_seq_len)
    if row is None:
        assert max_seq_len < 60
        return
    assert len(row.ids) == min(max_seq_len, len(row.ids)) and row.num_supervised > 0
    if len(whole.ids) <= max_seq_len:
        assert (row.ids, row.num_left_out, row.is_message_cut) == (whole.ids, 0, False)
        return
    assert row.num_left_out == 2
    system = encode_prompt(LONG.messages[:1], tokenizer)
    start = system.index(turn_end_id(tokenizer))
    assert row.ids[: start + 1] == whole.ids[: start + 1]  # the system's message stays
    shorter = encode(Conversation((LONG.messages[0], *LONG.messages[3:])), tokenizer, 10_000)
    if len(shorter.ids) <= max_seq_len:
        assert (row.ids, row.is_message_cut) == (shorter.ids, False)
        return
    assert row.is_message_cut and len(row.ids) == max_seq_len
    said = [i for i, is_learned in zip(row.ids, row.is_supervised, strict=True) if is_learned]
    all_said = [i for i, is_learned in zip(shorter.ids, shorter.is_supervised, strict=True) if is_learned]
    assert said == all_said[: len(said)]  # the beginning of the reply; its end mark only if it is whole


def test_a_reply_that_was_cut_has_no_end(tokenizer: Tokenizer) -> None:
    conversation = Conversation((Message("user", "cough?"), Message("assistant", "drink water " * 50)))
    row = encode(conversation, tokenizer, 50)
    assert row.is_message_cut and row.is_supervised[-1]
    assert row.ids.count(turn_end_id(tokenizer)) == 1


def test_a_reply_after_a_long_question_is_kept_whole(tokenizer: Tokenizer) -> None:
    conversation = Conversation((Message("user", "a cough? " * 50), Message("assistant", "rest")))
    row, whole = encode(conversation, tokenizer, 50), encode(conversation, tokenizer, 10_000)
    assert row.is_message_cut and row.num_supervised == whole.num_supervised
    assert row.ids[-5:] == whole.ids[-5:] and row.ids[:6] == whole.ids[:6]


def test_the_template_is_chatml(tokenizer: Tokenizer) -> None:
    """By itself, and with the token that begins a text in front."""
    messages = [{"role": "user", "content": "Is it contagious?"}, {"role": "assistant", "content": "No."}]
    chatml = "<|im_start|>user\nIs it contagious?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n"
    jinja2 = pytest.importorskip("jinja2")
    made = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template_of(tokenizer))
    bos = "" if tokenizer.bos_id == NONE else str(tokenizer.backend.id_to_token(tokenizer.bos_id))
    assert made.render(messages=messages) == bos + chatml
    prompt = made.render(messages=messages[:1], add_generation_prompt=True)
    assert prompt == bos + chatml[: chatml.index("No.")]
    assert template_of(tokenizer).endswith(CHAT_TEMPLATE)
    assert TURN_START in CHAT_TEMPLATE and TURN_END in CHAT_TEMPLATE
