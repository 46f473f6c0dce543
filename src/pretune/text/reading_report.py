"""Findings of reading and cleaning: what was detected, what was dropped and why, what was repaired."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES_PER_RULE = 3
IN_PART = " (in part)"  # appended to the problem of files that still gave some documents
_FOUND = re.compile(r" \(.*?\)|, found '.*?'")  # quotations from the file in a problem
_NUMBER = re.compile(r"\d[\d,.]*")
EXAMPLE_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How one file is read, as shown to the user; `sentence` is the text of it."""

    path: str
    format: str
    encoding: str
    compression: str | None = None
    is_guess: bool = False  # the encoding is a guess
    note: str = ""  # follows the format in the sentence
    unit: str | None = None
    is_wrapped: bool = False  # paragraphs end with a short line, not a blank one
    text_column: str | None = None
    sentence: str = ""

    @property
    def kind(self) -> tuple[str | None, ...]:
        """Equal for files that are read in the same way."""
        return (
            self.format,
            self.note,
            self.encoding,
            self.compression,
            self.unit,
            str(self.is_wrapped),
            self.text_column,
        )

    def to_event(self) -> dict[str, Any]:
        """The fields of a `detected` event."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False, "")}


@dataclass(frozen=True, kw_only=True)
class Concern:
    """A warning: the rule, the number of cases, and a sentence for the user."""

    rule: str
    count: int
    sentence: str


@dataclass
class Rule:
    """How often one rule applied, why, and some examples."""

    name: str
    reason: str
    count: int = 0
    characters: int = 0
    examples: list[str] = field(default_factory=list)


class Tally:
    """Counts by rule, each with up to three examples."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}

    def add(self, name: str, reason: str, example: str = "", characters: int = 0) -> None:
        """Count one case."""
        rule = self.rules.get(name)
        if rule is None:
            rule = self.rules[name] = Rule(name, reason)
        rule.count += 1
        rule.characters += characters
        if example and len(rule.examples) < EXAMPLES_PER_RULE:
            rule.examples.append(shorten(example))

    def add_many(self, name: str, reason: str, count: int, examples: Iterable[str] = (), characters: int = 0) -> None:
        """Count several cases at once; with a count of 0 nothing is recorded."""
        if not count:
            return
        rule = self.rules.setdefault(name, Rule(name, reason))
        rule.count += count
        rule.characters += characters
        rule.examples += [shorten(example) for example in examples][: EXAMPLES_PER_RULE - len(rule.examples)]

    def add_all(self, counted: Iterable[dict[str, Any]]) -> None:
        """Add the `to_json` of another tally; the order of the calls decides which examples are kept."""
        for rule in counted:
            self.add_many(rule["name"], rule["reason"], rule["count"], rule["examples"], rule["characters"])

    def to_json(self) -> list[dict[str, Any]]:
        """The counted rules as JSON values."""
        return [asdict(rule) for rule in self.rules.values()]

    def count(self, name: str) -> int:
        """The number of cases of one rule."""
        return self.rules[name].count if name in self.rules else 0

    @property
    def total(self) -> int:
        return sum(rule.count for rule in self.rules.values())

    def to_event(self) -> list[dict[str, Any]]:
        """The `dropped` list of a `flow` event, most frequent first."""
        rules = sorted(self.rules.values(), key=lambda rule: (-rule.count, rule.name))
        return [{"rule": r.name, "count": r.count, "reason": r.reason, "examples": r.examples} for r in rules]


