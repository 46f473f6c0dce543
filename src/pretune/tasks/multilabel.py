"""Several labels: any number of labels for each text, also none.

N rows, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.scoring.baseline import Baseline
from pretune.scoring.metrics import Counts
from pretune.scoring.multilabel import choose_thresholds, count_labels, predict_labels, summarize_labels
from pretune.scoring.one_vs_rest import (
    LabelSetBaseline,
    LabelSetRows,
    predict_frequent_labels,
    predict_one_vs_rest,
    train_one_vs_rest,
)
from pretune.scoring.partners import Partner, most_ngrams
from pretune.scoring.row_statistics import RowStatistics, macro_f1_rows, micro_f1_rows
from pretune.scoring.stack import Link
from pretune.tasks.prediction import LabelsPrediction, Prediction
from pretune.tasks.task import Decision, FloatArray, LabelledLines, Line
from pretune.text.labels.checks import FEW_ROWS, LabeledRow, Lint, refuse_single_rows, single_labels, sort_labels
from pretune.text.labels.detect_task import TaskName
from pretune.text.labels.match_classes import match_classes
from pretune.text.labels.named_labels import NamedLabels
from pretune.text.labels.target_checks import refuse_alike
from pretune.text.labels.words import WordRule
from pretune.text.reading_report import counted, join_names, shorten
from pretune.text.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelOutputs:
    """The predictions for N rows: a label is predicted where its probability (N, C) reaches its threshold (C,)."""

    probabilities: FloatArray
    thresholds: FloatArray

    @property
    def predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each label is predicted for each row (N, C)."""
        return predict_labels(self.probabilities, self.thresholds)


