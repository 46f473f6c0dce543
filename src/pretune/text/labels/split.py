"""Read, check and split labelled rows once, by the text that the model sees, and write and read the split's files.

Every later step takes its rows from here, so no step can use a different split from the one removed from the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, UsageError
from pretune.runtime.events import EventLog
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import check_hashes, hash_input, read_manifest
from pretune.text.labels import checks
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.detect_task import Columns, TaskWord
from pretune.text.labels.label_rules import LabelRules
from pretune.text.labels.label_text import compose
from pretune.text.labels.labelling import COLUMN_NAMES, LABELS_NAME
from pretune.text.labels.nested_texts import split_with_test, split_with_wholes
from pretune.text.labels.target_checks import names_of
from pretune.text.labels.task_rows import TaskRows, read_task_rows
from pretune.text.reading_report import counted, join_names, shorten
from pretune.text.splits import SPLITS, Split, assign_splits, check_fractions, hash_unit, split_of

EXAMPLE_WORDS = range(3, 61)  # every display can show such an example in full
EXAMPLE_CHARACTERS = 600
SLICES_DIFFER = 0.1  # the excess of a slice in the test rows, as a fraction, from which to warn


@dataclass(frozen=True, kw_only=True)
class LabelledSplit:
    """The rows of each split, the labels in the order of a model's outputs, and their names."""

    rules: LabelRules
    by_split: dict[Split, list[LabeledRow]]
    labels: list[str]
    names: list[str]
    path: str  # of the file with the training rows
    columns: dict[str, str]  # text_column and label_column of that file
    num_moved: int = 0  # rows moved between splits so that small classes can be learned and validated
    num_nested: int = 0  # rows moved to the split of a row that contains them
    files: list[TaskRows] = field(default_factory=list)  # as read; empty if the split was read from a split folder
    lint: Lint = field(default_factory=Lint)

    @property
    def all(self) -> list[LabeledRow]:
        return [row for split in SPLITS for row in self.by_split[split]]

    @property
    def held_out(self) -> list[LabeledRow]:
        """The rows that pre-training must not see."""
        return [*self.by_split["validation"], *self.by_split["test"]]

    def describe(self, row: LabeledRow) -> str:
        """The label of a row as a display shows it."""
        return self.rules.describe(row.label, row.text, self.names, self.labels)

    @property
    def num_read(self) -> dict[str, int]:
        """The number of rows read from each file, including unparsable ones."""
        titles = ("labelled rows", "test rows")
        counts = [len(file) + file.findings.dropped.total for file in self.files] or [len(self.all)]
        return dict(zip(titles, counts, strict=False))

    def count_slices(self) -> dict[str, dict[str, int]]:
        """The number of rows of each slice in each split; empty if the rows have no slices."""
        counts: dict[str, dict[str, int]] = {}
        for split in SPLITS:
            for row in self.by_split[split]:
                if row.slice is not None:
                    counts.setdefault(row.slice, dict.fromkeys(SPLITS, 0))[split] += 1
        return counts


