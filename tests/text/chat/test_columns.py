"""Where conversations are, and why; the sentences for a file without any."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.chat.columns import detect_columns, messages_of
from pretune.text.readers.records import Record, cell_text

TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
LONG = "It hurts when I walk, and in the morning, too."
SHARES = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]


def record(**values: Any) -> Record:
    return Record({name: cell_text(value) for name, value in values.items()}, 1, values)


@pytest.mark.parametrize(
    ("row", "used"),
    [
        ({"id": 1, "messages": TURNS}, ("messages",)),
        ({"conversation": TURNS}, ("conversation",)),
        ({"conversations": SHARES}, ("conversations",)),
        ({"conversations": SHARES, "system": "Be kind."}, ("conversations", "system")),
        ({"messages": TURNS, "System": "Be kind."}, ("messages", "System")),
        ({"messages": TURNS, "System_Prompt ": "Be kind."}, ("messages", "System_Prompt ")),
        ({"text": "Why?", "response": "So.", "turns": [{"role": "patient", "text": "Why?"}]}, ("turns",)),
        ({"exchange": TURNS, "rejected": SHARES}, ("exchange",)),
        ({"question": "Why?", "answer": "So."}, ("question", "answer")),
        ({"text": "Why?", "response": "So.", "label": "x"}, ("text", "response")),
        ({"prompt": "Why?", "completion": "So."}, ("prompt", "completion")),
        ({"instruction": "Add.", "input": "1 2", "output": "3"}, ("instruction", "input", "output")),
        ({"system": "Be kind.", "prompt": "Why?", "response": "So."}, ("system", "prompt", "response")),
        ({"Question": "Why?", "Answer": "So."}, ("Question", "Answer")),
        ({"input": "Why?", "output": "So."}, ("input", "output")),
        ({"question_id": "Q0017", "question_text": "Why?", "answer_text": "So."}, ("question_text", "answer_text")),
        ({"user_id": 17, "doctor_id": 4, "user_text": "Why?", "doctor_text": "So."}, ("user_text", "doctor_text")),
        (
            {"question_type": "cause", "question_body": "Why does it hurt so much?", "answer": "So."},
            ("question_body", "answer"),
        ),
        ({"question_type": "cause", "patient_text": LONG, "doctor_text": LONG}, ("patient_text", "doctor_text")),
        ({"user": "u17", "question_text": "Why?", "answer_text": "So."}, ("question_text", "answer_text")),
        ({"user": "Ann Lee", "question_text": LONG, "bot": 4, "bot_reply": LONG}, ("question_text", "bot_reply")),
        ({"patient": "Why?", "doctor": "So.", "doctor_id": 4}, ("patient", "doctor")),
        ({"user": 17, "assistant": 42}, ("user", "assistant")),
        ({"question_en": "Why does it hurt?", "passage_text": LONG * 9, "answer": "So."}, ("question_en", "answer")),
        ({"question": "2 + 2 = ?", "answer": 4, "answer_type": "integer"}, ("question", "answer")),
        ({"chosen_answer": "So.", "rejected_answer": "It is so.", "prompt": "Why?"}, ("prompt", "chosen_answer")),
        ({"hindi_question": "क्यों?", "answer": "ऐसे ही।"}, ("hindi_question", "answer")),
        ({"question": 17, "answer": 42}, ("question", "answer")),
    ],
)
def test_columns_by_name_and_content(row: dict[str, Any], used: tuple[str, ...]) -> None:
    assert detect_columns("chats.jsonl", [record(**row)]).used == used


def test_named_columns_come_first() -> None:
    rows = [record(a="Why?", b="So.", messages=TURNS)]
    found = detect_columns("chats.jsonl", rows, "a", "b")
    assert (found.used, found.reason) == (("a", "b"), "Columns of questions and replies, as named by you.")
    assert detect_columns("chats.jsonl", [record(first=TURNS, messages=SHARES)], "first").used == ("first",)
    assert detect_columns("chats.jsonl", [record(a="Why?", response="So.")], "a").used == ("a", "response")


def test_the_reason_names_the_format() -> None:
    assert "as in ShareGPT's files" in detect_columns("x", [record(conversations=SHARES)]).reason
    assert "as in OpenAI's files" in detect_columns("x", [record(messages=TURNS)]).reason


@pytest.mark.parametrize(
    ("row", "question", "reply", "message"),
    [
        (
            {"text": "A film.", "label": "good"},
            None,
            None,
            r"no conversations .* text, label.*--text-column",
        ),
        ({"text": "Why?", "response": "So."}, "texts", None, "no column 'texts', which --text-column names"),
        ({"text": "Why?", "response": "So."}, None, "reply", "no column 'reply', which --response-column names"),
        ({"text": "Why?", "response": "So."}, "text", "text", "cannot both be in the column 'text'"),
        (
            {"patient_id": 17, "complaint": "It hurts.", "doctor_reply": "Rest."},
            None,
            None,
            r"no conversations .* patient_id, complaint, doctor_reply.*--text-column",
        ),
        ({"messages": ["Why?", "So."]}, None, None, "no conversations"),
        ({"messages": []}, None, None, "no conversations"),
    ],
)
def test_a_file_without_conversations(
    row: dict[str, Any], question: str | None, reply: str | None, message: str
) -> None:
    with pytest.raises(InputDataError, match=message):
        detect_columns("rows.jsonl", [record(**row)], question, reply)


def test_messages_written_as_json_in_a_csv() -> None:
    cell = '[{"role": "user", "content": "Why?"}]'
    assert messages_of(Record({"messages": cell}, 1), "messages") == [{"role": "user", "content": "Why?"}]
    assert messages_of(Record({"messages": "[broken"}, 1), "messages") is None
    assert messages_of(Record({"messages": "text"}, 1), "messages") is None