class Multilabel(NamedLabels):
    """A label is a tuple of names; each has its own probability, and a threshold that validation chose."""

    name: TaskName = "multilabel"
    counted_as = "labels"
    is_token_level = False
    has_class_weights = False
    link: Link = "sigmoid"
    prediction: type[Prediction] = LabelsPrediction
    usual_metric = "micro_f1"
    compared = ("macro_f1", "subset_accuracy", "mean_average_precision")

    # -- labels --

    def check(self, path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
        refuse_alike(path, [row.label for row in rows], self.name)
        counts = Counter(name for row in rows for name in row.label)
        if singles := single_labels(counts):
            row = next(row for row in rows if next(iter(singles)) in row.label)
            refuse_single_rows(path, row.line, singles, counts, "label", "labels")
        few = [name for name in sort_labels(counts) if counts[name] < FEW_ROWS]
        named = join_names(f"{shorten(name, 40)} {counts[name]}" for name in few)
        lint.warn("few_rows", len(few), f"{self.count(len(few))} with fewer than {FEW_ROWS} rows: {named}.")
        without = sum(not row.label for row in rows)
        have = counted(without, "row has", "rows have")
        lint.warn("no_labels", without, f"{path}: {have} none of the labels; kept, since that is an answer too.")

    def to_json(self, label: Any, labels: Sequence[str]) -> Any:
        place = {name: index for index, name in enumerate(labels)}
        return sorted(place[name] for name in label)

    def from_json(self, value: Any, labels: Sequence[str]) -> Any:
        return tuple(labels[index] for index in value)

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
        every = [name for row in labels for name in row]
        where = [place for row, place in zip(labels, places, strict=True) for _ in row]
        matched = iter(match_classes(every, where, names, renaming, originals=originals, notes=notes))
        return [sorted(next(matched) for _ in row) for row in labels]

    def describe(self, label: Any, text: str, names: Sequence[str], labels: Sequence[str]) -> str:
        return join_labels(names[index] for index in self.to_json(label, labels))

    # -- training --

    def output_names(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def word_rule(self, decision: Decision) -> WordRule | None:
        return None

    def choose_metric(self, rows: Sequence[LabeledRow], lint: Lint) -> tuple[str, dict[str, float]]:
        return "micro_f1", {"labels_per_row": sum(len(row.label) for row in rows) / len(rows)}

    def targets(
        self, lines: Sequence[Line], num_labels: int, decision: Decision, tokenizer: Tokenizer, max_seq_len: int
    ) -> Targets:
        values = np.zeros((len(lines), num_labels), dtype=np.float32)
        for row, line in enumerate(lines):
            values[row, line["label"]] = 1.0
        return Targets.of_rows(values)

    def places(self, lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> Targets:
        return Targets.of_rows(np.zeros((len(lines), 0), dtype=np.float32))

    def prepare_decision(self, lines: Sequence[Line]) -> Decision:
        return {}

    def label_weights(self, train: Targets, targets: Targets, num_outputs: int) -> npt.NDArray[np.float32]:
        return np.ones(len(targets), dtype=np.float32)  # every label is a decision of its own in every row

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        import torch.nn.functional as F

        losses = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")
        return losses.sum(-1), ((logits > 0) == (labels > 0)).all(-1)

    # -- results --

    def score_targets(self, logits: FloatArray, targets: Targets) -> tuple[FloatArray, IntArray]:
        true = targets.values > 0
        losses = np.logaddexp(0.0, np.where(true, -logits, logits)).sum(axis=1)
        return losses, ((logits > 0) == true).all(axis=1).astype(np.int64)

    def decide(self, logits: FloatArray, targets: Targets, decision: Decision) -> Decision:
        thresholds = choose_thresholds(sigmoid(logits), targets.values.astype(np.int64))
        return {"thresholds": [round(float(each), 6) for each in thresholds]}

    def decode(self, logits: FloatArray, targets: Targets, decision: Decision) -> LabelOutputs:
        thresholds = decision.get("thresholds", [0.5] * logits.shape[1])
        return LabelOutputs(probabilities=sigmoid(logits), thresholds=np.array(thresholds, dtype=np.float64))

    def true_values(self, lines: Sequence[Line], names: Sequence[str]) -> IntArray:
        values = np.zeros((len(lines), len(names)), dtype=np.int64)
        for row, line in enumerate(lines):
            values[row, line["label"]] = 1
        return values

    def figures(
        self, true: Any, outputs: LabelOutputs, names: Sequence[str], groups: IntArray | None = None
    ) -> dict[str, Any]:
        return summarize_labels(true, outputs.probabilities, outputs.thresholds, names, groups)

    def statistics(self, metric: str, true: Any, outputs: LabelOutputs, names: Sequence[str]) -> RowStatistics:
        counts: Counts = count_labels(true, outputs.predicted)
        return macro_f1_rows(counts) if metric == "macro_f1" else micro_f1_rows(counts)

    def to_fields(self, outputs: LabelOutputs, index: int) -> dict[str, Any]:
        return {
            "predicted": np.flatnonzero(outputs.predicted[index]).tolist(),
            "probabilities": [float(p) for p in outputs.probabilities[index]],
        }

    def from_lines(self, lines: Sequence[Line]) -> LabelOutputs:
        """With thresholds between the predicted and the other rows of each label, as nothing else is known of them."""
        probabilities = np.array([line["probabilities"] for line in lines], dtype=np.float64)
        predicted = np.zeros(probabilities.shape, dtype=np.bool_)
        for row, line in enumerate(lines):
            predicted[row, line["predicted"]] = True
        thresholds = np.where(predicted, probabilities, np.inf).min(axis=0)
        return LabelOutputs(probabilities=probabilities, thresholds=thresholds)

    def to_prediction(
        self, outputs: LabelOutputs, index: int, names: Sequence[str], text: str, text_pair: str | None = None
    ) -> LabelsPrediction:
        given = outputs.probabilities[index]
        labels = tuple(names[place] for place in np.flatnonzero(outputs.predicted[index]).tolist())
        return LabelsPrediction(
            text=text,
            text_pair=text_pair,
            label=join_labels(labels),
            probability=None,
            probabilities=dict(zip(names, given.tolist(), strict=True)),
            labels=labels,
        )

    def empty_prediction(self, text: str, text_pair: str | None = None) -> LabelsPrediction:
        return LabelsPrediction(
            text=text, text_pair=text_pair, label=None, probability=None, probabilities={}, labels=()
        )

    def references(self, train: Targets, validation: Targets, num_outputs: int) -> dict[str, float]:
        prior = np.clip(train.values.mean(axis=0, dtype=np.float64), 1e-6, 1 - 1e-6)
        true = validation.values > 0
        return {
            "uniform_nats": float(num_outputs * np.log(2)),
            "prior_nats": float(-np.log(np.where(true, prior, 1 - prior)).sum(axis=1).mean()),
        }

    def baselines(self, data: LabelledLines) -> Iterator[Baseline]:
        train, validation = (self._label_set_rows(lines, data.names) for lines in (data.train, data.validation))
        yield _to_baseline(predict_frequent_labels(train.labels, len(data.test)))
        texts = [line["text"] for line in data.test]
        yield _to_baseline(predict_one_vs_rest(train, validation, texts))

    def partners(self, data: LabelledLines) -> list[Partner]:
        if "text_pair" in data.train[0]:
            return []
        train, validation = (self._label_set_rows(lines, data.names) for lines in (data.train, data.validation))
        model, chosen = train_one_vs_rest(train, validation)
        return [Partner(kind="tfidf", model=model.keep_largest(most_ngrams(len(data.names))), chosen=chosen)]

    def _label_set_rows(self, lines: Sequence[Line], names: Sequence[str]) -> LabelSetRows:
        return LabelSetRows(
            texts=[line["text"] for line in lines], labels=self.true_values(lines, names).astype(np.bool_)
        )


def _to_baseline(found: LabelSetBaseline) -> Baseline:
    outputs = LabelOutputs(probabilities=found.probabilities, thresholds=found.thresholds)
    return Baseline(name=found.name, kind=found.kind, outputs=outputs, chosen=found.chosen)


def join_labels(names: Any) -> str:
    """Labels as a display shows them."""
    return ", ".join(names) or NamedLabels.none


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities (N, C), computed in double precision; one half for NaN."""
    from scipy.special import expit

    return np.asarray(np.nan_to_num(expit(logits), nan=0.5))
