"""Read, check and split conversations once, by their first question, so that equal questions are on one side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pretune.errors import InputDataError
from pretune.text.chat.checks import ChatRecord, check_openings, drop_shared, keep_usable
from pretune.text.chat.reader import ChatFile, read_chat_file
from pretune.text.labels.checks import Lint, report_findings
from pretune.text.reading_report import counted
from pretune.text.splits import SPLITS, Split, assign_splits, check_fractions


@dataclass(frozen=True, kw_only=True)
class ChatSplit:
    """The conversations of each split, and how their replies begin."""

    by_split: dict[Split, list[ChatRecord]]
    files: list[ChatFile]
    opening: str  # the most frequent first words of the replies
    opening_fraction: float  # of the replies that begin with them
    lint: Lint = field(default_factory=Lint)

    @property
    def path(self) -> str:
        """The file with the training conversations."""
        return self.files[0].path

    @property
    def all(self) -> list[ChatRecord]:
        return [record for split in SPLITS for record in self.by_split[split]]

    @property
    def held_out(self) -> list[ChatRecord]:
        """The conversations that no training must see."""
        return [*self.by_split["validation"], *self.by_split["test"]]

    @property
    def num_read(self) -> dict[str, int]:
        """The number of rows of each file, including unparsable ones."""
        titles = ("rows", "test rows")
        return {
            title: len(file.rows) + file.findings.dropped.total for title, file in zip(titles, self.files, strict=False)
        }


def split_conversations(
    path: Path,
    test_path: Path | None = None,
    *,
    question_column: str | None = None,
    reply_column: str | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    keeps_lines: bool,
) -> ChatSplit:
    """Read, check and split the conversations of a file; those of `test_path`, if given, are the test split.

    `keeps_lines` says whether messages keep their line breaks, see `clean_message`. Raises InputDataError for files
    that cannot work, and UsageError for impossible fractions.
    """
    check_fractions(validation_fraction, 0.0 if test_path is not None else test_fraction)
    lint = Lint()
    files = [read_chat_file(path, question_column, reply_column)]
    if test_path is not None:
        files.append(_read_test(test_path, files[0], question_column, reply_column))
    for file in files:
        report_findings(file.path, file.findings, lint)
    usable = keep_usable(files[0], lint, keeps_lines=keeps_lines)
    sides = assign_splits(
        [record.key for record in usable],
        [""] * len(usable),
        validation_fraction,
        test_fraction if test_path is None else 0.0,
    )
    by_split = {
        split: [record for record, side in zip(usable, sides, strict=True) if side == split] for split in SPLITS
    }
    if test_path is not None:
        by_split["test"] = test = keep_usable(files[1], lint, keeps_lines=keeps_lines)
        shared = drop_shared(usable, test, str(test_path), lint)
        rows = {record.row for record in shared}
        for split in ("train", "validation"):
            by_split[split] = [record for record in by_split[split] if record.row in rows]
    _check_sizes(str(path), by_split, lint)
    opening, fraction = check_openings(by_split["train"], lint)
    return ChatSplit(by_split=by_split, files=files, opening=opening, opening_fraction=fraction, lint=lint)


def _read_test(path: Path, train: ChatFile, question_column: str | None, reply_column: str | None) -> ChatFile:
    """The test file, by the columns of the training file, if it has them, or else by those that the user names."""
    try:
        return read_chat_file(path, like=train.columns)
    except InputDataError:
        return read_chat_file(path, question_column, reply_column)


def _check_sizes(path: str, by_split: dict[Split, list[ChatRecord]], lint: Lint) -> None:
    needed: dict[Split, str] = {"train": "to learn from", "validation": "to validate with"}
    for split, what in needed.items():
        if not by_split[split]:
            total = sum(map(len, by_split.values()))
            raise InputDataError(
                f"{path} has {counted(total, 'usable conversation')}, which leaves none {what}; give "
                "more, with different first questions."
            )
    if not by_split["test"]:
        lint.warn("no_test", 1, "The test split is empty, so nothing can be measured on it; give --test-labels.")
