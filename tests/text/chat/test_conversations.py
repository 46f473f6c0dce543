"""Messages in an order that a model can learn from: repaired, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.chat.conversations import ROLES, Conversation, Message, Role, arrange, clean_message, role_named

S, U, A = (Message("system", "Be kind."), Message("user", "Why?"), Message("assistant", "So."))


@pytest.mark.parametrize(
    ("given_messages", "kept", "repairs"),
    [
        ([U, A], [U, A], []),
        ([S, U, A, U, A], [S, U, A, U, A], []),
        ([U, U, A], [Message("user", "Why?\n\nWhy?"), A], ["joined"]),
        ([U, A, A], [U, Message("assistant", "So.\n\nSo.")], ["joined"]),
        ([S, S, U, A], [Message("system", "Be kind.\n\nBe kind."), U, A], ["joined"]),
        ([Message("system", ""), U, A], [U, A], []),
        ([Message("system", ""), S, Message("system", ""), U, A], [S, U, A], []),
        ([A, U, A], [U, A], ["reply_first"]),
        ([S, A, U, A], [S, U, A], ["reply_first"]),
        ([U, A, U], [U, A], ["no_answer"]),
        ([A, U, U, A, U], [Message("user", "Why?\n\nWhy?"), A], ["joined", "reply_first", "no_answer"]),
    ],
)
def test_order(given_messages: list[Message], kept: list[Message], repairs: list[str]) -> None:
    assert arrange(given_messages) == (Conversation(tuple(kept)), repairs)


@pytest.mark.parametrize(
    ("given_messages", "flaw"),
    [
        ([], "no_messages"),
        ([S], "no_reply"),
        ([U], "no_reply"),
        ([S, U], "no_reply"),
        ([A], "no_reply"),
        ([A, U], "no_reply"),
        ([U, Message("assistant", "")], "empty_reply"),
        ([Message("user", ""), A], "empty_message"),
        ([Message("system", "")], "no_messages"),
        ([U, Message("system", ""), A], "empty_message"),
        ([U, S, A], "system_inside"),
    ],
)
def test_flaws(given_messages: list[Message], flaw: str) -> None:
    assert arrange(given_messages)[0] == flaw


@given(roles=st.lists(st.sampled_from(ROLES), max_size=8))
def test_a_conversation_alternates_and_ends_with_a_reply(roles: list[Role]) -> None:
    found, _ = arrange([Message(role, "x") for role in roles])
    if not isinstance(found, Conversation):
        return
    kept = [message.role for message in found.messages if message.role != "system"]
    assert kept == ["user", "assistant"] * (len(kept) // 2) and kept
    assert "system" not in [message.role for message in found.messages[1:]]


def test_roles_have_many_names() -> None:
    assert [role_named(name) for name in ("Human", "gpt ", "patient", "DOCTOR", "system")] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "system",
    ]
    with pytest.raises(ValueError, match="tool"):
        role_named("tool")


def test_messages_survive_json() -> None:
    conversation = Conversation((S, U, A))
    assert Conversation.from_json(conversation.to_json()) == conversation
    assert (conversation.question, conversation.replies, conversation.last_reply) == ("Why?", ["So."], "So.")


def test_a_message_keeps_its_lines_for_a_foreign_tokenizer() -> None:
    text = "  A list:\r\n \n\n\n- <b>one</b>  \n    - two\r"
    assert clean_message(text, keeps_lines=True) == "A list:\n\n- <b>one</b>\n    - two"
    assert clean_message(text, keeps_lines=False) == "A list: - one - two"


@pytest.mark.parametrize("keeps_lines", [True, False])
def test_a_byte_that_is_not_utf_8_becomes_a_sign(keeps_lines: bool) -> None:
    assert clean_message("caf\udce9", keeps_lines=keeps_lines) == "caf\ufffd"
