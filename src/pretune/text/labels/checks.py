"""Check labelled rows: refuse what cannot work, and warn about what probably will not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretune.errors import InputDataError
from pretune.text.arrays.scripts import marks_in_words
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.label_text import compose
from pretune.text.labels.scores import MANY_NUMBERS, are_measures, describe_measures
from pretune.text.labels.several_labels import labels_of_several, maybe_joined
from pretune.text.labels.spans import Span
from pretune.text.labels.task_rows import TaskRows
from pretune.text.reading_report import Concern, Findings, Tally, counted, join_names, name_lines, shorten
from pretune.text.splits import SPLITS, Split, normalise_for_hash

MIN_ROWS = 2  # of every class: one to learn from, one to check with
FEW_ROWS = 20  # of a class; below that, its figures mean little
MAX_SHARED_FRACTION = 0.2  # of the test rows; beyond that, the test would measure memory
# From this ratio of the largest to the smallest class, accuracy means little: macro-F1 and class weights are used.
IMBALANCE = 4.0


@dataclass(frozen=True, slots=True)
class LabeledRow:
    """One usable row: number `row` of its file, counted from 0, on line `line`.

    `text` is clean, as the model sees it; `raw` is as found. `text_pair` is the clean second text of a pair. Rows with
    the same `key` have the same clean text, or pair of texts. `label` is of the task's kind: a class is a string.
    A row that is cut into several has them as its parts, counted from 0.
    """

    row: int
    line: int
    text: str
    raw: str
    key: str
    label: Any
    slice: str | None
    text_pair: str | None = None
    part: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The clean text, or both texts of a pair."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)

    @classmethod
    def of_text(
        cls, *, row: int, line: int, text: str, raw: str, label: Any, slice: str | None, text_pair: str | None = None
    ) -> LabeledRow:
        """A row with the key of its clean text, or of its pair of texts."""
        key = normalise_for_hash(text)
        if text_pair is not None:
            key = f"{key}\0{normalise_for_hash(text_pair)}"
        return cls(row=row, line=line, text=text, raw=raw, key=key, label=label, slice=slice, text_pair=text_pair)


@dataclass
class Lint:
    """The result of the checks: rows left out, by rule, and warnings."""

    dropped: Tally = field(default_factory=Tally)
    concerns: list[Concern] = field(default_factory=list)

    def warn(self, rule: str, count: int, sentence: str) -> None:
        if count:
            self.concerns.append(Concern(rule=rule, count=count, sentence=sentence))


def report_findings(path: str, findings: Findings, lint: Lint) -> None:
    """Add the findings of reading a file to `lint`: unparsable rows, broken bytes."""
    for rule in findings.dropped.rules.values():
        for example in [*rule.examples, *[""] * (rule.count - len(rule.examples))]:
            lint.dropped.add(rule.name, rule.reason, example)
    lint.concerns += findings.all_concerns_about(path)


def keep_usable(rows: TaskRows, lint: Lint) -> list[LabeledRow]:
    """The rows that have a text, after cleaning, and a label. Raises InputDataError if no row has both."""
    kept, without_text, without_pair, without_label = [], [], [], []
    pairs: Sequence[str | None] = rows.text_pairs or [None] * len(rows)
    columns = zip(rows.texts, pairs, rows.labels, rows.slices, rows.lines, strict=True)
    for row, (raw, raw_pair, label, group, line) in enumerate(columns):
        text, pair = clean_text(raw), None if raw_pair is None else clean_text(raw_pair)
        if not text:
            without_text.append(line)
            lint.dropped.add("empty_text", "a row without a text", f"{rows.path}, line {line}")
        elif pair is not None and not pair:
            without_pair.append(line)
            lint.dropped.add("empty_text_pair", "a row without a second text", f"{rows.path}, line {line}")
        elif label is None:
            without_label.append(line)
            lint.dropped.add("no_label", "a row without a label", raw)
        else:
            kept.append(
                LabeledRow.of_text(row=row, line=line, text=text, raw=raw, label=label, slice=group, text_pair=pair)
            )
    for rule, lines, what in (
        ("empty_text", without_text, "text"),
        ("empty_text_pair", without_pair, "second text"),
        ("no_label", without_label, "label"),
    ):
        sentence = f"{rows.path}: {counted(len(lines), 'row')} without a {what} left out ({name_lines(lines)})."
        lint.warn(rule, len(lines), sentence)
    if not kept:
        raise InputDataError(
            f"{rows.path} has {counted(len(rows), 'row')}, and none has both a text and a label; "
            "check the columns, or name them with --text-column and --label-column."
        )
    return kept


def check_labels(path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
    """Refuse a single class and classes of one row; warn of small classes and of other spellings.

    Labels that look like several in one, and numbers that look like a measurement, are refused, or only warned of if
    the user has named the task (`is_named`).
    """
    counts = Counter(row.label for row in rows)
    _check_several_labels(path, rows, counts, lint, is_named)
    if is_measured := are_measures(counts):
        _check_measures(path, counts, lint, is_named)
    if len(counts) == 1:
        (only,) = counts
        raise InputDataError(
            f"{path} has only one label ({shorten(only, 60)!r}, {counted(len(rows), 'row')}); expected at least two "
            "classes."
        )
    if singles := single_labels(counts):
        row = next(row for row in rows if row.label == next(iter(singles)))
        refuse_single_rows(path, row.line, singles, counts, "class", "classes")
    few = [label for label in sort_labels(counts) if counts[label] < FEW_ROWS]
    named = join_names(f"{shorten(label, 40)} {counts[label]}" for label in few)
    classes = counted(len(few), "class", "classes")
    lint.warn("few_rows", len(few), f"{classes} with fewer than {FEW_ROWS} rows: {named}.")
    if not is_measured:
        _warn_of_measures(path, counts, lint)
    alike = [names for names in _group_alike(counts) if len(names) > 1]
    shown = join_names((" / ".join(repr(shorten(name, 40)) for name in names) for names in alike), limit=4)
    lint.warn("alike_labels", len(alike), f"Labels that seem to be spellings of the same one: {shown}.")


def single_labels(counts: Mapping[str, int]) -> dict[str, str | None]:
    """The labels with too few rows, each with the most frequent one that differs only in spelling, if there is one.

    Those that have such a one come first.
    """
    larger: dict[str, str | None] = {}
    for names in _group_alike(counts):
        largest = max(names, key=lambda name: counts[name])
        larger |= {name: largest if name != largest else None for name in names}
    singles = [label for label in sort_labels(counts) if counts[label] < MIN_ROWS]
    return {label: larger[label] for label in sorted(singles, key=lambda label: larger[label] is None)}


def refuse_single_rows(
    path: str, line: int, labels: Mapping[str, str | None], counts: Mapping[str, int], what: str, several: str
) -> None:
    """Refuse labels that have one row each, as `single_labels` found them; the row of the first is on `line`. `what`
    is what a label is called."""
    (label, larger), more = next(iter(labels.items())), len(labels) - 1
    others = f", as do {more:,} other labels" if more > 1 else ", as does 1 other label" if more else ""
    found = f"{path}, line {line}: the label {shorten(label, 60)!r} has a single row{others}"
    if larger is not None:
        raise InputDataError(
            f"{found}, and seems to be another spelling of {shorten(larger, 60)!r} "
            f"({counted(counts[larger], 'row')}); write both alike, or add rows if these are two {several}."
        )
    raise InputDataError(
        f"{found}; a {what} needs at least {MIN_ROWS} rows (better {FEW_ROWS}): add rows, merge {several}, or remove "
        "these."
    )


def _check_several_labels(
    path: str, rows: Sequence[LabeledRow], counts: Counter[str], lint: Lint, is_named: bool
) -> None:
    """Refuse labels that look like several in one, or warn of them: lists, or labels joined by a sign."""
    several = labels_of_several(counts)
    if not several:
        _warn_of_joined(path, rows, counts, lint)
        return
    row = next(row for row in rows if row.label in several)
    found = f"{path}, line {row.line}: {shorten(row.label, 60)!r}"
    if not is_named:
        raise InputDataError(
            f"{found} contains several labels; expected one per row: choose --task multilabel, or --task "
            "classification if it is the name of one class, or keep only the rows with one label."
        )
    sentence = f"{found} looks like several labels, but is a single class, as --task classification asks."
    lint.warn("several_labels", len(several), f"{sentence} If a row may have several labels, choose --task multilabel.")


def _warn_of_joined(path: str, rows: Sequence[LabeledRow], counts: Counter[str], lint: Lint) -> None:
    """Warn of a label whose parts are labels by themselves, in too few cells for the sign to count as a separator."""
    found = maybe_joined(counts)
    if found is None:
        return
    label, sign = found
    line = next(row.line for row in rows if row.label == label)
    sentence = f"{path}, line {line}: {shorten(label, 60)!r} is one class, but its parts are classes, too. If it "
    sentence += f"stands for several labels, give --task multilabel --label-separator {sign!r}."
    lint.warn("several_labels", counts[label], sentence)


def _check_measures(path: str, counts: Counter[str], lint: Lint, is_named: bool) -> None:
    """Refuse numbers that look like a measurement: fractions, or far too many different values; or warn of them."""
    found = f"{path}: the labels are {describe_measures(counts)}, which look like a measurement"
    if not is_named:
        raise InputDataError(
            f"{found}, not classes; choose --task regression, or --task classification if each number is the name of a "
            "class, or name another column with --label-column."
        )
    sentence = f"{found}. Each is a class of its own, as --task classification asks, and a near miss is an error."
    lint.warn("measurement", len(counts), f"{sentence} If they measure something, choose --task regression.")


def _warn_of_measures(path: str, counts: Counter[str], lint: Lint) -> None:
    """Warn of many whole numbers that do not look like the numbers of classes.

    Classes are numbered from 0 or 1 without a gap. So are scores up to 100, of which each occurs; a hundred classes
    have 99 as their last number, if they are counted from 0.
    """
    numbers = sorted({number for label in counts if (number := _number(label)) is not None})
    if len(counts) <= MANY_NUMBERS or len(numbers) < len(counts):
        return
    first, last = numbers[0], numbers[-1]
    if first in (0, 1) and last != 100 and last - first + 1 == len(numbers):
        return
    lint.warn(
        "measurement",
        len(counts),
        f"{path}: the labels are {len(counts):,} whole numbers from {first:,.0f} to {last:,.0f}, which may be a "
        "measurement, such as an age or a score. Each number becomes a class of its own, and a near miss is an error. "
        "If they measure something, group them into a few classes, such as low and high.",
    )


def check_repeats(path: str, rows: Sequence[LabeledRow], lint: Lint) -> None:
    """Warn of rows that repeat another, and of texts that have more than one label; the order of several is ignored."""
    first_with: dict[str, dict[Any, LabeledRow]] = {}
    num_repeats = 0
    for row in rows:
        labels = first_with.setdefault(row.key, {})
        label = tuple(sorted(row.label)) if isinstance(row.label, tuple) else row.label
        num_repeats += label in labels
        labels.setdefault(label, row)
    repeats = counted(num_repeats, "row")
    sentence = f"{path}: {repeats} with the same text and label as an earlier row; kept, in the same split."
    lint.warn("duplicate", num_repeats, sentence)
    torn = [list(labels.values()) for labels in first_with.values() if len(labels) > 1]
    if torn:
        one, other = torn[0][:2]
        lint.warn(
            "contradiction",
            len(torn),
            f"{path}: {counted(len(torn), 'text')} with more than one label, which no model "
            "can get right: "
            f"{shorten(one.text, 60)!r} is {_shown(one)} in line {one.line}, {_shown(other)} in line {other.line}.",
        )


def _shown(row: LabeledRow) -> str:
    """The label of a row in a warning: several labels side by side; of entities, their texts and types."""
    if not isinstance(row.label, tuple):
        return repr(row.label)
    if row.label and not all(isinstance(item, Span) for item in row.label):
        return shorten(join_names([repr(label) for label in row.label], 4), 120)
    entities = (f"{row.text[start:end]!r} {kind}" for start, end, kind in row.label)
    return shorten(join_names(entities, 4), 120) if row.label else "no label"


def check_test_labels(train: Sequence[LabeledRow], test: Sequence[LabeledRow], test_path: str, lint: Lint) -> None:
    """Refuse test labels that training never saw; warn of training labels that the test lacks."""
    known, tested = Counter(row.label for row in train), Counter(row.label for row in test)
    unseen = [label for label in sort_labels(tested) if label not in known]
    if unseen:
        row = next(row for row in test if row.label == unseen[0])
        raise InputDataError(
            f"{test_path}, line {row.line}: the label {shorten(unseen[0], 60)!r} never occurs in the training file "
            f"(its labels are {join_names(sort_labels(known), 6)}); use the same labels in both."
        )
    _warn_of_absence("test", known, tested, lint)


def drop_shared(train: list[LabeledRow], test: Sequence[LabeledRow], test_path: str, lint: Lint) -> list[LabeledRow]:
    """The training rows whose text is not in the test. Raises InputDataError if too many test rows are affected."""
    train_texts = {row.key for row in train}
    test_texts = {row.key for row in test}
    num_touched = sum(row.key in train_texts for row in test)
    if num_touched > MAX_SHARED_FRACTION * len(test):
        raise InputDataError(
            f"{num_touched:,} of the {counted(len(test), 'row')} of {test_path} also occur in the training file "
            f"(at most {MAX_SHARED_FRACTION:.0%} is allowed); test texts must not appear in the training file."
        )
    kept = []
    for row in train:
        if row.key in test_texts:
            lint.dropped.add("in_test", "a training row whose text is also in the test file", row.text)
        else:
            kept.append(row)
    num_removed = len(train) - len(kept)
    left_out = counted(num_removed, "row")
    lint.warn("in_test", num_removed, f"{left_out} left out of training because their texts are in {test_path}.")
    return kept


def note_parts(rows: Sequence[LabeledRow], test_path: str, lint: Lint) -> None:
    """Count rows that are left out because the test file contains their texts within longer ones."""
    for row in rows:
        lint.dropped.add("part_of_test", "a training row whose text is part of a text in the test file", row.text)
    lint.warn(
        "part_of_test",
        len(rows),
        f"{counted(len(rows), 'row')} left out of training because their texts are part of longer ones in {test_path}, "
        "word for word. Otherwise the model would know most of what it is tested on.",
    )


def check_labels_left(path: str, before: Iterable[str], after: Collection[str], test_path: str) -> None:
    """Refuse a label that has no row any more `after` rows with texts of the test file left the training rows."""
    lost = [label for label in before if label not in after]
    if lost:
        others = f", and the same is true of {join_names([shorten(one, 40) for one in lost[1:]])}" if lost[1:] else ""
        raise InputDataError(
            f"{path}: every text with the label {shorten(lost[0], 60)!r} is also in {test_path}, so no row is left to "
            f"learn it from{others}; every label needs texts that are not in the test file: add some, or remove the "
            f"shared texts from {test_path}."
        )


def check_splits(path: str, rows: Sequence[LabeledRow], splits: Sequence[Split], lint: Lint) -> None:
    """Refuse a class without training rows or an empty validation split; warn of classes that cannot be measured."""
    counts = {name: Counter(r.label for r, s in zip(rows, splits, strict=True) if s == name) for name in SPLITS}
    every = Counter(row.label for row in rows)
    lost = [label for label in sort_labels(every) if not counts["train"][label]]
    if lost:
        raise InputDataError(
            f"{path}: no training row is left for the label {shorten(lost[0], 60)!r} after the validation and test "
            "rows are taken; add rows with other texts."
        )
    if not counts["validation"]:
        raise InputDataError(
            f"{path}: the validation split, which decides when to stop, is empty; "
            "add rows, or raise --validation-fraction."
        )
    _warn_of_absence("validation", every, counts["validation"], lint)


def check_test_split(rows: Sequence[LabeledRow], test: Sequence[LabeledRow], lint: Lint) -> None:
    """Warn if a test split taken from the training file is empty or lacks classes."""
    if not test:
        lint.warn("no_test", 1, "The test split is empty, so nothing can be measured on it; give --test-labels.")
        return
    _warn_of_absence("test", Counter(row.label for row in rows), Counter(row.label for row in test), lint)


def sort_labels(labels: Iterable[str]) -> list[str]:
    """The order of the classes: numeric if all labels are numbers, otherwise alphabetical."""
    every = set(labels)
    numbers = {label: number for label in every if (number := _number(label)) is not None}
    return sorted(every, key=lambda label: (numbers[label], label)) if len(numbers) == len(every) else sorted(every)


def name_classes(labels: Sequence[str], label_names: Sequence[str]) -> list[str]:
    """The names of the classes: the labels themselves, except those renamed by items such as `0=negative`.

    Raises InputDataError if an item is malformed, renames a label that does not exist, or makes two names equal.
    """
    renamed = dict(zip(labels, labels, strict=True))
    for label, name in read_renaming(label_names).items():
        if label not in renamed:
            raise InputDataError(
                f"--label-names renames {label!r}, which is not a label here; the labels are {join_names(labels)}."
            )
        renamed[label] = name
    names = list(renamed.values())
    doubled = next((name for name, count in Counter(names).items() if count > 1), None)
    if doubled is not None:
        raise InputDataError(f"--label-names gives two labels the name {doubled!r}; names must differ.")
    return names


def read_renaming(label_names: Iterable[str]) -> dict[str, str]:
    """New names by label, from items such as `0=negative`. Raises InputDataError for a malformed item."""
    renamed = {}
    for item in label_names:
        label, sign, name = (compose(part.strip()) for part in item.partition("="))
        if not (label and sign and name):
            raise InputDataError(f"--label-names has {item!r}; expected label=name, as in 0=negative,1=positive.")
        renamed[label] = name
    return renamed


def imbalance_of(labels: Iterable[str]) -> float:
    """The ratio of the largest class to the smallest, in rows."""
    counts = Counter(labels).values()
    return max(counts) / min(counts)


def _warn_of_absence(split: str, every: Counter[str], found: Counter[str], lint: Lint) -> None:
    missing = [label for label in sort_labels(every) if not found[label]]
    named = join_names(shorten(label, 40) for label in missing)
    classes = counted(len(missing), "class", "classes")
    lint.warn(f"not_in_{split}", len(missing), f"{classes} without a {split} row: {named}.")


def _group_alike(labels: Iterable[str]) -> Iterable[list[str]]:
    signs = re.compile(rf"(?:[^\w{marks_in_words()}]|_)+")  # the vowel signs of Hindi, for example, are no punctuation
    groups: dict[str, list[str]] = {}
    for label in sort_labels(labels):
        number = _number(label)
        key = signs.sub(" ", label.casefold()).strip() if number is None else str(number)
        groups.setdefault(key or label, []).append(label)
    return groups.values()


def _number(label: str) -> float | None:
    try:
        number = float(label)
    except ValueError:
        return None
    return number if number == number else None  # "nan" is a word
