"""A row of a table of any format as a record of strings, and a count of the rows that do not parse."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pretune.errors import InputDataError
from pretune.text.reading_report import Findings, shorten

MAX_MALFORMED_FRACTION = 0.01  # of the rows; a file with more is refused
SAMPLE_ROWS = 200
UNPARSABLE_ROW = "unparsable_row"  # the name of the rule that drops them
_SURROGATE = re.compile("[\ud800-\udfff]")

# Usual names of columns; a first row with one of them is a header.
TEXT_NAMES = (
    "text", "content", "sentence", "review", "body", "document", "comment", "tweet", "message", "utterance", "abstract",
    "transcription", "transcript", "post", "question", "article", "description", "passage", "paragraph", "title",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "category", "class", "target", "sentiment", "intent", "topic", "polarity", "stance", "tag",
    "rating", "stars", "score", "emotion", "gold", "y",
)  # fmt: skip
OTHER_NAMES = ("id", "index", "idx", "name", "date", "user", "author", "lang", "language", "url", "source", "split")
KNOWN_NAMES = frozenset((*TEXT_NAMES, *LABEL_NAMES, *OTHER_NAMES))


class Record(NamedTuple):
    """One row: its cells by column name, and the line (parquet: the row) it starts on, counted from 1."""

    fields: dict[str, str]
    line: int
    values: dict[str, Any] | None = None  # json and parquet: the cells before conversion to strings


class Malformed:
    """Counts good and malformed rows of a file, and refuses it if too many are malformed."""

    def __init__(self, name: str, findings: Findings) -> None:
        self.name = name
        self.findings = findings
        self.num_good = 0
        self.num_bad = 0
        self.first: tuple[int, str] | None = None

    def add(self, rule: str, line: int, problem: str, example: str) -> None:
        self.num_bad += 1
        self.findings.unparsable_rows.append((line, self.num_good))
        if self.first is None:
            self.first = (line, problem)
        reason = "a row that does not parse" if rule == UNPARSABLE_ROW else "a row with too few or too many cells"
        self.findings.dropped.add(rule, reason, f"{self.name}, line {line}: {shorten(example, 120)}")
        if self.num_bad >= 100:
            self.refuse_if_too_many()

    def refuse_if_too_many(self, *, is_end: bool = False) -> None:
        rows = self.num_good + self.num_bad
        if self.first is None or self.num_bad <= MAX_MALFORMED_FRACTION * rows:
            return
        line, problem = self.first
        these = "all" if not self.num_good else f"{self.num_bad:,} of {'' if is_end else 'the first '}{rows:,}"
        raise InputDataError(
            f"{self.name}, line {line}: {problem}; {these} rows do not parse (at most {MAX_MALFORMED_FRACTION:.0%} are "
            "skipped), so repair the file or check its format."
        )


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for every lone surrogate, which UTF-8 cannot encode."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def cell_text(cell: Any) -> str:
    """A JSON or parquet value as text: empty for null and NaN, JSON for lists and objects, except for those that nest
    too deeply; no lone surrogates."""
    if isinstance(cell, str):
        return replace_surrogates(cell)
    if cell is None or cell != cell:  # NaN is not JSON, but pandas writes it
        return ""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return str(cell)
    try:
        return json.dumps(cell, default=str)
    except RecursionError:  # of lists in lists that could just be read
        return ""
