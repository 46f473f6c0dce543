"""Conversations that cannot work are left out or refused, with their lines; the rest is cleaned and counted."""

from __future__ import annotations

import pytest

from pretune.errors import InputDataError
from pretune.text.chat.checks import ChatRecord, check_openings, drop_shared, keep_usable
from pretune.text.chat.columns import ChatColumns
from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.reader import ChatFile, FoundRow
from pretune.text.labels.checks import Lint

PAIRS = ChatColumns(question="text", reply="response", reason="by their names")


def pair(question: str, reply: str) -> list[Message]:
    return [Message("user", question), Message("assistant", reply)]


def file_of(rows: list[list[Message] | None], columns: ChatColumns = PAIRS) -> ChatFile:
    found = [FoundRow(row, row + 1, messages) for row, messages in enumerate(rows)]
    return ChatFile(path="chats.jsonl", rows=found, columns=columns, detected={})


def warnings_of(lint: Lint) -> dict[str, str]:
    return {concern.rule: concern.sentence for concern in lint.concerns}


def keep(rows: list[list[Message] | None], columns: ChatColumns = PAIRS) -> tuple[list[ChatRecord], Lint]:
    lint = Lint()
    return keep_usable(file_of(rows, columns), lint, keeps_lines=False), lint


def test_flaws_are_left_out_and_counted_with_their_lines() -> None:
    kept, lint = keep(
        [
            pair("Why?", "So."),
            None,
            [],
            pair(" ", "So."),
            pair("Why?", "\n"),
            pair("How?", "Thus."),
            [Message("user", "Hm")],
        ]
    )
    assert [record.row for record in kept] == [0, 5]
    warnings = warnings_of(lint)
    assert warnings["empty_reply"] == "chats.jsonl: 1 row with an empty reply left out (line 5)."
    assert {rule: lint.dropped.count(rule) for rule in lint.dropped.rules} == {
        "not_messages": 1,
        "no_messages": 1,
        "empty_message": 1,
        "empty_reply": 1,
        "no_reply": 1,
    }


def test_repairs_are_counted() -> None:
    two = [Message("user", "Hello."), Message("user", "Why?"), Message("assistant", "So.")]
    kept, lint = keep([two, [Message("assistant", "Hi!"), *pair("How?", "Thus.")]])
    assert kept[0].conversation.question == "Hello.\n\nWhy?"
    warnings = warnings_of(lint)
    assert (
        "1 conversation with two messages of one side in a row, which were joined to one (line 1)" in warnings["joined"]
    )
    assert "(line 2)" in warnings["reply_first"]


def test_a_system_message_with_nothing_in_it_is_read_over() -> None:
    """Every row of some files begins with one."""
    kept, lint = keep([[Message("system", blank), *pair(f"Why {n}?", "So.")] for n, blank in enumerate(["", " \n"])])
    assert [[m.role for m in record.conversation.messages] for record in kept] == [["user", "assistant"]] * 2
    assert not lint.concerns


def test_a_file_without_any_reply_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"chats\.jsonl, line 1: a row with an empty reply; none of the 2 rows"):
        keep([pair("Why?", ""), pair("How?", " ")])


def test_repeats_are_left_out_and_equal_questions_are_kept() -> None:
    kept, lint = keep([pair("Why?", "So."), pair("why?", "so."), pair("WHY?", "Because."), pair("How?", "Thus.")])
    assert [record.row for record in kept] == [0, 2, 3]
    assert lint.dropped.count("repeated") == 1
    assert "1 conversation with the question of an earlier one" in warnings_of(lint)["same_question"]


QUESTIONS = [f"What is the treatment of disease number {n}, please?" for n in range(20)]
REPLIES = [f"Rest and {n} cups of tea." for n in range(20)]


def test_swapped_columns_are_refused() -> None:
    rows: list[list[Message] | None] = [pair(r, q) for q, r in zip(QUESTIONS, REPLIES, strict=True)]
    longer: list[list[Message] | None] = [pair(f"{r} " * 9, q) for q, r in zip(QUESTIONS, REPLIES, strict=True)]
    keep(rows)  # the questions are shorter, as they should be
    with pytest.raises(InputDataError, match=r"100% of the replies in 'response' end with a question mark.*swapped"):
        keep(longer)
    named = ChatColumns(question="text", reply="response", reason="as named by you", are_named=True)
    _, lint = keep(longer, named)
    assert "look swapped" in warnings_of(lint)["swapped"]
    keep(longer, ChatColumns(messages="messages", reason=""))  # the roles say who asks


def test_right_columns_are_not_refused() -> None:
    keep([pair(q * 20, r) for q, r in zip(QUESTIONS, REPLIES, strict=True)])
    keep([pair(f"{r} " * 9, r + "?" * (n % 3 == 0)) for n, r in enumerate(REPLIES)])


def test_templated_openings() -> None:
    records = [
        ChatRecord(
            n, n, Conversation(tuple(pair("Why?", f"Based on your symptoms, you have {n}" if n % 2 else f"No {n}")))
        )
        for n in range(20)
    ]
    lint = Lint()
    assert check_openings(records, lint) == ("Based on your symptoms, you", 0.5)
    assert "10 of 20 replies (50%) begin with the same 5 words" in warnings_of(lint)["templated"]
    lint = Lint()
    assert check_openings(records[::2], lint) == ("", 0.0)
    assert not lint.concerns


def test_templated_openings_in_a_script_without_blanks() -> None:
    template = "根据您描述的症状来看，您可能得了"
    replies = [f"{template}第{n}种病。" if n % 2 else f"不必担心第{n}种，请多喝水，注意休息就好。" for n in range(20)]
    records = [ChatRecord(n, n, Conversation(tuple(pair("为什么？", reply)))) for n, reply in enumerate(replies)]
    lint = Lint()
    assert check_openings(records, lint) == (template[:15], 0.5)
    assert "10 of 20 replies (50%) begin with the same 15 characters" in warnings_of(lint)["templated"]


def records_of(questions: list[str]) -> list[ChatRecord]:
    return [ChatRecord(n, n, Conversation(tuple(pair(question, "So.")))) for n, question in enumerate(questions)]


def test_questions_of_the_test_file_leave_training() -> None:
    lint = Lint()
    train = records_of(["one", "two", "Three ", "four"])
    kept = drop_shared(train, records_of(["three", "a", "b", "c", "d"]), "test.jsonl", lint)
    assert [record.row for record in kept] == [0, 1, 3]
    assert lint.dropped.count("in_test") == 1
    with pytest.raises(InputDataError, match=r"2 of the 3 questions of test\.jsonl also occur"):
        drop_shared(train, records_of(["one", "two", "x"]), "test.jsonl", lint)
