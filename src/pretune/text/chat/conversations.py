"""A conversation: messages with roles, in an order that a model can learn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pretune.text.clean.normalize import clean_text
from pretune.text.readers.records import cell_text, replace_surrogates

Role = Literal["system", "user", "assistant"]
# What is wrong with the messages of a row, so that it is left out.
Flaw = Literal["no_messages", "empty_message", "empty_reply", "system_inside", "no_reply"]
# What was changed, so that questions and replies alternate.
Repair = Literal["joined", "reply_first", "no_answer"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
# The names of the roles in other formats, in lower case.
ROLE_NAMES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "patient", "prompter", "customer", "client"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "doctor", "agent", "ai"), "assistant"),
}
_MANY_BREAKS = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order: perhaps one of the system, then of the user and the assistant in turn, the last a reply."""

    messages: tuple[Message, ...]

    @property
    def question(self) -> str:
        """The first message of the user; empty if there is none."""
        return next((message.content for message in self.messages if message.role == "user"), "")

    @property
    def replies(self) -> list[str]:
        """What the assistant says."""
        return [message.content for message in self.messages if message.role == "assistant"]

    @property
    def last_reply(self) -> str:
        """What the assistant says last."""
        return self.replies[-1] if self.replies else ""

    def to_json(self) -> list[dict[str, str]]:
        """The messages as in the files of OpenAI, and as `apply_chat_template` of transformers takes them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]

    @classmethod
    def from_json(cls, messages: Iterable[Mapping[str, Any]]) -> Conversation:
        """The conversation that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(tuple(Message(role_named(str(each["role"])), str(each["content"])) for each in messages))


def role_named(name: str) -> Role:
    """The role with one of its usual names. Raises ValueError if there is none."""
    role = ROLE_NAMES.get(name.strip().casefold())
    if role is None:
        raise ValueError(name)
    return role


def content_text(content: Any) -> str | None:
    """The text of a message: a string, or parts of type text, as OpenAI's files have them; None for other parts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "\n".join(map(cell_text, parts)) if all(isinstance(part, str) for part in parts) else None
    return None if isinstance(content, Mapping) else cell_text(content)


def clean_message(text: str, *, keeps_lines: bool) -> str:
    """A message as the model reads it.

    A tokenizer of pretune's own was trained on clean text with single blanks, so a message for it is cleaned in the
    same way. For a foreign one, line breaks and indentation are kept: there may be lists and code. Neither keeps the
    lone surrogates by which Python reads bytes that are not UTF-8, since no tokenizer takes them.
    """
    if not keeps_lines:
        return clean_text(text)
    lines = replace_surrogates(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _MANY_BREAKS.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def arrange(messages: Iterable[Message]) -> tuple[Conversation | Flaw, list[Repair]]:
    """The messages in an order that a model can learn from, and how they were changed; or why there is none.

    Neighbouring messages of one role are joined by an empty line, since people do send two messages in a row. A reply
    to nothing at the beginning, and a question without a reply at the end, are left out. A message of the system with
    nothing in it, with which every row of some files begins, is none.
    """
    given = list(messages)
    num_system = next((place for place, message in enumerate(given) if message.role != "system"), len(given))
    given = [message for place, message in enumerate(given) if message.content or place >= num_system]
    if not given:
        return "no_messages", []
    for message in given:
        if not message.content:
            return ("empty_reply" if message.role == "assistant" else "empty_message"), []
    repairs: list[Repair] = []
    turns = _join_neighbours(given)
    if len(turns) < len(given):
        repairs.append("joined")
    system = [turns.pop(0)] if turns[0].role == "system" else []
    if any(message.role == "system" for message in turns):
        return "system_inside", []
    if turns and turns[0].role == "assistant":
        turns.pop(0)
        repairs.append("reply_first")
    if len(turns) > 1 and turns[-1].role == "user":
        turns.pop()
        repairs.append("no_answer")
    if len(turns) < 2:
        return "no_reply", []
    return Conversation((*system, *turns)), repairs


def _join_neighbours(messages: Iterable[Message]) -> list[Message]:
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined
