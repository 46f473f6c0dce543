"""The baselines for rows with several labels: the same labels for every row, and one logistic regression per label.

Shapes: N rows, V features, C labels; labels are given as booleans (N, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pretune.scoring.linear_model import BoolArray, FloatArray, LinearModel, fit_logistic
from pretune.scoring.multilabel import choose_thresholds, predict_labels
from pretune.scoring.ngram_model import NgramModel
from pretune.scoring.word_features import (
    Features,
    count_named_words,
    count_words,
    most_words,
    weigh_named_words,
    weigh_words,
)

_C = (4.0, 1.0, 16.0)  # less than for classes: most labels are rare


@dataclass(frozen=True, kw_only=True)
class LabelSetRows:
    """Texts with their labels (N, C)."""

    texts: Sequence[str]
    labels: BoolArray


@dataclass(frozen=True, kw_only=True)
class LabelSetBaseline:
    """A trained baseline: probabilities (N, C) for the test rows; a label is predicted from its threshold (C,) on."""

    name: str
    kind: str
    probabilities: FloatArray
    thresholds: FloatArray
    chosen: dict[str, float | str]

    @property
    def predicted(self) -> BoolArray:
        """Whether each row has each label (N, C)."""
        return predict_labels(self.probabilities, self.thresholds)


def predict_frequent_labels(train_labels: BoolArray, num_rows: int) -> LabelSetBaseline:
    """The most frequent labels for every row, as many as give the highest micro-F1 on the training rows.

    No other set of labels that is the same for all rows has a higher one. The probabilities are the frequencies.
    """
    counts = train_labels.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    sizes = np.arange(1, len(counts) + 1)
    figures = 2 * counts[order].cumsum() / np.maximum(len(train_labels) * sizes + counts.sum(), 1)
    num_labels = int(figures.argmax()) + 1
    thresholds = np.ones(len(counts))  # a label of all rows, which reaches 1, is always among the best
    thresholds[order[:num_labels]] = 0.0
    return LabelSetBaseline(
        name="the most frequent labels",
        kind="majority",
        probabilities=np.tile(counts / max(len(train_labels), 1), (num_rows, 1)),
        thresholds=thresholds,
        chosen={"labels": num_labels},
    )


def predict_one_vs_rest(train: LabelSetRows, validation: LabelSetRows, test_texts: Sequence[str]) -> LabelSetBaseline:
    """Train TF-IDF + logistic regression for each label; the penalty with the highest micro-F1 on validation is taken.

    For each penalty the thresholds are chosen on the validation rows, as for every model (`choose_thresholds`).
    Raises ValueError if the training texts have no word.
    """
    most = most_words(train.labels.shape[1])
    features = weigh_words(count_words(train.texts, validation.texts, test_texts, most=most))
    model, thresholds, chosen = _fit(features, train, validation)
    return LabelSetBaseline(
        name="TF-IDF + logistic regression per label",
        kind="tfidf",
        probabilities=expit(model.score(features[2])),
        thresholds=thresholds,
        chosen=chosen,
    )


def train_one_vs_rest(train: LabelSetRows, validation: LabelSetRows) -> tuple[NgramModel, dict[str, float | str]]:
    """The model of `predict_one_vs_rest`, whose scores are log-odds, as one that can be kept, and its settings."""
    names, counts = count_named_words(train.texts, validation.texts, most=most_words(train.labels.shape[1]))
    idf, features = weigh_named_words(counts)
    model, _, chosen = _fit(features, train, validation)
    return NgramModel(names, model.weights, model.bias, idf), chosen


def _fit(
    features: Sequence[Features], train: LabelSetRows, validation: LabelSetRows
) -> tuple[LinearModel, FloatArray, dict[str, float | str]]:
    """The model with the best penalty on the features of the training and validation rows, and its thresholds (C,)."""
    best: tuple[float, float, LinearModel, FloatArray] | None = None
    for c in _C:
        model = fit_logistic(features[0], train.labels, c)
        probabilities = expit(model.score(features[1]))
        thresholds = choose_thresholds(probabilities, validation.labels.astype(np.int64))
        figure = _micro_f1(validation.labels, predict_labels(probabilities, thresholds))
        if best is None or figure > best[0]:
            best = figure, c, model, thresholds
    assert best is not None
    figure, c, model, thresholds = best
    return model, thresholds, {"C": c, "validation_score": figure}


def _micro_f1(labels: BoolArray, predicted: BoolArray) -> float:
    total = int(labels.sum()) + int(predicted.sum())
    return 2 * int((labels & predicted).sum()) / total if total else 0.0
