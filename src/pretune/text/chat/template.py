"""The chat template, ChatML: from a conversation to token ids, and which of them the model learns to say.

    <|im_start|>user
    Is it contagious?<|im_end|>
    <|im_start|>assistant
    No.<|im_end|>

The ids equal those of `apply_chat_template` in transformers with the same template, unless a special token is typed in
a message: that is text here, and there only with `sanitize_control_tokens=True`, which cuts the text around it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pretune.text.chat.conversations import ROLES, Conversation, Message
from pretune.text.chat.tokens import TURN_END, TURN_START, turn_end_id, turn_start_id
from pretune.text.tokenizer.rows import common_prefix_length, share_out
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle

USUAL_LENGTH = 1024  # tokens of the longest conversation, if the model reads as many
LEAST_REPLY_TOKENS = 8  # with fewer, nothing of a reply that is cut is left

# For jinja, which transformers and other programs run it with.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{TURN_START}' + message['role'] + '\\n' + message['content'] + '{TURN_END}' + '\\n' }}}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    f"{{{{ '{TURN_START}assistant\\n' }}}}"
    "{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class ChatRow:
    """The ids of a conversation, and which of them the model learns to predict: the replies and the marks after them.

    `num_left_out` counts the oldest messages that were left out because the conversation is too long, and
    `is_message_cut` says that the last question or the last reply was cut, too. A reply that was cut has no mark after
    it: the model must not learn to stop in the middle.
    """

    ids: list[int]
    is_supervised: list[bool]
    num_left_out: int = 0
    is_message_cut: bool = False

    @property
    def num_supervised(self) -> int:
        """How many tokens the model learns to predict."""
        return sum(self.is_supervised)


@dataclass(frozen=True, slots=True)
class _EncodedMessage:
    """A message without its marks; the first `num_head` ids are those of its role."""

    role: str
    ids: list[int]
    num_head: int


def template_of(tokenizer: Tokenizer) -> str:
    """The template in jinja; it begins with the token that begins every text, if the tokenizer has one."""
    if tokenizer.bos_id == NONE:
        return CHAT_TEMPLATE
    return f"{{{{ {json.dumps(tokenizer.backend.id_to_token(tokenizer.bos_id))} }}}}{CHAT_TEMPLATE}"


def encode_all(conversations: Sequence[Conversation], tokenizer: Tokenizer, max_seq_len: int) -> list[ChatRow | None]:
    """The ids of conversations, each at most `max_seq_len`; None where nothing of the last reply would be left.

    If one is longer, the oldest messages are left out first, always up to the next question; the message of the system
    stays. If the last question and its reply are still too long, the question loses its middle and the reply its end.
    """
    marks = _Marks(tokenizer)
    messages = iter(_encode_messages([m for each in conversations for m in each.messages], tokenizer))
    return [_fit([next(messages) for _ in each.messages], marks, max_seq_len) for each in conversations]


def encode_prompt(messages: Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    """The ids of the messages so far, up to where the assistant's next reply begins."""
    marks = _Marks(tokenizer)
    encoded = _encode_messages([*messages, Message("assistant", "")], tokenizer)
    ids = [token_id for message in encoded[:-1] for token_id in marks.around(message.ids)]
    return [*marks.bos, *ids, marks.start, *encoded[-1].ids]


class _Marks:
    """The ids that the template adds."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.bos = [] if tokenizer.bos_id == NONE else [tokenizer.bos_id]
        self.start, self.end = turn_start_id(tokenizer), turn_end_id(tokenizer)
        [self.line_break] = tokenizer.encode_inside(["\n"])

    @property
    def per_message(self) -> int:
        return 2 + len(self.line_break)

    def around(self, ids: Sequence[int]) -> list[int]:
        return [self.start, *ids, self.end, *self.line_break]


def _encode_messages(messages: Sequence[Message], tokenizer: Tokenizer) -> list[_EncodedMessage]:
    """The messages; the head of one is what a prompt for it ends with, so that the model learns all that follows."""
    heads = dict(zip(ROLES, tokenizer.encode_inside([f"{role}\n" for role in ROLES]), strict=True))
    encoded = tokenizer.encode_inside([f"{message.role}\n{message.content}" for message in messages])
    return [
        _EncodedMessage(message.role, ids, common_prefix_length(ids, heads[message.role]))
        for message, ids in zip(messages, encoded, strict=True)
    ]


def _fit(messages: list[_EncodedMessage], marks: _Marks, max_seq_len: int) -> ChatRow | None:
    """A row of at most `max_seq_len` tokens; None if nothing of the last reply fits."""
    system = messages[:1] if messages[0].role == "system" else []
    turns = messages[len(system) :]

    def length() -> int:
        return len(marks.bos) + sum(len(each.ids) + marks.per_message for each in (*system, *turns))

    every = turns
    for place in [place for place, message in enumerate(every) if message.role == "user"]:
        turns = every[place:]
        if length() <= max_seq_len:
            break
    num_left_out = len(every) - len(turns)
    if length() <= max_seq_len:
        return _row([*system, *turns], marks, num_left_out)
    return _cut_last(system, turns, marks, max_seq_len, num_left_out)


def _row(messages: Sequence[_EncodedMessage], marks: _Marks, num_left_out: int) -> ChatRow:
    ids, is_supervised = list(marks.bos), [False] * len(marks.bos)
    for message in messages:
        ids += marks.around(message.ids)
        is_reply = message.role == "assistant"
        is_supervised += [False] * (1 + message.num_head)
        is_supervised += [is_reply] * (len(message.ids) - message.num_head + 1) + [False] * len(marks.line_break)
    return ChatRow(ids=ids, is_supervised=is_supervised, num_left_out=num_left_out)


def _cut_last(
    system: Sequence[_EncodedMessage],
    turns: Sequence[_EncodedMessage],
    marks: _Marks,
    max_seq_len: int,
    num_left_out: int,
) -> ChatRow | None:
    """The row of a single question and reply, both shortened so that it fits."""
    if len(turns) != 2:
        return None
    question, reply = turns
    asked = question.ids[question.num_head :]
    said = [*reply.ids[reply.num_head :], marks.end, *marks.line_break]
    before = _row(system, marks, 0) if system else ChatRow(ids=list(marks.bos), is_supervised=[False] * len(marks.bos))
    around = question.num_head + marks.per_message + 1 + reply.num_head
    room = max_seq_len - len(before.ids) - around
    if room < 2 * LEAST_REPLY_TOKENS:
        return None
    for_question, for_reply = share_out(room, len(asked), len(said))
    kept = [*question.ids[: question.num_head], *cut_middle(asked, for_question)]
    asking = [*before.ids, *marks.around(kept), marks.start, *reply.ids[: reply.num_head]]
    num_learned = min(for_reply, len(said) - len(marks.line_break))
    return ChatRow(
        ids=asking + said[:for_reply],
        is_supervised=[False] * len(asking) + [True] * num_learned + [False] * (for_reply - num_learned),
        num_left_out=num_left_out,
        is_message_cut=True,
    )
