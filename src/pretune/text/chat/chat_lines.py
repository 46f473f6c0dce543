"""The lines of a prepare folder of conversations: the messages, and which of the row's tokens are learned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import InputDataError
from pretune.runtime.atomic import write_text
from pretune.runtime.json_lines import read_json_lines
from pretune.text.chat.checks import ChatRecord
from pretune.text.chat.conversations import Conversation
from pretune.text.chat.template import ChatRow

HELD_OUT_NAME = "held-out.jsonl"

Spans = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class ChatLines:
    """The conversations of one split, in order, and for each the spans [start, end) of its row that are learned."""

    conversations: list[Conversation]
    spans: list[Spans]

    def __len__(self) -> int:
        return len(self.conversations)

    def is_supervised(self, index: int, length: int) -> npt.NDArray[np.bool_]:
        """(length,): whether each token of one row is learned."""
        found = np.zeros(length, dtype=np.bool_)
        for start, end in self.spans[index]:
            found[start:end] = True
        return found


def chat_line(record: ChatRecord, row: ChatRow) -> dict[str, Any]:
    """One line: the row and the line of the file, the messages, and the spans of tokens that are learned."""
    fields: dict[str, Any] = {"row": record.row, "line": record.line, "messages": record.conversation.to_json()}
    if row.num_left_out:
        fields["messages_left_out"] = row.num_left_out
    if row.is_message_cut:
        fields["is_cut"] = True
    return fields | {"supervised": spans_of(row.is_supervised)}


def spans_of(is_supervised: list[bool]) -> Spans:
    """The spans [start, end) of the tokens that are learned."""
    spans, place = [], 0
    for is_learned, group in groupby(is_supervised):
        length = sum(1 for _ in group)
        if is_learned:
            spans.append([place, place + length])
        place += length
    return spans


def read_chat_lines(folder: Path, split: str) -> ChatLines:
    """The conversations of one split of a prepare folder. Raises InputDataError if they are missing or damaged."""
    path = folder / f"{split}.jsonl"
    lines = read_json_lines(path)
    try:
        return ChatLines(
            conversations=[Conversation.from_json(line["messages"]) for line in lines],
            spans=[[[int(start), int(end)] for start, end in line["supervised"]] for line in lines],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputDataError(
            f"{path} has no conversations ({error!r:.120}); expected the output of `pretune prepare --task chat`: "
            "restore it, or run that command again."
        ) from error


def write_held_out(folder: Path, conversations: Iterable[Conversation]) -> Path:
    """Write the messages of held-out conversations as texts, for `preprocess --protect`, and return the file.

    Messages of the system are left out: many conversations share them.
    """
    texts = dict.fromkeys(m.content for each in conversations for m in each.messages if m.role != "system")
    path = folder / HELD_OUT_NAME
    write_text(path, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))
    return path
