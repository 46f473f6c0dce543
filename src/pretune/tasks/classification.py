"""Classification: one class for each text.

N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.scoring.baseline import Baseline
from pretune.scoring.baselines import TextRows, predict_linear, predict_majority, train_ngram_models
from pretune.scoring.metrics import Counts, summarize
from pretune.scoring.pair_features import PairRows, predict_pair_classes
from pretune.scoring.pair_model import train_pair_classifier
from pretune.scoring.partners import Partner, most_ngrams
from pretune.scoring.row_statistics import RowStatistics, accuracy_rows, macro_f1_rows
from pretune.scoring.softmax import softmax
from pretune.scoring.stack import Link
from pretune.tasks.prediction import Prediction
from pretune.tasks.task import Decision, FloatArray, LabelledLines, Line
from pretune.text.labels import checks
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.detect_task import TaskName
from pretune.text.labels.match_classes import match_classes
from pretune.text.labels.words import WordRule
from pretune.text.splits import Split
from pretune.text.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

IntArray = npt.NDArray[np.int64]


class Classification:
    """A label is a class, by its name in the file; predictions are probabilities (N, C)."""

    name: TaskName = "classification"
    counted_as = "classes"
    is_token_level = False
    has_class_weights = True
    link: Link = "softmax"
    prediction: type[Prediction] = Prediction
    usual_metric = "accuracy"
    compared = ("macro_f1", "brier_score", "calibration_error")

    # -- labels --

    def check(self, path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
        checks.check_labels(path, rows, lint, is_named=is_named)

    def strata(self, rows: Sequence[LabeledRow]) -> list[str]:
        return [row.label for row in rows]

    def check_test(self, train: Sequence[LabeledRow], test: Sequence[LabeledRow], path: str, lint: Lint) -> None:
        checks.check_test_labels(train, test, path, lint)

    def check_splits(self, path: str, rows: Sequence[LabeledRow], splits: Sequence[Split], lint: Lint) -> None:
        checks.check_splits(path, rows, splits, lint)

    def check_test_split(self, rows: Sequence[LabeledRow], test: Sequence[LabeledRow], lint: Lint) -> None:
        checks.check_test_split(rows, test, lint)

    def labels(self, rows: Sequence[LabeledRow]) -> list[str]:
        return checks.sort_labels(row.label for row in rows)

    def to_json(self, label: Any, labels: Sequence[str]) -> Any:
        return labels.index(label)

    def from_json(self, value: Any, labels: Sequence[str]) -> Any:
        return labels[value]

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
        return match_classes(labels, places, names, renaming, originals=originals, notes=notes)

    def describe(self, label: Any, text: str, names: Sequence[str], labels: Sequence[str]) -> str:
        return names[labels.index(label)]

    # -- training --

    def output_names(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def word_rule(self, decision: Decision) -> WordRule | None:
        return None

    def choose_metric(self, rows: Sequence[LabeledRow], lint: Lint) -> tuple[str, dict[str, float]]:
        imbalance = checks.imbalance_of(row.label for row in rows)
        facts = {"imbalance": imbalance}
        if imbalance < checks.IMBALANCE:
            return "accuracy", facts
        sentence = (
            f"The largest class has {imbalance:.3g} times as many rows as the smallest, so accuracy is misleading: "
            "early stopping uses macro-F1 on validation, which gives every class the same weight."
        )
        lint.warn("imbalance", len(rows), sentence)
        return "macro_f1", facts

    def targets(
        self, lines: Sequence[Line], num_labels: int, decision: Decision, tokenizer: Tokenizer, max_seq_len: int
    ) -> Targets:
        return Targets.of_rows(self.true_values(lines, ()))

    def places(self, lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> Targets:
        return Targets.of_rows(np.zeros(len(lines), dtype=np.int64))

    def prepare_decision(self, lines: Sequence[Line]) -> Decision:
        return {}

    def label_weights(self, train: Targets, targets: Targets, num_outputs: int) -> npt.NDArray[np.float32]:
        counts = np.maximum(np.bincount(train.values, minlength=num_outputs), 1)
        weights = (len(train) / (len(counts) * counts)).astype(np.float32)
        return weights[targets.values]

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        import torch.nn.functional as F

        classes = labels if labels.ndim == 1 else labels.argmax(-1)  # of the probabilities (M, C) of pseudo-labels
        return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == classes

    # -- results --

    def score_targets(self, logits: FloatArray, targets: Targets) -> tuple[FloatArray, IntArray]:
        probabilities, labels = softmax(logits), targets.values
        given = probabilities[np.arange(len(labels)), labels]
        losses = -np.log(np.maximum(given, np.finfo(np.float64).eps))
        return losses, (probabilities.argmax(axis=1) == labels).astype(np.int64)

    def decide(self, logits: FloatArray, targets: Targets, decision: Decision) -> Decision:
        return decision

    def decode(self, logits: FloatArray, targets: Targets, decision: Decision) -> FloatArray:
        return softmax(logits)

    def true_values(self, lines: Sequence[Line], names: Sequence[str]) -> IntArray:
        return np.array([line["label"] for line in lines], dtype=np.int64)

    def figures(
        self, true: Any, outputs: FloatArray, names: Sequence[str], groups: IntArray | None = None
    ) -> dict[str, Any]:
        return summarize(true, outputs, names, groups)

    def statistics(self, metric: str, true: Any, outputs: FloatArray, names: Sequence[str]) -> RowStatistics:
        predicted = outputs.argmax(axis=1)
        if metric == "macro_f1":
            classes = np.eye(len(names))
            expected, given = classes[true], classes[predicted]
            return macro_f1_rows(Counts(hits=expected * given, support=expected, predicted=given))
        return accuracy_rows(true, predicted)

    def to_fields(self, outputs: FloatArray, index: int) -> dict[str, Any]:
        given = outputs[index]
        return {"predicted": int(given.argmax()), "probabilities": [float(p) for p in given]}

    def from_lines(self, lines: Sequence[Line]) -> FloatArray:
        return np.array([line["probabilities"] for line in lines], dtype=np.float64)

    def to_prediction(
        self, outputs: FloatArray, index: int, names: Sequence[str], text: str, text_pair: str | None = None
    ) -> Prediction:
        given = outputs[index]
        return Prediction(
            text=text,
            text_pair=text_pair,
            label=names[int(given.argmax())],
            probability=float(given.max()),
            probabilities=dict(zip(names, given.tolist(), strict=True)),
        )

    def empty_prediction(self, text: str, text_pair: str | None = None) -> Prediction:
        return Prediction(text=text, text_pair=text_pair, label=None, probability=None, probabilities={})

    def references(self, train: Targets, validation: Targets, num_outputs: int) -> dict[str, float]:
        prior = np.bincount(train.values, minlength=num_outputs) / len(train)
        labels = validation.values
        return {
            "uniform_nats": float(np.log(num_outputs)),
            "prior_nats": float(-np.log(np.maximum(prior, 1e-12))[labels].mean()),
            "majority_share": float((labels == prior.argmax()).mean()),
        }

    def baselines(self, data: LabelledLines) -> Iterator[Baseline]:
        train, validation = (self._text_rows(lines) for lines in (data.train, data.validation))
        num_classes = len(data.names)
        yield predict_majority(train.labels, len(data.test), num_classes)
        if "text_pair" in data.train[0]:
            yield predict_pair_classes(
                self._pair_rows(data.train),
                self._pair_rows(data.validation),
                texts_of_pairs(data.test),
                num_classes,
                is_imbalanced=data.metric == "macro_f1",
            )
            return
        yield from predict_linear(
            train,
            validation,
            [line["text"] for line in data.test],
            num_classes,
            is_imbalanced=data.metric == "macro_f1",
        )

    def partners(self, data: LabelledLines) -> list[Partner]:
        num_classes, is_imbalanced = len(data.names), data.metric == "macro_f1"
        most = most_ngrams(num_classes)
        if "text_pair" in data.train[0]:
            pairs, chosen = train_pair_classifier(
                self._pair_rows(data.train),
                self._pair_rows(data.validation),
                num_classes,
                is_imbalanced=is_imbalanced,
                most=most,
            )
            return [Partner(kind="pair_tfidf", model=pairs, chosen=chosen)]
        found = train_ngram_models(
            self._text_rows(data.train), self._text_rows(data.validation), num_classes, is_imbalanced=is_imbalanced
        )
        return [Partner(kind=kind, model=model.keep_largest(most), chosen=chosen) for kind, model, chosen in found]

    def _pair_rows(self, lines: Sequence[Line]) -> PairRows:
        return PairRows(pairs=texts_of_pairs(lines), labels=self.true_values(lines, ()))

    def _text_rows(self, lines: Sequence[Line]) -> TextRows:
        return TextRows(texts=[line["text"] for line in lines], labels=self.true_values(lines, ()))


def texts_of_pairs(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Both texts of each row of pairs."""
    return [(line["text"], line["text_pair"]) for line in lines]
