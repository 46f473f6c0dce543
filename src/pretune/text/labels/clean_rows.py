"""The rows of a file that can be used, with clean texts and with labels that fit them; the others are counted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import cast

from pretune.errors import InputDataError
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.span_alignment import clean_spans
from pretune.text.labels.spans import Span
from pretune.text.labels.task_rows import Label, TaskRows
from pretune.text.reading_report import Tally, join_names, shorten

_MISSING_LABEL = {"regression": "a finite number", "tokens": "a list of entities"}


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanRow:
    """A usable row: number `row` of its file, counted from 0, on line `line`; texts as the model sees them, and raw.

    Spans are those of `text`.
    """

    row: int
    line: int
    text: str
    raw: str
    label: Label
    slice: str | None
    text_pair: str | None = None
    raw_pair: str | None = None


@dataclass
class CleanRows:
    """Usable rows, and why others were left out: by rule, and as (rule, count, sentence)."""

    rows: list[CleanRow] = field(default_factory=list)
    dropped: Tally = field(default_factory=Tally)
    warnings: list[tuple[str, int, str]] = field(default_factory=list)


def keep_clean(rows: TaskRows) -> CleanRows:
    """The rows that have a text, a second text if the task has pairs, and a label, after cleaning.

    Raises InputDataError if no row is left.
    """
    found, left_out, num_vanished = CleanRows(), dict[str, list[int]](), 0
    missing = _MISSING_LABEL.get(rows.task.task, "a label")
    reasons = {"empty_text": "a text", "no_second_text": "a second text", "no_label": missing}
    for row in range(len(rows)):
        cleaned, vanished = _clean_row(rows, row)
        num_vanished += vanished
        if isinstance(cleaned, CleanRow):
            found.rows.append(cleaned)
            continue
        line = rows.lines[row]
        left_out.setdefault(cleaned, []).append(line)
        example = f"{rows.path}, line {line}" if cleaned == "empty_text" else rows.texts[row]
        found.dropped.add(cleaned, f"a row without {reasons[cleaned]}", example)
    for rule in filter(left_out.__contains__, reasons):
        lines = left_out[rule]
        where = f"line{'' if len(lines) == 1 else 's'} {join_names(map(str, lines), 5)}"
        sentence = f"{rows.path}: {_rows(len(lines))} without {reasons[rule]} left out ({where})."
        found.warnings.append((rule, len(lines), sentence))
    if num_vanished:
        entities = "1 entity" if num_vanished == 1 else f"{num_vanished:,} entities"
        sentence = f"{rows.path}: {entities} left out, since cleaning leaves nothing of their text."
        found.warnings.append(("vanished_entity", num_vanished, sentence))
    if not found.rows:
        raise InputDataError(_sentence_about_nothing(rows, missing))
    return found


def _clean_row(rows: TaskRows, row: int) -> tuple[CleanRow | str, int]:
    """A row with its texts cleaned, or the rule by which it is left out; and how many of its entities are lost."""
    label, raw, num_vanished = rows.labels[row], rows.texts[row], 0
    if rows.task.task == "tokens" and label is not None:
        text, label, num_vanished = clean_spans(raw, cast(tuple[Span, ...], label))
    else:
        text = clean_text(raw)
    raw_pair = None if rows.text_pairs is None else rows.text_pairs[row]
    pair = None if raw_pair is None else clean_text(raw_pair)
    if not text:
        return "empty_text", 0
    if pair == "":
        return "no_second_text", 0
    if label is None:
        return "no_label", 0
    line, group = rows.lines[row], rows.slices[row]
    cleaned = CleanRow(
        row=row, line=line, text=text, raw=raw, label=label, slice=group, text_pair=pair, raw_pair=raw_pair
    )
    return cleaned, num_vanished


def _sentence_about_nothing(rows: TaskRows, missing: str) -> str:
    if rows.text_pairs is not None and not any(text.strip() for text in rows.text_pairs):
        return (
            f"{rows.path} has {_rows(len(rows))}, and none has a second text in the column "
            f"{rows.task.text_pair_column!r}; name the right column with --text-pair-column."
        )
    texts = "two texts" if rows.text_pairs is not None else "a text"
    return (
        f"{rows.path} has {_rows(len(rows))}, and none has both {texts} and {missing}; check the columns, or name them "
        "with --text-column and --label-column."
    )


# --- what cannot be learned -------------------------------------------------------------------------------------------


def refuse_alike(path: str, labels: Sequence[Label], task: str) -> None:
    """Refuse the labels of a training file that leave nothing to learn: all alike, none at all, or a single row.

    `task` is one of multilabel, regression and tokens; single classes have checks of their own.
    """
    if len(labels) == 1:
        raise InputDataError(f"{path} has a single usable row; expected rows to learn from and others to check with.")
    check: Callable[[str, Sequence[Label]], None] = {
        "multilabel": _refuse_alike_sets,
        "regression": _refuse_alike_numbers,
        "tokens": _refuse_no_entities,
    }[task]
    check(path, labels)


def _refuse_alike_sets(path: str, labels: Sequence[Label]) -> None:
    different = {frozenset(cast(tuple[str, ...], names)) for names in labels}
    if len(different) > 1:
        return
    names = sorted(different.pop())
    found = f"the same labels ({join_names(names)})" if names else "no label"
    raise InputDataError(
        f"{path}: each of its {_rows(len(labels))} has {found}, so there is nothing to learn; expected rows with "
        "different labels: check the column, or name another with --label-column."
    )


def _refuse_alike_numbers(path: str, labels: Sequence[Label]) -> None:
    different = {cast(float, number) for number in labels}
    if len(different) == 1:
        raise InputDataError(
            f"{path}: the labels of all {_rows(len(labels))} are the number {different.pop():g}, so there is nothing "
            "to learn; expected different numbers: check the column, or name another with --label-column."
        )


def _refuse_no_entities(path: str, labels: Sequence[Label]) -> None:
    if not any(labels):
        raise InputDataError(
            f"{path} has {_rows(len(labels))} and no entity, so there is nothing to learn; check the column of the "
            "tags or entities, or name another with --label-column."
        )


def names_of(label: Label) -> tuple[str, ...]:
    """The names in a label: the class, the labels of a row, the types of its entities; none in a number."""
    if isinstance(label, str):
        return (label,)
    if isinstance(label, float | int):
        return ()
    return tuple(item.type if isinstance(item, Span) else item for item in label)


def refuse_unseen(path: str, rows: Sequence[CleanRow], known: Collection[str], what: str = "label") -> None:
    """Refuse a label, or a type of entity, of a test file that the training file does not have."""
    for row in rows:
        unseen = next((name for name in names_of(row.label) if name not in known), None)
        if unseen is not None:
            raise InputDataError(
                f"{path}, line {row.line}: the {what} {shorten(unseen, 60)!r} never occurs in the training file (its "
                f"{what}s are {join_names(sorted(known), 6)}); use the same {what}s in both."
            )


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
