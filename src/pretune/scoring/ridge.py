"""The baselines for scores: the mean of the training rows, and ridge regression on words and pairs of words.

Shapes: N rows, V features; scores are in the units of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.scoring.linear_model import LinearModel
from pretune.scoring.ngram_model import NgramModel
from pretune.scoring.word_features import Features, count_named_words, count_words, weigh_named_words, weigh_words

FloatArray = npt.NDArray[np.float64]

_ALPHAS = (1.0, 0.1, 0.3, 3.0, 10.0, 30.0)  # the usual value first, used if all are equally good on validation


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """Texts with their scores (N,)."""

    texts: Sequence[str]
    scores: FloatArray


@dataclass(frozen=True, kw_only=True)
class ScoreBaseline:
    """A trained baseline: predicted scores (N,) for the test rows, and the settings that validation chose."""

    name: str
    kind: str
    predicted: FloatArray
    chosen: dict[str, float | str]


def predict_mean(train_scores: FloatArray, num_rows: int) -> ScoreBaseline:
    """The mean of the training rows for every row."""
    return ScoreBaseline(
        name="mean", kind="mean", predicted=np.full(num_rows, np.mean(train_scores, dtype=np.float64)), chosen={}
    )


def predict_ridge(train: ScoredRows, validation: ScoredRows, test_texts: Sequence[str]) -> ScoreBaseline:
    """Train ridge regression on TF-IDF, with the penalty that gives the highest correlation (Pearson) on validation.

    Raises ValueError if the training texts have no word.
    """
    features = weigh_words(count_words(train.texts, validation.texts, test_texts))
    return choose_ridge("TF-IDF + ridge regression", "ridge", features, train.scores, validation.scores)


def train_ridge(train: ScoredRows, validation: ScoredRows) -> tuple[NgramModel, dict[str, float | str]]:
    """The model of `predict_ridge` as one that can be kept, and the settings that validation chose."""
    names, counts = count_named_words(train.texts, validation.texts)
    idf, features = weigh_named_words(counts)
    model, chosen = fit_ridge(features, train.scores, validation.scores)
    return NgramModel(names, model.weights, model.bias, idf), chosen


def choose_ridge(
    name: str, kind: str, features: Sequence[Features], train_scores: FloatArray, validation_scores: FloatArray
) -> ScoreBaseline:
    """Ridge regression on the features of the training, validation and test rows; validation chooses the penalty."""
    model, chosen = fit_ridge(features, train_scores, validation_scores)
    return ScoreBaseline(name=name, kind=kind, predicted=model.score(features[2])[:, 0], chosen=chosen)


def fit_ridge(
    features: Sequence[Features], train_scores: FloatArray, validation_scores: FloatArray
) -> tuple[LinearModel, dict[str, float | str]]:
    """Ridge regression on the features of the training and validation rows, with one column, and the penalty with the
    highest correlation (Pearson) on validation."""
    from sklearn.linear_model import Ridge

    best: tuple[float, float, LinearModel] | None = None
    for alpha in _ALPHAS:
        # Conjugate gradients take sparse features with an intercept, and start from zero: no random numbers.
        ridge = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-4).fit(features[0], train_scores)
        model = LinearModel(weights=ridge.coef_[:, None].astype(np.float32), bias=np.array([float(ridge.intercept_)]))
        figure = _pearson(validation_scores, model.score(features[1])[:, 0])
        if best is None or figure > best[0]:
            best = figure, alpha, model
    assert best is not None
    figure, alpha, model = best
    return model, {"alpha": alpha, "validation_score": figure}


def _pearson(scores: FloatArray, predicted: FloatArray) -> float:
    """The correlation of two lists (N,); 0 if one of them is constant."""
    a, b = scores - scores.mean(), predicted - predicted.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
