"""Where the conversations of a file are: in a column of messages, or in columns of questions and replies."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pretune.errors import InputDataError
from pretune.runtime.json_text import parse_json
from pretune.text.clean.rule_measures import num_words
from pretune.text.readers.records import SAMPLE_ROWS, Record
from pretune.text.reading_report import join_names
from pretune.text.sources.detect import FAR_SHORTER, MIN_FILLED, cell_of, column_by_name, has_column, text_of

MESSAGES_NAMES = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog", "chat")
# Of one message: the key with its role, and the key with its text.
ROLE_KEYS = ("role", "from", "speaker", "author")
CONTENT_KEYS = ("content", "value", "text", "message")
QUESTION_NAMES = ("question", "prompt", "instruction", "text", "query", "user", "patient", "human", "input")
REPLY_NAMES = ("response", "answer", "completion", "output", "reply", "assistant", "doctor", "bot")
PERSONS = ("user", "patient", "human", "assistant", "doctor", "bot")  # of the names above
INSTRUCTION_NAMES, INPUT_NAMES = ("instruction", "prompt"), ("input", "context")
SYSTEM_NAMES = ("system", "system_prompt")
LEAST_QUESTION_WORDS = 3  # on average; cells with fewer, in a column far shorter than another one, are labels or names


class NamedColumns(NamedTuple):
    """The columns that the user names: the one with the questions or the messages, and the one with the replies."""

    question: str | None = None
    reply: str | None = None


DETECTED = NamedColumns()


@dataclass(frozen=True, kw_only=True)
class ChatColumns:
    """The columns of a file that hold its conversations, and why they were taken."""

    messages: str | None = None  # or else the two
    question: str | None = None
    reply: str | None = None
    input: str | None = None  # what an instruction is about; may be empty
    system: str | None = None
    reason: str
    are_named: bool = False  # question and reply by the user

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the columns that are read."""
        every = (self.messages, self.system, self.question, self.input, self.reply)
        return tuple(name for name in every if name is not None)


def detect_columns(
    path: str, records: Sequence[Record], question: str | None = None, reply: str | None = None
) -> ChatColumns:
    """The columns with the conversations; `question` and `reply` are those that the user names.

    Messages come before questions and replies, since they may have several turns. Raises InputDataError, with the
    names of the columns, if there is neither, or if a named column does not exist.
    """
    columns = list(dict.fromkeys(name for record in records for name in record.fields))
    for named, option in ((question, "--text-column"), (reply, "--response-column")):
        if named is not None and not has_column(records, named):
            raise InputDataError(
                f"{path} has no column {named!r}, which {option} names; its columns are {join_names(columns, 20)}."
            )
    if question is not None and question == reply:
        raise InputDataError(f"Question and reply cannot both be in the column {question!r}; name two columns.")
    sample = records[:SAMPLE_ROWS]
    found = None if reply is not None else _find_messages(sample, columns, question)
    found = found or _find_pairs(sample, columns, question, reply)
    if found is None:
        _refuse_empty_lists(path, records, columns)
        raise InputDataError(
            f"{path} has no conversations that were recognised (its columns are {join_names(columns, 20)}); expected "
            "a list of messages, each with a role and a content, or a column of questions and one of replies: name "
            "these with --text-column and --response-column."
        )
    return found


def columns_like(known: ChatColumns, path: str, records: Sequence[Record]) -> ChatColumns:
    """The columns of a file that are named as those of another one.

    A file may lack the column of inputs. Raises InputDataError if it lacks a column that cannot be empty.
    """
    if known.messages is not None:
        return detect_columns(path, records, known.messages)
    assert known.question is not None
    assert known.reply is not None
    found = detect_columns(path, records, known.question, known.reply)
    has_input = known.input is not None and has_column(records, known.input)
    return replace(found, input=known.input if has_input else None, reason=known.reason, are_named=known.are_named)


def messages_of(record: Record, column: str) -> list[Any] | None:
    """The list of messages in a cell, also if it is written as JSON in a csv; None for anything else."""
    value = cell_of(record, column)[1]
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            return None
    return value if isinstance(value, list) else None


def _refuse_empty_lists(path: str, records: Sequence[Record], columns: Sequence[str]) -> None:
    for column in columns:
        if all(messages_of(record, column) == [] for record in records):
            raise InputDataError(
                f"{path} has no conversations: every list in {column!r} is empty; expected messages in them, as in "
                '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}.'
            )


