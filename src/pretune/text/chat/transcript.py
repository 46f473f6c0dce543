"""A conversation as a transcript, for a model that does not know the chat template: a text that it can only continue.

User: Is it contagious?
Assistant:
No.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pretune.text.chat.conversations import Message
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer

ASKING, REPLYING = "User:", "Assistant:"


def asking_of(tokenizer: Tokenizer) -> str | None:
    """What stands before a question, as the tokenizer writes it: "user :", for example, if it is in lower case and puts
    blanks around all tokens. None if it lacks the word, so that a model cannot write it."""
    [ids] = tokenizer.encode_inside([ASKING])
    written = tokenizer.decode(ids).strip()
    return written if "".join(written.split()).casefold() == ASKING.casefold() else None


def encode_transcript(
    messages: Sequence[Message], tokenizer: Tokenizer, replies: Sequence[Sequence[int]] | None = None
) -> tuple[list[int], list[int]]:
    """The ids of a conversation, up to where the next reply begins, and the places of the replies' tokens in them.

    `replies` are the ids of the messages of the assistant, if these are to be the same as elsewhere.
    """
    ids = [] if tokenizer.bos_id == NONE else [tokenizer.bos_id]
    num_before, places = len(ids), list[int]()
    given = _encode_replies(messages, tokenizer) if replies is None else iter(replies)
    for message in messages:
        if message.role == "assistant":
            new = list(next(given))
            places += range(len(ids), len(ids) + len(new))
        else:
            line_break = "\n" if len(ids) > num_before else ""
            [new] = tokenizer.encode_inside([line_break + _frame(message)])
        ids += new
    return ids, places


def _frame(message: Message) -> str:
    return f"{ASKING} {message.content}\n{REPLYING}\n" if message.role == "user" else f"{message.content}\n"


def _encode_replies(messages: Sequence[Message], tokenizer: Tokenizer) -> Iterator[list[int]]:
    return iter(tokenizer.encode_inside([each.content for each in messages if each.role == "assistant"]))
