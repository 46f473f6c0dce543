"""How long encoded conversations are: their tokens, how many of them are learned, and what had to be cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretune.errors import InputDataError
from pretune.text.chat.checks import ChatRecord
from pretune.text.chat.split import ChatSplit
from pretune.text.chat.template import ChatRow
from pretune.text.reading_report import counted
from pretune.text.splits import Split

_FEW_LEARNED = 0.05  # of the tokens; with fewer, nearly all of the work is reading questions


class LengthReport:
    """Counts rows as they are encoded."""

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.num_rows = self.num_kept = self.num_tokens = self.num_supervised = 0
        self.num_left_out = 0  # messages of conversations that are too long
        self.num_turns_cut = self.num_message_cut = 0
        self.reply_cut: list[str] = []  # file and line of those of which nothing of the reply is left
        self.longest = 0

    def add(self, record: ChatRecord, path: str, row: ChatRow | None) -> None:
        """Count the row of one conversation of a file; None if nothing of its reply fits."""
        self.num_rows += 1
        if row is None:
            self.reply_cut.append(f"{path}, line {record.line}")
            return
        self.num_kept += 1
        self.num_tokens += len(row.ids)
        self.num_supervised += row.num_supervised
        self.longest = max(self.longest, len(row.ids))
        self.num_left_out += row.num_left_out
        self.num_turns_cut += bool(row.num_left_out)
        self.num_message_cut += row.is_message_cut

    @property
    def supervised_fraction(self) -> float:
        """The fraction of the tokens that the model learns to predict."""
        return self.num_supervised / max(1, self.num_tokens)

    @property
    def summary(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "tokens": self.num_tokens,
            "supervised_tokens": self.num_supervised,
            "supervised_fraction": round(self.supervised_fraction, 4),
            "turns_cut": self.num_turns_cut,
            "messages_left_out": self.num_left_out,
            "message_cut": self.num_message_cut,
            "reply_cut_away": len(self.reply_cut),
        }

    @property
    def sentences(self) -> list[str]:
        """What was counted, for the user."""
        found = [
            f"{self.num_kept:,} conversations of {self.num_tokens:,} tokens; {self.num_supervised:,} of them "
            f"({self.supervised_fraction:.0%}) are in replies, which the model learns; it reads the others."
        ]
        if self.num_turns_cut:
            found.append(
                f"{counted(self.num_turns_cut, 'conversation is', 'conversations are')} longer than "
                f"{self.max_seq_len:,} tokens; the oldest {self.num_left_out:,} messages were left out of them."
            )
        if self.num_message_cut:
            found.append(
                f"Of {counted(self.num_message_cut, 'conversation')}, the last question and its reply alone are longer "
                f"than {self.max_seq_len:,} tokens ({self.num_message_cut / self.num_kept:.1%} of all): the question "
                "lost its middle, or the reply its end. A larger --max-seq-len keeps them whole, if the model reads as "
                "much."
            )
        return found

    def check(self, found: ChatSplit, rows: Mapping[Split, Sequence[ChatRow]]) -> None:
        """Add warnings to the lint. Raises InputDataError if a split has lost all of its conversations."""
        cut = self.reply_cut
        reason = "a conversation that is too long to keep any of its last reply"
        found.lint.dropped.add_many("reply_cut_away", reason, len(cut), cut)
        for split in ("train", "validation"):
            if not rows[split]:
                raise InputDataError(
                    f"Nothing of the reply fits within {self.max_seq_len:,} tokens in any of the {split} conversations "
                    f"({cut[0]}, for one); give a larger --max-seq-len, or shorten the system message."
                )
        found.lint.warn(
            "reply_cut_away",
            len(cut),
            f"{counted(len(cut), 'conversation')} left out, since nothing of the last reply fits within "
            f"{self.max_seq_len:,} tokens (the first: {cut[0] if cut else ''}); give a larger --max-seq-len, or "
            "shorten the system message.",
        )
        found.lint.warn(
            "few_learned",
            self.num_supervised if self.supervised_fraction < _FEW_LEARNED else 0,
            f"Only {self.supervised_fraction:.1%} of the tokens are in replies; the rest is read but not learned.",
        )
