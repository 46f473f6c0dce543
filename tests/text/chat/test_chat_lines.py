"""Lines of a prepare folder come back as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.chat.chat_lines import ChatLines, chat_line, read_chat_lines, spans_of, write_held_out
from pretune.text.chat.checks import ChatRecord
from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.template import ChatRow
from pretune.text.collect.protected_texts import protected_texts
from pretune.text.reading_report import Findings

TALK = Conversation((Message("user", "Why\u2028so?"), Message("assistant", "So.")))


@given(is_supervised=st.lists(st.booleans(), max_size=40))
def test_spans_say_which_tokens_are_learned(is_supervised: list[bool]) -> None:
    lines = ChatLines(conversations=[TALK], spans=[spans_of(is_supervised)])
    assert lines.is_supervised(0, len(is_supervised)).tolist() == is_supervised


def test_lines_are_read_as_written(tmp_path: Path) -> None:
    row = ChatRow(ids=[5, 6, 7], is_supervised=[False, True, True], num_left_out=2, is_message_cut=True)
    line = chat_line(ChatRecord(3, 4, TALK), row)
    assert (line["messages_left_out"], line["is_cut"]) == (2, True)
    (tmp_path / "test.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
    found = read_chat_lines(tmp_path, "test")
    assert (found.conversations, found.spans) == ([TALK], [[[1, 3]]])


def test_held_out_messages_are_texts_to_protect_but_not_those_of_the_system(tmp_path: Path) -> None:
    longer = Conversation((Message("system", "Be brief."), *TALK.messages, Message("user", "And?\nThen?")))
    path = write_held_out(tmp_path, [TALK, longer])
    assert [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").split("\n") if line] == [
        "Why\u2028so?", "So.", "And?\nThen?",
    ]  # fmt: skip
    assert len(protected_texts([path], Findings())) == 3


@pytest.mark.parametrize("content", ['{"text": "Why?"}', '{"messages": [], "supervised": 3}'])
def test_lines_without_conversations(tmp_path: Path, content: str) -> None:
    (tmp_path / "test.jsonl").write_text(content + "\n")
    with pytest.raises(InputDataError, match="has no conversations"):
        read_chat_lines(tmp_path, "test")
    with pytest.raises(InputDataError, match="does not exist"):
        read_chat_lines(tmp_path, "train")
