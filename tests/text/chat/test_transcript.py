"""A conversation as a text that a model continues, for tokenizers of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pretune.text.chat.transcript import asking_of
from pretune.text.tokenizer.tokenizer import Tokenizer

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
