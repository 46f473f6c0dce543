"""Regression: a number for each text.

N rows. The model learns standardised numbers; predictions are in the units of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.errors import InputDataError
from pretune.scoring.baseline import Baseline
from pretune.scoring.pair_features import ScoredPairs, predict_pair_scores
from pretune.scoring.pair_model import train_pair_scores
from pretune.scoring.partners import Partner, most_ngrams
from pretune.scoring.regression import summarize_scores
from pretune.scoring.ridge import ScoreBaseline, ScoredRows, predict_mean, predict_ridge, train_ridge
from pretune.scoring.row_statistics import (
    RowStatistics,
    absolute_error_rows,
    pearson_rows,
    spearman_rows,
)
from pretune.scoring.stack import Link
from pretune.tasks.classification import texts_of_pairs
from pretune.tasks.prediction import Prediction, ScorePrediction
from pretune.tasks.task import Decision, FloatArray, LabelledLines, Line
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.detect_task import TaskName
from pretune.text.labels.target_checks import refuse_alike
from pretune.text.labels.words import WordRule
from pretune.text.reading_report import counted
from pretune.text.splits import Split
from pretune.text.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

IntArray = npt.NDArray[np.int64]
OUTPUT_NAME = "score"
_CLOSE = 0.5  # deviations: a prediction nearer than that counts as right in the training trace


class Regression:
    """A label is a number; predictions are numbers (N,)."""

    name: TaskName = "regression"
    counted_as = "scores"
    is_token_level = False
    has_class_weights = False
    link: Link = "identity"
    prediction: type[Prediction] = ScorePrediction
    usual_metric = "pearson"
    compared = ("spearman", "mean_absolute_error", "root_mean_squared_error", "r2")

    # -- labels --

    def check(self, path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
        refuse_alike(path, [row.label for row in rows], self.name)

    def strata(self, rows: Sequence[LabeledRow]) -> list[str]:
        return [OUTPUT_NAME] * len(rows)

    def check_test(self, train: Sequence[LabeledRow], test: Sequence[LabeledRow], path: str, lint: Lint) -> None:
        low, high = min(row.label for row in train), max(row.label for row in train)
        outside = sum(not low <= row.label <= high for row in test)
        are = counted(outside, "row is", "rows are")
        lint.warn("outside", outside, f"{path}: {are} outside the numbers of the training file, {low:g} to {high:g}.")

    def check_splits(self, path: str, rows: Sequence[LabeledRow], splits: Sequence[Split], lint: Lint) -> None:
        for split, name in (("train", "training"), ("validation", "validation")):
            values = {row.label for row, own in zip(rows, splits, strict=True) if own == split}
            if len(values) < 2:
                found = "is empty" if not values else f"has only the number {values.pop():g}"
                raise InputDataError(
                    f"{path}: the {name} split {found}; expected different numbers: add rows, or change "
                    "--validation-fraction."
                )

    def check_test_split(self, rows: Sequence[LabeledRow], test: Sequence[LabeledRow], lint: Lint) -> None:
        if not test:
            lint.warn("no_test", 1, "The test split is empty, so nothing can be measured on it; give --test-labels.")

    def labels(self, rows: Sequence[LabeledRow]) -> list[str]:
        return [OUTPUT_NAME]

    def to_json(self, label: Any, labels: Sequence[str]) -> Any:
        return float(label)

    def from_json(self, value: Any, labels: Sequence[str]) -> Any:
        return float(value)

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
        return [float(label) for label in labels]

    def describe(self, label: Any, text: str, names: Sequence[str], labels: Sequence[str]) -> str:
        return write_score(label)

    # -- training --

    def output_names(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def word_rule(self, decision: Decision) -> WordRule | None:
        return None

    def choose_metric(self, rows: Sequence[LabeledRow], lint: Lint) -> tuple[str, dict[str, float]]:
        numbers = np.array([row.label for row in rows], dtype=np.float64)
        return "pearson", {"mean": float(numbers.mean()), "deviation": float(numbers.std())}

    def targets(
        self, lines: Sequence[Line], num_labels: int, decision: Decision, tokenizer: Tokenizer, max_seq_len: int
    ) -> Targets:
        standardised = (self.true_values(lines, ()) - decision["mean"]) / decision["deviation"]
        return Targets.of_rows(standardised.astype(np.float32))

    def places(self, lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> Targets:
        return Targets.of_rows(np.zeros(len(lines)))

    def prepare_decision(self, lines: Sequence[Line]) -> Decision:
        numbers = self.true_values(lines, ())
        return {"mean": float(numbers.mean()), "deviation": float(numbers.std()) or 1.0}

    def label_weights(self, train: Targets, targets: Targets, num_outputs: int) -> npt.NDArray[np.float32]:
        return np.ones(len(targets), dtype=np.float32)

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        errors = logits[:, 0].float() - labels.float()
        return errors.square(), errors.abs() < _CLOSE

    # -- results --

    def score_targets(self, logits: FloatArray, targets: Targets) -> tuple[FloatArray, IntArray]:
        errors = np.nan_to_num(logits[:, 0]) - targets.values
        return np.square(errors), (np.abs(errors) < _CLOSE).astype(np.int64)

    def decide(self, logits: FloatArray, targets: Targets, decision: Decision) -> Decision:
        return decision

    def decode(self, logits: FloatArray, targets: Targets, decision: Decision) -> FloatArray:
        return np.asarray(np.nan_to_num(logits[:, 0]) * decision.get("deviation", 1.0) + decision.get("mean", 0.0))

    def true_values(self, lines: Sequence[Line], names: Sequence[str]) -> FloatArray:
        return np.array([line["label"] for line in lines], dtype=np.float64)

    def figures(
        self, true: Any, outputs: FloatArray, names: Sequence[str], groups: IntArray | None = None
    ) -> dict[str, Any]:
        return summarize_scores(true, outputs, groups)

    def statistics(self, metric: str, true: Any, outputs: FloatArray, names: Sequence[str]) -> RowStatistics:
        makers = {"spearman": spearman_rows, "mean_absolute_error": absolute_error_rows}
        return makers.get(metric, pearson_rows)(true, outputs)

    def to_fields(self, outputs: FloatArray, index: int) -> dict[str, Any]:
        return {"predicted": float(outputs[index])}

    def from_lines(self, lines: Sequence[Line]) -> FloatArray:
        return np.array([line["predicted"] for line in lines], dtype=np.float64)

    def to_prediction(
        self, outputs: FloatArray, index: int, names: Sequence[str], text: str, text_pair: str | None = None
    ) -> ScorePrediction:
        score = float(outputs[index])
        return ScorePrediction(
            text=text, text_pair=text_pair, label=write_score(score), probability=None, probabilities={}, score=score
        )

    def empty_prediction(self, text: str, text_pair: str | None = None) -> ScorePrediction:
        return ScorePrediction(
            text=text, text_pair=text_pair, label=None, probability=None, probabilities={}, score=None
        )

    def references(self, train: Targets, validation: Targets, num_outputs: int) -> dict[str, float]:
        """The squared error of the mean, in squared deviations of the training rows."""
        return {"prior_loss": float(np.square(validation.values.astype(np.float64)).mean())}

    def baselines(self, data: LabelledLines) -> Iterator[Baseline]:
        train, validation = self.true_values(data.train, ()), self.true_values(data.validation, ())
        yield _to_baseline(predict_mean(train, len(data.test)))
        if "text_pair" in data.train[0]:
            ours = ScoredPairs(pairs=texts_of_pairs(data.train), scores=train)
            theirs = ScoredPairs(pairs=texts_of_pairs(data.validation), scores=validation)
            yield _to_baseline(predict_pair_scores(ours, theirs, texts_of_pairs(data.test)))
            return
        texts = [[line["text"] for line in lines] for lines in (data.train, data.validation, data.test)]
        ours_rows = ScoredRows(texts=texts[0], scores=train)
        their_rows = ScoredRows(texts=texts[1], scores=validation)
        yield _to_baseline(predict_ridge(ours_rows, their_rows, texts[2]))

    def partners(self, data: LabelledLines) -> list[Partner]:
        scale = self.prepare_decision(data.train)
        train, validation = (
            (self.true_values(lines, ()) - scale["mean"]) / scale["deviation"]
            for lines in (data.train, data.validation)
        )
        if "text_pair" in data.train[0]:
            pairs, chosen = train_pair_scores(
                ScoredPairs(pairs=texts_of_pairs(data.train), scores=train),
                ScoredPairs(pairs=texts_of_pairs(data.validation), scores=validation),
                most=most_ngrams(1),
            )
            return [Partner(kind="pair_ridge", model=pairs, chosen=chosen)]
        texts = [[line["text"] for line in lines] for lines in (data.train, data.validation)]
        model, chosen = train_ridge(
            ScoredRows(texts=texts[0], scores=train), ScoredRows(texts=texts[1], scores=validation)
        )
        return [Partner(kind="ridge", model=model.keep_largest(most_ngrams(1)), chosen=chosen)]


def _to_baseline(found: ScoreBaseline) -> Baseline:
    return Baseline(name=found.name, kind=found.kind, outputs=found.predicted, chosen=found.chosen)


def write_score(number: float) -> str:
    """A number as a display shows it: four digits."""
    return f"{number:.4g}"
