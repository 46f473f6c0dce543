"""Files of conversations in every form; what is no message is not guessed at."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.chat.conversations import Message
from pretune.text.chat.reader import read_chat_file

U, A = Message("user", "Why?"), Message("assistant", "So.")


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def messages_in(path: Path, *columns: str) -> list[list[Message] | None]:
    return [row.messages for row in read_chat_file(path, *columns).rows]


def test_messages_of_openai(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, {"role": "assistant"}]},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"messages": "gone"},
        {"messages": [{"role": "user", "content": None}]},
    ]
    found = read_chat_file(write(tmp_path / "chats.jsonl", rows))
    assert [row.messages for row in found.rows] == [
        [Message("system", "Be kind."), U],
        [U, Message("assistant", "")],
        [],
        None,
        None,
        [Message("user", "")],
    ]
    assert [row.line for row in found.rows] == [1, 2, 3, 4, 5, 6]
    assert found.detected["task"] == "chat"
    assert "messages in 'messages'" in found.detected["sentence"]


def test_sharegpt_with_a_system_column(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    rows = [{"conversations": turns, "system": "Be kind."}, {"conversations": turns, "system": ""}]
    assert messages_in(write(tmp_path / "chats.jsonl", rows)) == [[Message("system", "Be kind."), U, A], [U, A]]
    blank = [{"from": "system", "value": " "}, *turns]
    rows = [{"conversations": blank, "system": "Be kind."}] * 2
    for found in messages_in(write(tmp_path / "blank.jsonl", rows)):
        assert found is not None and found[0] == Message("system", "Be kind.")


def test_a_list_of_objects_and_compression(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    path = tmp_path / "chats.json.gz"
    path.write_bytes(gzip.compress(json.dumps([{"conversations": turns}] * 2).encode()))
    assert messages_in(path) == [[U, A]] * 2


def test_questions_and_replies(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "answer": "So."}, {"question": "Why?", "answer": None}, {"question": "", "answer": 3}]
    assert messages_in(write(tmp_path / "pairs.jsonl", rows)) == [
        [U, A],
        [U, Message("assistant", "")],
        [Message("user", ""), Message("assistant", "")],
    ]


def test_instructions_with_an_input(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": "1 2", "output": "3"}, {"instruction": "Hi", "input": "", "output": "Ho"}]
    found = read_chat_file(write(tmp_path / "alpaca.jsonl", rows))
    assert [row.messages[0].content for row in found.rows if row.messages] == ["Add.\n\n1 2", "Hi"]
    assert "more of the question in 'input'" in found.detected["sentence"]


def test_a_csv_with_missing_replies(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("question,answer,id\nWhy?,So.,1\nWhy?,NaN,2\n", encoding="utf-8")
    found = read_chat_file(path)
    assert [row.messages for row in found.rows] == [[U, A], [U, Message("assistant", "")]]
    assert "not read: id" in found.detected["sentence"]
    assert "taken as missing" in found.findings.warnings[0]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    parquet.write_table(pyarrow.table({"messages": [turns, turns]}), tmp_path / "chats.parquet")
    assert messages_in(tmp_path / "chats.parquet") == [[U, A]] * 2


def test_an_unknown_role_is_refused_with_its_line(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}
    bad = {"messages": [{"role": "user", "content": "Why?"}, {"role": "tool", "content": "So."}]}
    with pytest.raises(InputDataError, match=r"chats\.jsonl, line 2: the role of a message is 'tool'; expected system"):
        read_chat_file(write(tmp_path / "chats.jsonl", [good, bad]))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_single_conversation_is_not_a_file_of_them(tmp_path: Path, rows: int) -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}] * rows
    with pytest.raises(InputDataError, match=f"is one conversation of {2 * rows} messages"):
        read_chat_file(write(tmp_path / "chat.jsonl", [{"messages": turns}]))


def test_no_rows(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("question,answer\n", encoding="utf-8")
    with pytest.raises(InputDataError, match="has no rows"):
        read_chat_file(tmp_path / "pairs.csv")
