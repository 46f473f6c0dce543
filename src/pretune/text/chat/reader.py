"""Read a file of conversations: lists of messages, or questions with their replies; what was found is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.chat.columns import ChatColumns, columns_like, detect_columns, keys_of, messages_of
from pretune.text.chat.conversations import ROLES, Message, content_text, role_named
from pretune.text.labels.reader import blank_missing_words, describe_how, read_records
from pretune.text.readers.records import Record
from pretune.text.reading_report import Findings, join_names, shorten
from pretune.text.sources.detect import text_of


@dataclass(frozen=True, slots=True)
class FoundRow:
    """The messages of one row as found; None for a cell that is no list of messages, or has content that is no text."""

    row: int  # counted from 0
    line: int
    messages: list[Message] | None


@dataclass(frozen=True, kw_only=True)
class ChatFile:
    """The rows of a file in order."""

    path: str
    rows: list[FoundRow]
    columns: ChatColumns
    detected: dict[str, Any]  # the fields of a `detected` event, with a `sentence`
    findings: Findings = field(default_factory=Findings)


def read_chat_file(
    path: Path,
    question_column: str | None = None,
    reply_column: str | None = None,
    *,
    like: ChatColumns | None = None,
) -> ChatFile:
    """Read a csv, tsv, jsonl, json or parquet file (also gz, zst) of conversations.

    The columns are the given ones, or those that the file shows, or those of another file, `like`. Raises
    InputDataError if the file cannot be read, has no rows or no conversations, or if a message has an unknown role; the
    message has the line or the columns.
    """
    findings = Findings()
    expected = [name for name in (question_column, reply_column) if name] if like is None else like.used
    records, how = read_records(path, findings, expected)
    if not records:
        raise InputDataError(f"{path} has no rows; expected one conversation per row.")
    _refuse_single(str(path), records)
    if like is None:
        columns = detect_columns(str(path), records, question_column, reply_column)
    else:
        columns = columns_like(like, str(path), records)
    if columns.messages is not None:
        rows = _rows_of_messages(str(path), records, columns)
    else:
        blank_missing_words(records, columns.used, how["format"], findings)
        rows = [FoundRow(row, each.line, _messages_of_pair(each, columns)) for row, each in enumerate(records)]
    return ChatFile(
        path=str(path),
        rows=rows,
        columns=columns,
        detected=_detected(str(path), records, columns, how),
        findings=findings,
    )


def _refuse_single(path: str, records: Sequence[Record]) -> None:
    """Refuse a file whose rows are messages: that is one conversation."""
    values = [record.values for record in records if record.values is not None]
    if len(values) == len(records) and all(keys_of([value]) == ("role", "content") for value in values):
        raise InputDataError(
            f"{path} is one conversation of {len(records):,} messages; expected a file with one conversation per row, "
            'as in {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}.'
        )


def _messages_of_pair(record: Record, columns: ChatColumns) -> list[Message]:
    assert columns.question is not None
    assert columns.reply is not None
    asked = text_of(record, columns.question)
    more = text_of(record, columns.input) if columns.input is not None else ""
    asked = "\n\n".join(text for text in (asked, more) if text.strip())
    system = text_of(record, columns.system) if columns.system is not None else ""
    before = [Message("system", system)] if system.strip() else []
    return [*before, Message("user", asked), Message("assistant", text_of(record, columns.reply))]


def _rows_of_messages(path: str, records: Sequence[Record], columns: ChatColumns) -> list[FoundRow]:
    assert columns.messages is not None
    rows = []
    for row, record in enumerate(records):
        found = messages_of(record, columns.messages)
        messages = None if found is None else _read_messages(found, f"{path}, line {record.line}")
        if messages is not None and columns.system is not None:
            system = text_of(record, columns.system)
            has_own = bool(messages) and messages[0].role == "system" and bool(messages[0].content.strip())
            if system.strip() and not has_own:
                messages = [Message("system", system), *messages]
        rows.append(FoundRow(row, record.line, messages))
    return rows


def _read_messages(found: Sequence[Any], place: str) -> list[Message] | None:
    """The messages of one row; None if one has no text. Raises InputDataError for an unknown role."""
    messages = []
    keys = keys_of(found)
    if found and keys is None:
        return None
    for each in found:
        assert keys is not None
        if not isinstance(each, Mapping) or not isinstance(each.get(keys[0]), str):
            return None
        content = content_text(each.get(keys[1]))
        try:
            role = role_named(each[keys[0]])
        except ValueError as error:
            raise InputDataError(
                f"{place}: the role of a message is {shorten(each[keys[0]], 40)!r}; expected {join_names(ROLES)} (or "
                "a usual name of one, such as human, gpt, patient or doctor): rename it, or leave such messages out."
            ) from error
        if content is None:  # images or tools instead of text
            return None
        messages.append(Message(role, content))
    return messages


def _detected(path: str, records: Sequence[Record], columns: ChatColumns, how: Mapping[str, Any]) -> dict[str, Any]:
    every = dict.fromkeys(name for record in records for name in record.fields)
    roles = {
        "messages": columns.messages,
        "question": columns.question,
        "more of the question": columns.input,
        "reply": columns.reply,
        "message of the system": columns.system,
    }
    where = ", ".join(f"{what} in {name!r}" for what, name in roles.items() if name is not None)
    unread = [name for name in every if name not in columns.used]
    not_read = f"; not read: {join_names(unread)}" if unread else ""
    fields = {"text_column": columns.messages or columns.question, "response_column": columns.reply}
    return {
        "path": path,
        **how,
        "task": "chat",
        **{name: value for name, value in fields.items() if value is not None},
        "sentence": f"{len(records):,} rows in {path} ({describe_how(how)}): {where}{not_read}. {columns.reason}",
    }