def split_labels(
    labels: Path,
    rules_of: Callable[[str], LabelRules],
    test_labels: Path | None = None,
    *,
    task: TaskWord = "auto",
    columns: Columns = Columns(),
    label_separator: str | None = None,
    label_names: Sequence[str] = (),
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> LabelledSplit:
    """Read, check and split labelled rows; `test_labels`, if given, are the whole test split.

    `rules_of` gives the rules of a task by its name; with the task "auto", it is the one that the file shows.

    Raises InputDataError for rows that cannot work (see `pretune.text.labels.checks`) and UsageError for impossible
    fractions.
    """
    lint = Lint()
    tag_names = checks.read_renaming(label_names)
    train_file = read_task_rows(
        labels, task=task, columns=columns, label_separator=label_separator, tag_names=tag_names
    )
    rules, test_file = rules_of(train_file.task.task), None
    if test_labels is not None:
        test_file = read_task_rows(
            test_labels,
            task=train_file.task.task,  # few rows do not show whether numbers are classes
            columns=columns,
            preferred_separator=train_file.task.label_separator,
            preferred_number=train_file.detected.get("number_form"),
            preferred=train_file.task.columns,
            tag_names=tag_names,
        )
    files = [train_file] if test_file is None else [train_file, test_file]
    for file in files:
        checks.report_findings(file.path, file.findings, lint)
    usable = checks.keep_usable(train_file, lint)
    rules.check(str(labels), usable, lint, is_named=task == rules.name)
    checks.check_repeats(str(labels), usable, lint)
    splits, num_moved, num_nested = _split(
        usable, rules.strata(usable), validation_fraction, test_fraction if test_file is None else 0.0
    )
    test: list[LabeledRow] | None = None
    if test_file is not None:
        test = checks.keep_usable(test_file, lint)
        rules.check_test(usable, test, test_file.path, lint)
        checks.check_repeats(test_file.path, test, lint)
        split_of_row = {row.row: split for row, split in zip(usable, splits, strict=True)}
        known, usable = rules.labels(usable), checks.drop_shared(usable, test, test_file.path, lint)
        checks.check_labels_left(str(labels), known, rules.labels(usable), test_file.path)
        usable = _drop_parts(usable, [split_of_row[row.row] for row in usable], test, rules, test_file.path, lint)
        splits = [split_of_row[row.row] for row in usable]
    rules.check_splits(str(labels), usable, splits, lint)
    by_split = {s: [row for row, split in zip(usable, splits, strict=True) if split == s] for s in SPLITS}
    if test is None:
        rules.check_test_split(usable, by_split["test"], lint)
    else:
        by_split["test"] = test
    classes = rules.labels(usable)
    if train_file.scheme is not None:  # the names of numbered tags are used up; what is left renames types of entities
        _refuse_unused_names(files, classes)
        label_names = [item for item in label_names if compose(item.partition("=")[0].strip()) in classes]
    names = checks.name_classes(classes, label_names)
    found = LabelledSplit(
        rules=rules,
        by_split=by_split,
        labels=classes,
        names=names,
        path=train_file.path,
        columns={name: train_file.detected[name] for name in COLUMN_NAMES if name in train_file.detected},
        num_moved=num_moved,
        num_nested=num_nested,
        files=files,
        lint=lint,
    )
    _compare_slices(found)
    return found


def _split(
    rows: Sequence[LabeledRow], strata: Sequence[str], validation_fraction: float, test_fraction: float
) -> tuple[list[Split], int, int]:
    """The split of every row, the number of rows moved between splits for the sake of small strata, and the number of
    those moved to the split of a row that contains them."""
    check_fractions(validation_fraction, test_fraction)
    texts = [row.key for row in rows]
    names = [names_of(row.label) for row in rows]
    splits = assign_splits(texts, strata, validation_fraction, test_fraction, names=names)
    plain = [split_of(text, validation_fraction, test_fraction) for text in texts]
    has_pairs = any(row.text_pair is not None for row in rows)
    whole = splits if has_pairs else split_with_wholes(texts, splits, strata)
    if not _learned(rows, whole) >= _learned(rows, splits):  # a stratum stands for only one of the names of its rows
        whole = splits
    return whole, _count_changes(plain, splits), _count_changes(splits, whole)


def _learned(rows: Sequence[LabeledRow], splits: Sequence[Split]) -> set[str]:
    """The names in the labels of the training rows."""
    return {name for row, split in zip(rows, splits, strict=True) if split == "train" for name in names_of(row.label)}


def _drop_parts(
    rows: list[LabeledRow],
    splits: Sequence[Split],
    test: Sequence[LabeledRow],
    rules: LabelRules,
    test_path: str,
    lint: Lint,
) -> list[LabeledRow]:
    """The rows without training rows that are part of a test row, word for word, if that is common."""
    if any(row.text_pair is not None for row in rows):
        return rows
    found = split_with_test([row.key for row in rows], splits, rules.strata(rows), [row.key for row in test])
    kept = [row for row, split in zip(rows, found, strict=True) if split != "test"]
    if rules.labels(kept) != rules.labels(rows) or not _learned(rows, found) >= _learned(rows, splits):
        return rows
    checks.note_parts([row for row, split in zip(rows, found, strict=True) if split == "test"], test_path, lint)
    return kept


def _refuse_unused_names(files: Sequence[TaskRows], classes: Sequence[str]) -> None:
    """Refuse a name for a tag that no file has, and that is no type of entity either: it is misspelt."""
    for name in files[0].unused_names:
        if name not in classes and all(name in file.unused_names for file in files):
            raise UsageError(
                f"--label-names renames {name!r}, which is neither a tag nor a type of entity in {files[0].path}; its "
                f"types are {join_names(classes)}."
            )


def _count_changes(before: Sequence[Split], now: Sequence[Split]) -> int:
    return sum(a != b for a, b in zip(before, now, strict=True))


def _compare_slices(split: LabelledSplit) -> None:
    """Warn if the test rows have other slices than the validation rows, which decide when training stops."""
    slices = split.count_slices()
    num_validation, num_test = len(split.by_split["validation"]), len(split.by_split["test"])
    if not slices or not num_test:
        return
    excess = {
        name: counts["test"] / num_test - counts["validation"] / num_validation for name, counts in slices.items()
    }
    most = max(excess, key=lambda name: excess[name])
    if excess[most] > SLICES_DIFFER:
        in_test, in_validation = slices[most]["test"] / num_test, slices[most]["validation"] / num_validation
        split.lint.warn(
            "parts_differ",
            slices[most]["test"],
            f"Slice {most!r} makes up {in_test:.0%} of the test rows and {in_validation:.0%} of the validation "
            "rows, so a validation score does not predict the test score.",
        )


# --- the example ------------------------------------------------------------------------------------------------------


def choose_example(texts: Iterable[tuple[str, str]]) -> str | None:
    """The text to follow through all stages, from pairs (text as found, clean text): a readable one, chosen by hash."""
    best: tuple[bool, float] | None = None
    chosen: str | None = None
    for found, clean in texts:
        rank = (is_readable(found), -hash_unit(clean))
        if best is None or rank > best:
            best, chosen = rank, found
    return chosen


def is_readable(text: str) -> bool:
    """Whether a display can show a text in full."""
    return len(text) < EXAMPLE_CHARACTERS and len(text.split()) in EXAMPLE_WORDS


def example_of(split: LabelledSplit) -> tuple[Split, LabeledRow]:
    """The row to follow through all stages: a test row, so that no stage has learned from it.

    Without test rows, it is a validation row, which exists in every split.
    """
    side: Split = "test" if split.by_split["test"] else "validation"
    rows = {row.raw: row for row in reversed(split.by_split[side])}
    chosen = choose_example((row.raw, row.text) for row in rows.values())
    assert chosen is not None  # a split without validation rows is refused
    return side, rows[chosen]


# --- the log ----------------------------------------------------------------------------------------------------------


def fingerprint_labels(path: Path) -> str:
    """The hash of a label file. Raises InputDataError if it cannot be read."""
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputDataError(f"{path} {found}; expected a csv, tsv, jsonl or parquet file of labelled texts.")
    try:
        return hash_input(path)
    except PermissionError as error:
        raise InputDataError(f"{shorten(str(path))} is not readable; change its permissions.") from error


def log_split(log: EventLog, found: LabelledSplit) -> None:
    """Log how the files were read, the slices, how many rows were moved, and every warning."""
    for file in found.files:
        log.write("detected", **file.detected)
        for notice in file.findings.all_notices():
            log.write("notice", sentence=notice)
    sentences = [describe_slices(found)]
    if found.num_moved:
        rows = counted(found.num_moved, "row")
        sentences.append(f"Moved {rows} between splits so that every class has training and validation rows.")
    if found.num_nested:
        sentences.append(
            f"Many rows are part of others, word for word. A part is held out with the row that contains it, which "
            f"changed the split of {found.num_nested:,} rows. Otherwise the model would know most of what it is "
            "validated on."
        )
    for sentence in filter(None, sentences):
        log.write("notice", sentence=sentence)
    for concern in found.lint.concerns:
        log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)


