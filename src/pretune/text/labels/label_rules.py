"""What reading, checking and splitting labelled rows need to know of a task: the rules for its labels.

Every task of `pretune.tasks` follows them. What a label is depends on the task: a class, several labels, a number, or
spans of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.detect_task import TaskName
from pretune.text.splits import Split


@runtime_checkable
class LabelRules(Protocol):
    """The rules for the labels of one task."""

    @property
    def name(self) -> TaskName: ...

    @property
    def counted_as(self) -> str:
        """What the labels are called where they are counted, in the plural."""

    def check(self, path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
        """Refuse labels that no model can learn, and warn of those that it probably cannot.

        Labels that rather look like those of another task are only warned of if the user has named the task.
        """

    def strata(self, rows: Sequence[LabeledRow]) -> list[str]:
        """The group of each row; every group should have rows in training and in validation."""

    def check_test(self, train: Sequence[LabeledRow], test: Sequence[LabeledRow], path: str, lint: Lint) -> None:
        """Refuse a test file that does not fit the training file; warn of what it lacks."""

    def check_splits(self, path: str, rows: Sequence[LabeledRow], splits: Sequence[Split], lint: Lint) -> None:
        """Refuse splits that training cannot work with; warn of what they lack."""

    def check_test_split(self, rows: Sequence[LabeledRow], test: Sequence[LabeledRow], lint: Lint) -> None:
        """Warn of what a test split that was taken from the training file lacks."""

    def labels(self, rows: Sequence[LabeledRow]) -> list[str]:
        """The labels that occur, in their order: the order of the outputs of a model."""

    def to_json(self, label: Any, labels: Sequence[str]) -> Any:
        """A label as the JSON value of a split file, with labels by their number."""

    def from_json(self, value: Any, labels: Sequence[str]) -> Any:
        """The label that `to_json` wrote. Raises KeyError, IndexError, TypeError or ValueError for a damaged value."""

    def match_labels(
        self,
        labels: Sequence[Any],
        places: Sequence[str],
        names: Sequence[str],
        renaming: Sequence[str] = (),
        *,
        originals: Sequence[str] = (),
        notes: list[str] | None = None,
    ) -> list[Any]:
        """The labels of another file as `to_json` writes them, for a model with these names.

        `renaming` are items such as `0=negative`, `originals` the labels of the training file where they differ from
        the names. A sentence about a choice between several meanings is added to `notes`. Raises InputDataError, with
        its place, for a label that the model does not know.
        """

    def describe(self, label: Any, text: str, names: Sequence[str], labels: Sequence[str]) -> str:
        """The label of a text as a display shows it, in the form of a prediction in words."""
