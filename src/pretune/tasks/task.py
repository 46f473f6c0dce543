"""What the stages need to know of a task, from its labelled file to its predictions.

N rows, M targets (one per row, or one per labelled token), K outputs of the model, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.errors import UsageError
from pretune.scoring.baseline import Baseline
from pretune.scoring.nested_rows import group_rows
from pretune.scoring.partners import Partner
from pretune.scoring.row_statistics import RowStatistics
from pretune.scoring.stack import Link
from pretune.tasks.prediction import Prediction
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.label_rules import LabelRules
from pretune.text.labels.words import WordRule
from pretune.text.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:  # only the methods that train need torch, so that splitting rows starts at once
    from torch import Tensor

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
LEAST_JUDGING_ROWS = 20  # independent validation rows, by which a student is judged
Line = Mapping[str, Any]  # a row of a split or prepare folder
Decision = dict[str, Any]  # what turns outputs into predictions, as JSON values: thresholds, a mean and a deviation
Outputs = Any  # the predictions for N rows, in the form that the task chooses


@dataclass(frozen=True, kw_only=True)
class LabelledLines:
    """The rows of a prepare folder by split, the names of the labels, and the main metric."""

    train: Sequence[Line]
    validation: Sequence[Line]
    test: Sequence[Line]
    names: Sequence[str]
    metric: str


def refuse_class_weights(task: Task, class_weights: str) -> None:
    """Raise UsageError if class weights were asked for and the task has none."""
    if class_weights == "balanced" and not task.has_class_weights:
        raise UsageError(
            f"--class-weights balanced works for classes and entities, and these labels are of the task {task.name}; "
            "leave the option out."
        )


def refuse_self_training(task: Task, validation: Sequence[str], *, has_pairs: bool) -> None:
    """Raise UsageError for labels that the sentences of a corpus cannot be given, and for too few texts of validation
    rows that are independent of each other: a student that cannot be judged would not be delivered."""
    if task.name != "classification" or has_pairs:
        raise UsageError(
            f"--self-train works for classes of single texts, and these labels are of "
            f"{'pairs of texts' if has_pairs else f'the task {task.name}'}; leave it out."
        )
    num_judging = len(np.unique(group_rows([[text] for text in validation])))
    if num_judging < LEAST_JUDGING_ROWS:
        raise UsageError(
            f"--self-train judges the student on validation rows, and {num_judging:,} independent ones are too few; "
            f"expected at least {LEAST_JUDGING_ROWS}: hold out more with --validation-fraction, or leave --self-train "
            "out."
        )


@runtime_checkable
class Task(LabelRules, Protocol):
    """A task. The rules for its labels come from `LabelRules`."""

    @property
    def is_token_level(self) -> bool:
        """Whether the model has an output for each token, instead of one for each text."""

    @property
    def has_class_weights(self) -> bool:
        """Whether targets can have a weight by the rarity of their class."""

    @property
    def prediction(self) -> type[Prediction]:
        """What a prediction for one text is."""

    @property
    def usual_metric(self) -> str:
        """The metric that is shown for every model and on slices."""

    @property
    def compared(self) -> tuple[str, ...]:
        """The other figures that a comparison shows."""

    @property
    def link(self) -> Link:
        """How the model's outputs become predictions, with linear models stacked on it or without."""

    def output_names(self, names: Sequence[str]) -> list[str]:
        """The names of the K outputs of a model for labels with these names."""

    def word_rule(self, decision: Decision) -> WordRule | None:
        """How a text is divided into words that have an output each; None if a text has outputs as a whole."""

    def choose_metric(self, rows: Sequence[LabeledRow], lint: Lint) -> tuple[str, dict[str, float]]:
        """The metric that early stopping compares, with a warning if it is not the usual one, and facts for the log."""

    # -- training --

    def targets(
        self, lines: Sequence[Line], num_labels: int, decision: Decision, tokenizer: Tokenizer, max_seq_len: int
    ) -> Targets:
        """The targets of rows that are encoded with this tokenizer and cut to this length."""

    def places(self, lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> Targets:
        """As `targets`, for rows whose labels are not known: where the model predicts something, with any values.

        Rows have one text each here; what a text is too long for is not among the targets."""

    def prepare_decision(self, lines: Sequence[Line]) -> Decision:
        """What the training rows alone determine, such as the mean of a score; the outputs are relative to it."""

    def label_weights(self, train: Targets, targets: Targets, num_outputs: int) -> npt.NDArray[np.float32]:
        """Weights (M,) of `targets` that give every class the same total weight in the training rows."""

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each target (M,), in nats or squared deviations, and whether it is predicted correctly (M,)."""

    # -- results --

    def score_targets(self, logits: FloatArray, targets: Targets) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """As `losses`, of outputs (M, K) in double precision."""

    def decide(self, logits: FloatArray, targets: Targets, decision: Decision) -> Decision:
        """The decision with what validation rows choose, such as thresholds."""

    def decode(self, logits: FloatArray, targets: Targets, decision: Decision) -> Outputs:
        """The predictions for N rows from the outputs (M, K)."""

    def true_values(self, lines: Sequence[Line], names: Sequence[str]) -> Any:
        """The labels of N rows in the form that the figures compare with the predictions."""

    def figures(
        self, true: Any, outputs: Outputs, names: Sequence[str], groups: IntArray | None = None
    ) -> dict[str, Any]:
        """All figures of one set of predictions as JSON values; intervals are over groups of rows, if given."""

    def statistics(self, metric: str, true: Any, outputs: Outputs, names: Sequence[str]) -> RowStatistics:
        """The statistics of each row whose weighted sums give a metric: what paired comparisons are made from."""

    def to_fields(self, outputs: Outputs, index: int) -> dict[str, Any]:
        """The prediction for one row as fields of a line of a prediction file: `predicted`, and what else there is."""

    def from_lines(self, lines: Sequence[Line]) -> Outputs:
        """The predictions that `to_fields` wrote, with the fields of `row` and `label` beside."""

    def to_prediction(
        self, outputs: Outputs, index: int, names: Sequence[str], text: str, text_pair: str | None = None
    ) -> Prediction:
        """The prediction for one text, which is as it was given."""

    def empty_prediction(self, text: str, text_pair: str | None = None) -> Prediction:
        """The prediction for a blank text."""

    def references(self, train: Targets, validation: Targets, num_outputs: int) -> dict[str, float]:
        """What a model without knowledge of the texts reaches on validation, as fields of a `references` event."""

    def baselines(self, data: LabelledLines) -> Iterator[Baseline]:
        """The trivial baseline, then the linear ones, trained on the training rows."""

    def partners(self, data: LabelledLines) -> list[Partner]:
        """The linear baselines as models that can be stacked on the network, on the scale of its outputs."""
