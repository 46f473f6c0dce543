"""Turn findings of readers into sentences for the user: notices of what was skipped, warnings of what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pretune.text.reading_report import IN_PART, Findings, Rule, join_names
from pretune.text.sources.files import NO_ENDING

MOST_PROBLEMS = 8  # kinds of unreadable files that are shown
MOST_WARNINGS = 20  # of other kinds
MUCH_WITHOUT_TEXT = 0.1  # of the documents: if more are empty, warn


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A sentence, with the kind and the other fields of its event."""

    sentence: str
    is_warning: bool = False
    rule: str | None = None
    count: int | None = None

    @property
    def event(self) -> str:
        """The kind of the event."""
        return "warning" if self.is_warning else "notice"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the event."""
        counted = {} if self.rule is None else {"rule": self.rule, "count": self.count}
        return {"sentence": self.sentence, **counted}


def remarks(findings: Findings, num_documents: int) -> list[Remark]:
    """All remarks after `num_documents` documents have been read, in the order in which they are shown."""
    notices = [Remark(sentence=sentence) for sentence in _notices(findings)]
    return [
        *notices,
        *_unreadable(findings),
        *_repaired(findings),
        *_dropped(findings, num_documents),
        *_others(findings),
    ]


def _notices(findings: Findings) -> Iterator[str]:
    yield from findings.all_notices()
    yield from findings.sentences_about_more_files()
    if findings.ignored_files.total:
        # For unknown endings several examples are shown: the files may be of several kinds.
        shown = [
            (rule, rule.examples[: 3 if rule.name == NO_ENDING else 1])
            for rule in findings.ignored_files.rules.values()
        ]
        kinds = ", ".join(f"{rule.count:,} {rule.name} ({', '.join(examples)})" for rule, examples in shown)
        more = " To read files with another ending, name them, as in '*.tex' (not inside archives)."
        hint = more if findings.ignored_files.count(NO_ENDING) else ""
        yield f"Skipped files and folders: {kinds}.{hint}"
    if findings.num_quoted_lines:
        yield f"Lines of quoted replies and signatures left out of mails: {findings.num_quoted_lines:,}."
    if findings.num_attachments:
        yield f"Attachments and other mail parts not read: {findings.num_attachments:,}."
    if findings.num_continued:
        yield f"Documents that were too long and are continued in the next one: {findings.num_continued:,}."


def _unreadable(findings: Findings) -> Iterator[Remark]:
    """The most frequent problems first."""
    rules = sorted(findings.unreadable.rules.values(), key=lambda rule: -rule.count)
    for rule in rules[:MOST_PROBLEMS]:
        yield Remark(sentence=_problem(rule), is_warning=True, rule="unreadable", count=rule.count)
    if more := sum(rule.count for rule in rules[MOST_PROBLEMS:]):
        sentence = f"Files that could not be read for other reasons: {more:,}."
        yield Remark(sentence=sentence, is_warning=True, rule="unreadable", count=more)


def _problem(rule: Rule) -> str:
    is_one = rule.count == 1
    what = f"could not be read and {'was' if is_one else 'were'} skipped"
    if rule.name.endswith(IN_PART):
        what = "could be read only in part"
    if is_one:
        return f"A file {what}: {rule.reason}"
    more = rule.count - len(rule.examples)
    others = join_names(rule.examples[1:]) + (f" and {more:,} more" if more else "")
    return f"{rule.count:,} files {what}; the first: {rule.reason} Also affected: {others}."


def _repaired(findings: Findings) -> Iterator[Remark]:
    if findings.broken_bytes:
        files = findings.files_with_broken_bytes
        sentence = (
            "Bytes that are invalid in the file's encoding, replaced by U+FFFD: "
            f"{findings.broken_bytes:,} in {len(files):,} of {findings.num_files:,} files, the first {files[0]}."
        )
        yield Remark(sentence=sentence, is_warning=True, rule="broken_bytes", count=findings.broken_bytes)


def _dropped(findings: Findings, num_documents: int) -> Iterator[Remark]:
    for rule in findings.dropped.rules.values():
        if rule.name != "no_text" or rule.count > MUCH_WITHOUT_TEXT * (num_documents + rule.count):
            sentence = f"Left out, {rule.reason}: {rule.count:,}; the first is {rule.examples[0]}."
            yield Remark(sentence=sentence, is_warning=True, rule=rule.name, count=rule.count)


def _others(findings: Findings) -> Iterator[Remark]:
    for sentence in findings.warnings[:MOST_WARNINGS]:
        yield Remark(sentence=sentence, is_warning=True)
    if more := len(findings.warnings[MOST_WARNINGS:]):
        yield Remark(
            sentence=f"{more:,} more warnings about files, like the last ones, are not shown.", is_warning=True
        )
