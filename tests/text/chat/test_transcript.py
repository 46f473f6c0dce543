"""A conversation as a text that a model continues, for tokenizers of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pretune.text.chat.conversations import Message
from pretune.text.chat.transcript import asking_of, encode_transcript
from pretune.text.tokenizer.tokenizer import Tokenizer

SYSTEM, QUESTION, REPLY = (
    Message("system", "Drink water."),
    Message("user", "What is it?"),
    Message("assistant", "A cough."),
)
TALKS = [[QUESTION], [SYSTEM, QUESTION], [QUESTION, REPLY], [SYSTEM, QUESTION, REPLY, QUESTION, REPLY, QUESTION]]
TEXT = "User: What is it? Assistant: It is a film. It is warm."


@pytest.mark.parametrize(
    ("kind", "lowercase", "written"),
    [
        ("bpe", False, "User:"),
        ("bpe", True, "user:"),
        ("wordpiece", False, "User :"),
        ("wordpiece", True, "user :"),
        ("words", False, "User :"),
        ("words", True, "user :"),
    ],
)
def test_what_stands_before_a_question_is_written_as_by_the_tokenizer(
    train_tokenizer: Callable[..., Tokenizer], kind: str, lowercase: bool, written: str
) -> None:
    assert asking_of(train_tokenizer([TEXT] * 30, kind, lowercase=lowercase)) == written


def test_a_tokenizer_may_lack_the_word(train_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = train_tokenizer(["What is it: a film, or a book?"] * 30, "words")
    assert tokenizer.decode(tokenizer.encode("User:")) == ":"
    assert asking_of(tokenizer) is None


@pytest.mark.parametrize("talk", TALKS, ids=len)
def test_a_transcript_is_the_beginning_of_a_text_as_in_training(
    kind: str, tokenizer: Tokenizer, talk: list[Message]
) -> None:
    turns = {"user": "User: {}\nAssistant:\n", "assistant": "{}\n", "system": "{}\n\n"}
    text, replies = "", []
    for message in talk:
        if message.role == "assistant":
            replies.append(range(len(text), len(text) + len(message.content)))
        text += turns[message.role].format(message.content)
    text = text.removesuffix("\n") if talk[-1].role == "assistant" else text
    ids, places = encode_transcript(talk, tokenizer)
    whole, spans = tokenizer.encode(text), tokenizer.encode_with_offsets(text).offsets
    assert tokenizer.decode(ids) == tokenizer.decode(whole)
    if kind != "sentencepiece":  # which joins letters across line breaks
        assert ids == whole[: len(whole) - tokenizer.num_around[1]]
        blank = kind == "bpe"  # a token of its own in front of the reply, and predicted with it
        assert places == [
            place
            for place, (start, end) in enumerate(spans)
            if any(start < reply.stop and end > reply.start - blank for reply in replies)
        ]
    said = [ids[place] for place in places]
    expected = tokenizer.encode(" ".join(text[reply.start : reply.stop] for reply in replies))
    assert tokenizer.decode(said).replace(" ", "") == tokenizer.decode(expected).replace(" ", "")


def test_replies_may_be_given(tokenizer: Tokenizer) -> None:
    ids, places = encode_transcript([QUESTION, REPLY, QUESTION, REPLY], tokenizer)
    half = len(places) // 2
    replies = [[ids[place] for place in places[:half]], [ids[place] for place in places[half:]]]
    assert encode_transcript([QUESTION, REPLY, QUESTION, REPLY], tokenizer, replies) == (ids, places)
