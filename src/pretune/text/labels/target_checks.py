"""Labels of several names, numbers and entities that leave nothing to learn, or that training has not seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import cast

from pretune.errors import InputDataError
from pretune.text.labels.checks import LabeledRow
from pretune.text.labels.spans import Span
from pretune.text.labels.task_rows import Label
from pretune.text.reading_report import counted, join_names, shorten


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
        f"{path}: each of its {counted(len(labels), 'row')} has {found}, so there is nothing to learn; expected rows "
        "with different labels: check the column, or name another with --label-column."
    )


def _refuse_alike_numbers(path: str, labels: Sequence[Label]) -> None:
    different = {cast(float, number) for number in labels}
    if len(different) == 1:
        raise InputDataError(
            f"{path}: the labels of all {counted(len(labels), 'row')} are the number {different.pop():g}, so there is "
            "nothing to learn; expected different numbers: check the column, or name another with --label-column."
        )


def _refuse_no_entities(path: str, labels: Sequence[Label]) -> None:
    if not any(labels):
        raise InputDataError(
            f"{path} has {counted(len(labels), 'row')} and no entity, so there is nothing to learn; check the column "
            "of the tags or entities, or name another with --label-column."
        )


def names_of(label: Label) -> tuple[str, ...]:
    """The names in a label: the class, the labels of a row, the types of its entities; none in a number."""
    if isinstance(label, str):
        return (label,)
    if isinstance(label, float | int):
        return ()
    return tuple(item.type if isinstance(item, Span) else item for item in label)


def refuse_unseen(path: str, rows: Sequence[LabeledRow], known: Collection[str], what: str = "label") -> None:
    """Refuse a label, or a type of entity, of a test file that the training file does not have."""
    for row in rows:
        unseen = next((name for name in names_of(row.label) if name not in known), None)
        if unseen is not None:
            raise InputDataError(
                f"{path}, line {row.line}: the {what} {shorten(unseen, 60)!r} never occurs in the training file (its "
                f"{what}s are {join_names(sorted(known), 6)}); use the same {what}s in both."
            )
