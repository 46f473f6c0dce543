"""Labels that hold any number of names: several labels of a text, or the types of its entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from pretune.errors import InputDataError
from pretune.text.labels.checks import LabeledRow, Lint, sort_labels
from pretune.text.labels.target_checks import names_of, refuse_unseen
from pretune.text.reading_report import counted, join_names, shorten
from pretune.text.splits import Split


class NamedLabels:
    """The rules for such labels that do not depend on the task; `word` is what a name is called."""

    word = "label"
    none = "(no label)"

    def strata(self, rows: Sequence[LabeledRow]) -> list[str]:
        """Each row counts for its rarest name, so that every name is in every split if it can be."""
        counts = Counter(name for row in rows for name in set(names_of(row.label)))
        return [min(names_of(row.label), key=lambda name: (counts[name], name), default=self.none) for row in rows]

    def check_test(self, train: Sequence[LabeledRow], test: Sequence[LabeledRow], path: str, lint: Lint) -> None:
        known = self.labels(train)
        refuse_unseen(path, test, known, what=self.word)
        self._warn_of_absence("test", known, _names_in(test), lint)

    def check_splits(self, path: str, rows: Sequence[LabeledRow], splits: Sequence[Split], lint: Lint) -> None:
        train, validation = (
            [row for row, own in zip(rows, splits, strict=True) if own == side] for side in ("train", "validation")
        )
        known, learned = self.labels(rows), _names_in(train)
        lost = [name for name in known if name not in learned]
        if lost:
            raise InputDataError(
                f"{path}: no training row is left for the {self.word} {shorten(lost[0], 60)!r} after the validation "
                "and test rows are taken; add rows with other texts."
            )
        if not validation:
            raise InputDataError(
                f"{path}: the validation split, which decides when to stop, is empty; "
                "add rows, or raise --validation-fraction."
            )
        self._warn_of_absence("validation", known, _names_in(validation), lint)

    def check_test_split(self, rows: Sequence[LabeledRow], test: Sequence[LabeledRow], lint: Lint) -> None:
        if not test:
            lint.warn("no_test", 1, "The test split is empty, so nothing can be measured on it; give --test-labels.")
            return
        self._warn_of_absence("test", self.labels(rows), _names_in(test), lint)

    def labels(self, rows: Sequence[LabeledRow]) -> list[str]:
        return sort_labels(_names_in(rows))

    def count(self, number: int) -> str:
        """A number of names in words."""
        return counted(number, self.word)

    def _warn_of_absence(self, split: str, known: Sequence[str], found: Collection[str], lint: Lint) -> None:
        missing = [name for name in known if name not in found]
        named = join_names(shorten(name, 40) for name in missing)
        lint.warn(f"not_in_{split}", len(missing), f"{self.count(len(missing))} without a {split} row: {named}.")


def _names_in(rows: Iterable[LabeledRow]) -> set[str]:
    return {name for row in rows for name in names_of(row.label)}
