"""What reading and cleaning came across: what was detected, what was dropped and why, what was repaired."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES_PER_RULE = 3
IN_PART = " (in part)"  # behind the problem of files from which some documents came nevertheless
_FOUND = re.compile(r" \(.*?\)|, found '.*?'")  # what a problem quotes from the file
_NUMBER = re.compile(r"\d[\d,.]*")
EXAMPLE_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How one file is read, as shown to the user; `sentence` says it in words."""

    path: str
    format: str
    encoding: str
    compression: str | None = None
    is_guess: bool = False  # of the encoding
    note: str = ""  # to the format, for the sentence
    unit: str | None = None
    is_wrapped: bool = False  # of paragraphs: a short line ends them, and not a blank one
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


@dataclass
class Rule:
    """How often one rule applied, in which sense, and to what, for example."""

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
        """Count several cases at once; no case leaves no trace."""
        if not count:
            return
        rule = self.rules.setdefault(name, Rule(name, reason))
        rule.count += count
        rule.characters += characters
        rule.examples += [shorten(example) for example in examples][: EXAMPLES_PER_RULE - len(rule.examples)]

    def add_all(self, counted: Iterable[dict[str, Any]]) -> None:
        """Add what another tally counted, as `to_json` gives it; the order of the calls decides on the examples."""
        for rule in counted:
            self.add_many(rule["name"], rule["reason"], rule["count"], rule["examples"], rule["characters"])

    def to_json(self) -> list[dict[str, Any]]:
        """What was counted, as JSON values."""
        return [asdict(rule) for rule in self.rules.values()]

    def count(self, name: str) -> int:
        """Cases of one rule."""
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
    """One per stage or label file; readers write to it while they are iterated over."""

    detections: list[Detection] = field(default_factory=list)  # one of each kind, in order of appearance
    files_by_kind: dict[tuple[str | None, ...], int] = field(default_factory=dict)
    dropped: Tally = field(default_factory=Tally)  # records that could not become documents
    ignored_files: Tally = field(default_factory=Tally)  # files of a folder that are not text
    unreadable: Tally = field(default_factory=Tally)  # files of a folder or an archive that could not be read
    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    num_files: int = 0
    num_continued: int = 0  # parts of documents too long for one
    num_quoted_lines: int = 0  # of mails, left out
    num_attachments: int = 0  # of mails, not read
    unparsable_lines: list[int] = field(default_factory=list)  # where the rows of a table that do not parse begin
    bytes_read: int = 0  # after decompression
    broken_bytes: int = 0  # no valid UTF-8, replaced by U+FFFD
    files_with_broken_bytes: list[str] = field(default_factory=list)

    def detected(self, detection: Detection) -> None:
        """Remember how a file is read; only the first file of a kind is shown by name."""
        seen = self.files_by_kind.get(detection.kind, 0)
        self.files_by_kind[detection.kind] = seen + 1
        if not seen:
            self.detections.append(detection)

    def could_not_read(self, name: str, problem: str, num_kept: int = 0) -> None:
        """Count a file of a folder or an archive, beside those of which the same is to be said.

        `num_kept` is the number of documents that were read before the problem was met.
        """
        kind = _NUMBER.sub("0", _FOUND.sub("", problem.replace(name, "")))
        if num_kept:
            kind += IN_PART
            problem += f" Documents read before that are kept: {num_kept:,}."
        self.unreadable.add(kind, problem, name)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        kinds = [[list(kind), count] for kind, count in self.files_by_kind.items()]
        tallies = {name: getattr(self, name).to_json() for name in _TALLIES}
        plain = {name: getattr(self, name) for name in (*_LISTS, *_COUNTS)}
        detections = [asdict(detection) for detection in self.detections]
        return {"detections": detections, "files_by_kind": kinds, **tallies, **plain}

    def add_all(self, found: dict[str, Any]) -> None:
        """Add what others found, as `to_json` gives it; the order of the calls decides on what is shown."""
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
        """For every kind with several files: how many more were read like the one that was shown."""
        return [
            f"{self.files_by_kind[d.kind]:,} files in total were read like {d.path}."
            for d in self.detections
            if self.files_by_kind[d.kind] > 1
        ]


_TALLIES = ("dropped", "ignored_files", "unreadable")
_LISTS = ("notices", "warnings", "files_with_broken_bytes")
_COUNTS = ("num_files", "num_continued", "num_quoted_lines", "num_attachments", "bytes_read", "broken_bytes")


def shorten(text: str, characters: int = EXAMPLE_CHARACTERS) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text[: 4 * characters].split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def join_names(names: Iterable[str], limit: int = 8) -> str:
    """Names for a sentence; of many only the first."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