@dataclass
class Findings:
    """The findings of a stage or a label file; readers add to them while they are iterated over."""

    detections: list[Detection] = field(default_factory=list)  # one per kind, in order of appearance
    files_by_kind: dict[tuple[str | None, ...], int] = field(default_factory=dict)
    dropped: Tally = field(default_factory=Tally)  # records that could not become documents
    ignored_files: Tally = field(default_factory=Tally)  # files of a folder that are not text
    unreadable: Tally = field(default_factory=Tally)  # files of a folder or an archive that could not be read
    file_notices: Tally = field(default_factory=Tally)  # about single files; one for each rule is shown
    notices: list[str] = field(default_factory=list)  # the others; `all_notices` has both
    warnings: list[str] = field(default_factory=list)
    num_files: int = 0
    num_continued: int = 0  # cuts in documents that are too long for one
    num_quoted_lines: int = 0  # left out of mails
    num_attachments: int = 0  # of mails; they are not read
    # Of each unparsable row of a table: the line on which it begins, and the number of good rows before it.
    unparsable_rows: list[tuple[int, int]] = field(default_factory=list)
    bytes_read: int = 0  # after decompression
    broken_bytes: int = 0  # invalid in the encoding of their file, replaced by U+FFFD
    files_with_broken_bytes: list[str] = field(default_factory=list)

    def detected(self, detection: Detection) -> None:
        """Record how a file is read; only the first file of a kind is shown by name."""
        seen = self.files_by_kind.get(detection.kind, 0)
        self.files_by_kind[detection.kind] = seen + 1
        if not seen:
            self.detections.append(detection)

    def could_not_read(self, name: str, problem: str, num_kept: int = 0) -> None:
        """Count an unreadable file of a folder or an archive, together with those that have the same problem.

        `num_kept` is the number of documents that were read before the problem occurred.
        """
        kind = _NUMBER.sub("0", _FOUND.sub("", problem.replace(name, "")))
        if num_kept:
            kind += IN_PART
            problem += f" Documents read before that are kept: {num_kept:,}."
        self.unreadable.add(kind, problem, name)

    def all_notices(self) -> list[str]:
        """The notices, with one for all files that have the same, which gives their number."""
        return self.notices + [f"{rule.reason}{_same_for(rule.count - 1)}" for rule in self.file_notices.rules.values()]

    def sentences_about(self, path: str | Path) -> list[str]:
        """What the user of a single file of rows should know: replaced bytes, warnings and notices."""
        return [concern.sentence for concern in self._concerns_about(path)] + self.all_notices()

    def all_concerns_about(self, path: str | Path) -> list[Concern]:
        """What went wrong with a single file of rows: rows left out, replaced bytes, warnings."""
        lost = [
            Concern(rule=rule.name, count=rule.count, sentence=f"{path}: {rule.count:,} left out, {rule.reason}.")
            for rule in self.dropped.rules.values()
        ]
        return lost + self._concerns_about(path)

    def _concerns_about(self, path: str | Path) -> list[Concern]:
        count = self.broken_bytes
        are = counted(count, "byte is", "bytes are")
        sentence = f"{path}: {are} invalid in its encoding; replaced by U+FFFD."
        broken = [Concern(rule="broken_bytes", count=count, sentence=sentence)] if count else []
        return broken + [Concern(rule="reading", count=1, sentence=warning) for warning in self.warnings]

    def to_json(self) -> dict[str, Any]:
        """All findings as JSON values."""
        kinds = [[list(kind), count] for kind, count in self.files_by_kind.items()]
        tallies = {name: getattr(self, name).to_json() for name in _TALLIES}
        plain = {name: getattr(self, name) for name in (*_LISTS, *_COUNTS)}
        detections = [asdict(detection) for detection in self.detections]
        return {"detections": detections, "files_by_kind": kinds, **tallies, **plain}

    def add_all(self, found: dict[str, Any]) -> None:
        """Add the `to_json` of other findings; the order of the calls decides what is shown."""
        known = set(self.files_by_kind)
        self.detections += [one for one in (Detection(**d) for d in found["detections"]) if one.kind not in known]
        for kind, count in found["files_by_kind"]:
            self.files_by_kind[tuple(kind)] = self.files_by_kind.get(tuple(kind), 0) + count
        for name in _TALLIES:
            getattr(self, name).add_all(found[name])
        for name in _LISTS:
            getattr(self, name).extend(found[name])
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + found[name])

    def sentences_about_more_files(self) -> list[str]:
        """For every kind with several files, a sentence with the number that were read like the one shown."""
        return [
            f"{self.files_by_kind[d.kind]:,} files in total were read like {d.path}."
            for d in self.detections
            if self.files_by_kind[d.kind] > 1
        ]


_TALLIES = ("dropped", "ignored_files", "unreadable", "file_notices")
_LISTS = ("notices", "warnings", "files_with_broken_bytes")
_COUNTS = ("num_files", "num_continued", "num_quoted_lines", "num_attachments", "bytes_read", "broken_bytes")


def _same_for(more: int) -> str:
    return f" The same applies to {counted(more, 'more file')}." if more else ""


def shorten(text: str, characters: int = EXAMPLE_CHARACTERS) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text[: 4 * characters].split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def join_names(names: Iterable[str], limit: int = 8) -> str:
    """Names joined for a sentence; only the first `limit` of many."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """So many things by name: "1 row", "2,000 rows"; `plural` is for a noun that takes more than an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def name_lines(lines: Sequence[int]) -> str:
    """The numbers of lines: "line 3", "lines 3, 5"."""
    return f"line{'' if len(lines) == 1 else 's'} {join_names(map(str, lines), 5)}"
