"""A conversation as a transcript, for a model that does not know the chat template: a text that it can only continue.

User: Is it contagious?
Assistant:
No.
"""

from __future__ import annotations

from collections.abc import Sequence

from pretune.text.chat.conversations import Message
from pretune.text.tokenizer.rows import common_prefix_length
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
    ids, places, asked = list[int](), list[int](), ""
    given = None if replies is None else iter(replies)
    for message in messages:
        if message.role != "assistant":
            asked += ("\n" if asked or ids else "") + _frame(message)
            continue
        head = _encode(asked, tokenizer, is_first=not ids)
        if given is not None:
            new, num_head = [*head, *next(given)], len(head)
        else:  # together, because the first token of a reply may depend on what stands before it
            new = _encode(asked + message.content, tokenizer, is_first=not ids)
            num_head = common_prefix_length(new, head)
        places += range(len(ids) + num_head, len(ids) + len(new))
        ids, asked = [*ids, *new], ""
    return ids + (_encode(asked, tokenizer, is_first=not ids) if asked else []), places


def _frame(message: Message) -> str:
    return f"{ASKING} {message.content}\n{REPLYING}\n" if message.role == "user" else f"{message.content}\n"


def _encode(text: str, tokenizer: Tokenizer, *, is_first: bool) -> list[int]:
    """The ids of a part of a transcript; the first one begins like any text that the model was trained on."""
    if not is_first:
        return tokenizer.encode_inside([text])[0]
    ids = tokenizer.encode(text)
    return ids[: len(ids) - tokenizer.num_around[1]]