# --- the files --------------------------------------------------------------------------------------------------------


def split_lines(split: LabelledSplit, side: Split) -> str:
    """The rows of one split as JSON lines: row, line, text, label (classes by number), and what else a row has."""
    lines = []
    for row in split.by_split[side]:
        fields: dict[str, Any] = {"row": row.row, "line": row.line, "text": row.text}
        if row.text_pair is not None:
            fields["text_pair"] = row.text_pair
        fields["label"] = split.rules.to_json(row.label, split.labels)
        if row.part:
            fields["part"] = row.part
        if row.raw != row.text:
            fields["raw"] = row.raw
        if row.slice is not None:
            fields["slice"] = row.slice
        lines.append(json.dumps(fields, ensure_ascii=False) + "\n")
    return "".join(lines)


def labels_fields(split: LabelledSplit) -> dict[str, Any]:
    """The content of `labels.json`: the task, names and labels by class, the columns, and the name of the file."""
    return {
        "task": split.rules.name,
        "names": split.names,
        "labels": split.labels,
        **split.columns,
        "file": Path(split.path).name,
    }


def open_split(folder: Path, rules_of: Callable[[str], LabelRules]) -> LabelledSplit:
    """The split in a folder that `pretune split` wrote; `rules_of` gives the rules of a task by its name.

    Raises InputDataError for one that is missing or altered.
    """
    check_hashes(folder, read_manifest(folder, "split"))
    try:
        saved = parse_json((folder / LABELS_NAME).read_text(encoding="utf-8"))
        labels, rules = [str(label) for label in saved["labels"]], rules_of(saved["task"])
        return LabelledSplit(
            rules=rules,
            by_split={side: _load_rows(folder / f"{side}.jsonl", labels, rules) for side in SPLITS},
            labels=labels,
            names=[str(name) for name in saved["names"]],
            path=str(saved["file"]),
            columns={name: str(saved[name]) for name in COLUMN_NAMES if name in saved},
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputDataError(
            f"{folder} is not a complete split folder ({error!r:.200}); expected the output of `pretune split`: "
            "restore it, or run that command again."
        ) from error


def _load_rows(path: Path, labels: Sequence[str], rules: LabelRules) -> list[LabeledRow]:
    return [
        LabeledRow.of_text(
            row=row["row"],
            line=row["line"],
            text=row["text"],
            raw=row.get("raw", row["text"]),
            label=rules.from_json(row["label"], labels),
            slice=row.get("slice"),
            text_pair=row.get("text_pair"),
        )
        for row in read_json_lines(path)
    ]


def describe_slices(split: LabelledSplit) -> str | None:
    """A sentence with the rows of every slice in each split; None if the rows have no slices."""
    slices = split.count_slices()
    if not slices:
        return None
    shown = [f"{name} {', '.join(f'{slices[name][side]:,} {side}' for side in SPLITS)}" for name in sorted(slices)]
    return f"Rows by slice: {'; '.join(shown[:10])}{'; ...' if len(shown) > 10 else ''}."
