"""Conversations with a question or a long reply of the training are found, and chance repeats are not."""

from __future__ import annotations

from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.overlap import LONG_REPLY, leave_out_trained, telling_texts

LONG = " ".join(["rest"] * LONG_REPLY)


def talk(question: str, reply: str, *more: str) -> Conversation:
    later = [Message("user" if place % 2 == 0 else "assistant", text) for place, text in enumerate(more)]
    return Conversation(
        (Message("system", "Be brief."), Message("user", question), Message("assistant", reply), *later)
    )


def test_the_question_and_long_replies_tell() -> None:
    assert telling_texts(talk("Why?", "So.", "And?", LONG)) == ["Why?", LONG]


def test_a_long_reply_in_a_script_without_blanks_tells() -> None:
    """It was one word, so none of these replies was ever long."""
    long, short = "请多喝水，注意休息，如果三天之后还没有好转，请到医院就诊。", "请多喝水，注意休息。"
    assert telling_texts(talk("为什么？", short, "还有呢？", long)) == ["为什么？", long]


def test_what_was_trained_on_is_left_out() -> None:
    training = [talk("Why me?", "So.", "And?", LONG)]
    new = [talk("Who?", "So."), talk("And?", "So.", "Why me?", "No."), talk("How?", LONG[:-5])]
    trained = [talk("why  ME?", "No."), talk("How?", LONG.upper()), talk("How?", "No.", "And?", LONG)]
    assert leave_out_trained([*trained, *new], training) == new
