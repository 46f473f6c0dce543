"""Check conversations: leave out or refuse what cannot work, and warn about what a model would learn by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pretune.errors import InputDataError
from pretune.text.chat.conversations import Conversation, Message, arrange, clean_message
from pretune.text.chat.reader import ChatFile
from pretune.text.clean.rule_measures import num_words
from pretune.text.labels.checks import MAX_SHARED_FRACTION, Lint
from pretune.text.reading_report import counted, name_lines, shorten
from pretune.text.splits import normalise_for_hash

OPENING_WORDS = 5
OPENING_CHARACTERS = 15  # instead, in scripts without blanks
TEMPLATED_FRACTION = 0.1  # of the replies with one opening, from which to warn
_FLAWS: Mapping[str, tuple[str, str]] = {  # the reason, and the words of the warning
    "not_messages": ("a row without a list of messages in text", "without a list of messages in text"),
    "no_messages": ("an empty conversation", "without any message"),
    "empty_message": (
        "a conversation with an empty question, or an empty system message inside",
        "with an empty message",
    ),
    "empty_reply": ("a conversation with an empty reply", "with an empty reply"),
    "system_inside": ("a conversation with a system message after its beginning", "with a late system message"),
    "no_reply": ("a conversation without a reply to a question", "without a reply to a question"),
}
_REPAIRS: Mapping[str, str] = {
    "joined": "with two messages of one side in a row, which were joined to one",
    "reply_first": "with a reply at the beginning, which was left out",
    "no_answer": "with a question without a reply at the end, which was left out",
}


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """One usable conversation: that of row `row` of its file, counted from 0, on line `line`."""

    row: int
    line: int
    conversation: Conversation

    @property
    def key(self) -> str:
        """Equal for conversations that begin with the same question, which share a split."""
        return normalise_for_hash(self.conversation.question)


def keep_usable(file: ChatFile, lint: Lint, *, keeps_lines: bool) -> list[ChatRecord]:
    """The conversations of a file, cleaned and in order, without repeats.

    Raises InputDataError if there is none, or if questions and replies are swapped.
    """
    kept: list[ChatRecord] = []
    flaws: dict[str, list[int]] = {}
    repairs: dict[str, list[int]] = {}
    for found in file.rows:
        if found.messages is None:
            flaws.setdefault("not_messages", []).append(found.line)
            continue
        cleaned = [Message(m.role, clean_message(m.content, keeps_lines=keeps_lines)) for m in found.messages]
        conversation, changes = arrange(cleaned)
        if not isinstance(conversation, Conversation):
            flaws.setdefault(conversation, []).append(found.line)
            continue
        for change in changes:
            repairs.setdefault(change, []).append(found.line)
        kept.append(ChatRecord(found.row, found.line, conversation))
    _report(file.path, flaws, repairs, lint)
    if not kept:
        first = next(iter(flaws))
        raise InputDataError(
            f"{file.path}, line {flaws[first][0]}: a row {_FLAWS[first][1]}; none of the {len(file.rows):,} rows has a "
            "question and its reply. Check the columns, or name them with --text-column and --response-column."
        )
    _check_swapped(file, kept, lint)
    return _drop_repeats(file.path, kept, lint)


def drop_shared(train: list[ChatRecord], test: Sequence[ChatRecord], test_path: str, lint: Lint) -> list[ChatRecord]:
    """The training conversations whose question is not in the test. Raises InputDataError if too many are."""
    known, tested = {record.key for record in train}, {record.key for record in test}
    num_touched = sum(record.key in known for record in test)
    if num_touched > MAX_SHARED_FRACTION * len(test):
        raise InputDataError(
            f"{num_touched:,} of the {len(test):,} questions of {test_path} also occur in the training file (at most "
            f"{MAX_SHARED_FRACTION:.0%} is allowed); test questions must not appear in the training file."
        )
    kept = [record for record in train if record.key not in tested]
    removed = [record.conversation.question for record in train if record.key in tested]
    reason = "a training conversation whose question is also in the test file"
    lint.dropped.add_many("in_test", reason, len(removed), removed)
    left_out = counted(len(removed), "conversation")
    sentence = f"{left_out} left out of training because their questions are in {test_path}."
    lint.warn("in_test", len(removed), sentence)
    return kept


def check_openings(records: Sequence[ChatRecord], lint: Lint) -> tuple[str, float]:
    """The most frequent first words of the replies, and the fraction of the replies that begin with them.

    Only replies that are longer count: short ones may well be equal.
    """
    found = [_opening_of(reply) for record in records for reply in record.conversation.replies]
    openings = Counter(opening for opening in found if opening)
    if not openings:
        return "", 0.0
    opening, count = openings.most_common(1)[0]
    fraction = count / len(found)
    size = f"{OPENING_WORDS} words" if " " in opening else f"{OPENING_CHARACTERS} characters"
    if fraction >= TEMPLATED_FRACTION and count > 1:
        lint.warn(
            "templated",
            count,
            f"{count:,} of {len(found):,} replies ({fraction:.0%}) begin with the same {size}, "
            f"{shorten(opening, 60)!r}: the model will learn this opening by heart, and a low loss on it means little.",
        )
    return opening, fraction


def _opening_of(reply: str) -> str:
    """The first words of a longer reply, or its first characters if it is written without blanks; empty for a short
    one."""
    words = reply.split()
    if num_words(" ".join(words)) > 2 * len(words):  # most of them are written without blanks
        return "".join(words)[:OPENING_CHARACTERS] if len("".join(words)) > OPENING_CHARACTERS else ""
    return " ".join(words[:OPENING_WORDS]) if len(words) > OPENING_WORDS else ""


def _report(path: str, flaws: Mapping[str, list[int]], repairs: Mapping[str, list[int]], lint: Lint) -> None:
    for flaw, lines in flaws.items():
        reason, what = _FLAWS[flaw]
        lint.dropped.add_many(flaw, reason, len(lines), [f"{path}, line {line}" for line in lines])
        lint.warn(flaw, len(lines), f"{path}: {counted(len(lines), 'row')} {what} left out ({name_lines(lines)}).")
    for repair, lines in repairs.items():
        conversations = counted(len(lines), "conversation")
        lint.warn(repair, len(lines), f"{path}: {conversations} {_REPAIRS[repair]} ({name_lines(lines)}).")


def _check_swapped(file: ChatFile, records: Sequence[ChatRecord], lint: Lint) -> None:
    """Refuse pairs of which the replies are questions and the questions are longer; warn if the user named them."""
    if file.columns.question is None or len(records) < 10:
        return
    questions = [record.conversation.question for record in records]
    replies = [record.conversation.last_reply for record in records]
    asking, asking_replies = (sum(t.endswith("?") for t in texts) / len(records) for texts in (questions, replies))
    lengths = [median(len(text.split()) for text in texts) for texts in (questions, replies)]
    if asking_replies < 0.5 or asking > asking_replies / 2 or lengths[0] <= lengths[1]:
        return
    sentence = (
        f"{file.path}: {asking_replies:.0%} of the replies in {file.columns.reply!r} end with a question mark, but "
        f"{asking:.0%} of the questions in {file.columns.question!r}, and the questions are longer (median "
        f"{lengths[0]:.0f} words, replies {lengths[1]:.0f}), so the columns look swapped"
    )
    if file.columns.are_named:
        lint.warn("swapped", len(records), f"{sentence}.")
        return
    raise InputDataError(
        f"{sentence}; name them: --text-column {file.columns.reply} --response-column {file.columns.question}, or the "
        "other way round if they are right."
    )


def _drop_repeats(path: str, records: Sequence[ChatRecord], lint: Lint) -> list[ChatRecord]:
    """The first of conversations that are equal; those that only share a question stay, in one split."""
    first: dict[tuple[str, ...], ChatRecord] = {}
    repeated = []
    for record in records:
        key = tuple(f"{m.role}\0{normalise_for_hash(m.content)}" for m in record.conversation.messages)
        if first.setdefault(key, record) is not record:
            repeated.append(record)
    kept = list(first.values())
    lines = [record.line for record in repeated]
    lint.dropped.add_many(
        "repeated",
        "a conversation that repeats an earlier one",
        len(repeated),
        [record.conversation.question for record in repeated],
    )
    repeat = "repeats an earlier one and was" if len(repeated) == 1 else "repeat an earlier one and were"
    sentence = f"{path}: {counted(len(repeated), 'conversation')} {repeat} left out ({name_lines(lines)})."
    lint.warn("repeated", len(repeated), sentence)
    num_same = len(kept) - len({record.key for record in kept})
    lint.warn(
        "same_question",
        num_same,
        f"{path}: {counted(num_same, 'conversation')} with the question of an earlier one and another reply; kept, in "
        "the same split.",
    )
    return kept