def keys_of(messages: Sequence[Any]) -> tuple[str, str] | None:
    """The keys of the role and of the text in messages; None if they are not messages."""
    for message in messages:
        if not isinstance(message, dict):
            return None
        role = next((key for key in ROLE_KEYS if isinstance(message.get(key), str)), None)
        content = next((key for key in CONTENT_KEYS if key in message), None)
        if role is not None and content is not None:
            return role, content
    return None


def _find_messages(sample: Sequence[Record], columns: Sequence[str], named: str | None) -> ChatColumns | None:
    for column in (named,) if named is not None else sorted(columns, key=_rank):
        lists = [found for record in sample if (found := messages_of(record, column)) is not None]
        keys = next((keys for messages in lists if (keys := keys_of(messages)) is not None), None)
        if keys is not None:
            known = {("role", "content"): ", as in OpenAI's files", ("from", "value"): ", as in ShareGPT's files"}
            reason = f"Each row has a list of messages with {keys[0]!r} and {keys[1]!r}{known.get(keys, '')}."
            return ChatColumns(messages=column, system=_column_named(columns, SYSTEM_NAMES), reason=reason)
    return None


def _rank(column: str) -> int:
    name = column.strip().casefold()
    return MESSAGES_NAMES.index(name) if name in MESSAGES_NAMES else len(MESSAGES_NAMES)


def _column_named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first column with one of these names, in any case."""
    return next((column for column in columns if column.strip().casefold() in names), None)


def _find_pairs(
    sample: Sequence[Record], columns: Sequence[str], question: str | None, reply: str | None
) -> ChatColumns | None:
    are_named = question is not None and reply is not None
    reply = reply or _column_of_texts(sample, [c for c in columns if c != question], REPLY_NAMES)
    others = [c for c in columns if c != reply]
    given, question = question, question or _column_of_texts(sample, others, QUESTION_NAMES)
    if reply is None or question is None:
        return None
    more = None
    if given is None and question.strip().casefold() in INSTRUCTION_NAMES:
        more = _column_named(others, INPUT_NAMES)
    return ChatColumns(
        question=question,
        reply=reply,
        input=more,
        system=_column_named(others, SYSTEM_NAMES),
        reason=f"Columns of questions and replies, {'as named by you' if are_named else 'by their names'}.",
        are_named=are_named,
    )


def _column_of_texts(sample: Sequence[Record], columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column with the earliest of the names; failing that, one of texts with such a name as a word.

    Given `question_id`, `question_type` and `question_text`, the last one has the texts: the first has no words, and
    the cells of the second are far shorter. A column whose whole name is one of the names is taken whatever it has,
    since a reply may well be a number; but one that is named after a person may have ids: given `user` and
    `question_text`, the second one has the texts.
    """
    matching = [column for column in columns if column_by_name([column], names) is not None]
    lengths = {column: _length_of_texts(sample, column) for column in matching}
    longest = max(lengths.values(), default=0.0)

    def is_far_shorter(column: str, others: Sequence[str]) -> bool:
        return lengths[column] < FAR_SHORTER * max(lengths[other] for other in others)

    # Far shorter cells are not enough: a passage in another column may be far longer than the questions.
    texts = [c for c in matching if lengths[c] and not (is_far_shorter(c, matching) and _has_labels(sample, c))]
    exact = {column: name for column in matching if (name := column.strip().casefold()) in names}
    kept = [column for column, name in exact.items() if column in texts or name not in PERSONS or not longest]
    if kept:
        return column_by_name(kept, names)
    for name in names:
        alike = [column for column in texts if column_by_name([column], [name])]
        if alike:
            return next(column for column in alike if not is_far_shorter(column, alike))
    return None


def _has_labels(sample: Sequence[Record], column: str) -> bool:
    """Whether the cells that are not blank have one or two words on average."""
    cells = [" ".join(text.split()) for record in sample if (text := text_of(record, column).strip())]
    return sum(map(num_words, cells)) < LEAST_QUESTION_WORDS * len(cells)


def _length_of_texts(sample: Sequence[Record], column: str) -> float:
    """The mean characters of the cells that are not blank; 0 if most of them are not words, as in a column of ids."""
    cells = [text for record in sample if (text := text_of(record, column).strip())]
    num_texts = sum(_is_of_words(cell) for cell in cells)
    return sum(map(len, cells)) / len(cells) if cells and num_texts >= MIN_FILLED * len(cells) else 0.0


def _is_of_words(cell: str) -> bool:
    """Whether a cell has more letters than other characters; a mark on a letter, as in Hindi, counts as one."""
    characters = "".join(cell[:200].split())
    return 2 * sum(unicodedata.category(c)[0] in "LM" for c in characters) > len(characters)
