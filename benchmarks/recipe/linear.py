"""Linear models of n-grams, and of a base's vectors: fitted log-odds for other texts come out.

Two classes only. TF-IDF with logistic regression, and NB-SVM (Wang and Manning 2012), as the product's baselines.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import loss_at_best_temperature

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_TOKEN_PATTERN = r"\w+|[^\w\s]"
_MANY_ROWS = 10_000
CHOICES: dict[str, tuple[dict[str, float], ...]] = {
    "tfidf": ({"C": 1.0}, {"C": 4.0}, {"C": 16.0}),
    "nbsvm": tuple({"C": c, "beta": beta} for c in (1.0, 0.1, 0.01) for beta in (0.25, 0.5, 1.0)),
}


def featurize(kind: str, train: Sequence[str], others: Sequence[Sequence[str]], longest: int = 2) -> list[Any]:
    """Sparse features of the training texts, and of each list of other texts."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    vectorizer = CountVectorizer(
        ngram_range=(1, longest),
        token_pattern=_TOKEN_PATTERN,
        min_df=2 if len(train) >= _MANY_ROWS else 1,
        dtype=np.float32,
        binary=kind == "nbsvm",
    )
    features = [vectorizer.fit_transform(train), *map(vectorizer.transform, others)]
    if kind == "tfidf":
        transformer = TfidfTransformer(sublinear_tf=True).fit(features[0])
        features = [transformer.transform(each) for each in features]
    return features


def fit_margins(kind: str, features: Sequence[Any], labels: IntArray, chosen: dict[str, float]) -> list[FloatArray]:
    """Log-odds (or margins) of class 1 of a model fitted on the first features, for each of the others."""
    if kind == "tfidf":
        weights, bias = _fit_logistic(features[0], labels, chosen["C"])
    else:
        weights, bias = _fit_nbsvm(features[0], labels, chosen["C"], chosen["beta"])
    return [np.asarray(each @ weights + bias, dtype=np.float64) for each in features[1:]]


def _fit_logistic(features: Any, labels: IntArray, c: float) -> tuple[FloatArray, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, solver="liblinear", dual=True, tol=0.1, max_iter=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(features, labels)
    return model.coef_[0], float(model.intercept_[0])


def _fit_nbsvm(features: Any, labels: IntArray, c: float, beta: float) -> tuple[FloatArray, float]:
    from scipy.sparse import diags_array
    from sklearn.svm import LinearSVC

    counts = [1.0 + np.asarray(features[labels == k].sum(axis=0), dtype=np.float64).ravel() for k in (0, 1)]
    ratio = np.log(counts[1] / counts[1].sum()) - np.log(counts[0] / counts[0].sum())
    model = LinearSVC(C=c, dual=True, tol=0.02, max_iter=300, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(features @ diags_array(ratio.astype(np.float32)), labels)
    w = model.coef_[0]
    return ratio * ((1 - beta) * np.abs(w).mean() + beta * w), float(model.intercept_[0])


def choose(
    kind: str,
    texts: Sequence[str],
    labels: IntArray,
    inner: IntArray,
    longest: int = 2,
    folds: Sequence[int] = range(5),
) -> tuple[dict[str, float], FloatArray]:
    """The settings with the lowest out-of-fold log-loss at its best temperature, and their out-of-fold log-odds (N,).

    `inner` (N,) is the fold of every row; only `folds` are held out in turn, and rows of other folds have NaN.
    """
    found = [np.full(len(texts), np.nan) for _ in CHOICES[kind]]
    for fold in folds:
        held, kept = np.flatnonzero(inner == fold), np.flatnonzero(inner != fold)
        features = featurize(kind, [texts[i] for i in kept], [[texts[i] for i in held]], longest)
        for margins, chosen in zip(found, CHOICES[kind], strict=True):
            [margins[held]] = fit_margins(kind, features, labels[kept], chosen)
    is_known = ~np.isnan(found[0])
    losses = [loss_at_best_temperature(margins[is_known], labels[is_known]) for margins in found]
    best = int(np.argmin(losses))
    return CHOICES[kind][best], found[best]


def fit_probe(vectors: FloatArray, labels: IntArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights (D, 2) and bias (2,) of a logistic regression on vectors (N, D); C by five folds inside these rows."""
    from sklearn.linear_model import LogisticRegressionCV

    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
    grid = 10.0 ** np.arange(-5, 1.1, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegressionCV(Cs=grid, cv=5, scoring="neg_log_loss", max_iter=300).fit(
            (vectors - mean) / deviation, labels
        )
    weights = model.coef_[0] / deviation
    bias = float(model.intercept_[0] - weights @ mean)
    return (
        np.stack([-weights / 2, weights / 2], axis=1).astype(np.float32),
        np.array([-bias / 2, bias / 2], dtype=np.float32),
    )
