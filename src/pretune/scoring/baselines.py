"""From labelled texts to the baselines that a model has to beat: the majority class and two linear models.

Shapes: N rows, V features (words and pairs of words), C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.scoring.baseline import Baseline
from pretune.scoring.linear_model import FloatArray, LinearModel, allocate, fit_column, fit_logistic_classes
from pretune.scoring.metrics import accuracy, log_loss, macro_f1
from pretune.scoring.ngram_model import NgramModel
from pretune.scoring.softmax import softmax
from pretune.scoring.word_features import (
    Features,
    count_named_words,
    count_words,
    most_words,
    weigh_named_words,
    weigh_words,
)

IntArray = npt.NDArray[np.int64]
Choice = dict[str, float | str]
Measure = Callable[[IntArray, IntArray], float]

_C_TFIDF = (16.0, 4.0, 64.0)  # the usual value first, which is used if all are equally good on validation
_C_NBSVM = (1.0, 0.1, 0.01)
_INTERPOLATIONS = (0.5, 0.25, 1.0)
_TEMPERATURES = tuple(2.0**exponent for exponent in range(-5, 6))


@dataclass(frozen=True, kw_only=True)
class TextRows:
    """Texts with their classes, 0 to C - 1."""

    texts: Sequence[str]
    labels: IntArray


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained model, and the settings that it was trained with."""

    model: LinearModel
    chosen: Choice


def predict_majority(train_labels: IntArray, num_rows: int, num_classes: int) -> Baseline:
    """Always the most frequent class; the probabilities are the frequencies of the classes in training."""
    frequencies = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    return Baseline(name="majority class", kind="majority", outputs=np.tile(frequencies, (num_rows, 1)), chosen={})


def predict_linear(
    train: TextRows, validation: TextRows, test_texts: Sequence[str], num_classes: int, *, is_imbalanced: bool = False
) -> Iterator[Baseline]:
    """Train TF-IDF + logistic regression, then NB-SVM, with the settings that are best on the validation rows.

    Words and pairs of words are counted once for both; more than two classes are trained one against the rest. The best
    settings are those with the highest accuracy. With `is_imbalanced` they are those with the highest macro-F1, and
    weighting classes by their rarity is tried too. Probabilities are the softmax of the scores, with a temperature
    fitted on validation.
    """
    counts = count_words(train.texts, validation.texts, test_texts, most=most_words(num_classes))
    class_weights = (None, "balanced") if is_imbalanced else (None,)

    def choose(name: str, kind: str, candidates: Iterator[Candidate], features: list[Features]) -> Baseline:
        measure = measure_of(num_classes, is_imbalanced=is_imbalanced)
        return choose_candidate(name, kind, candidates, features, validation.labels, measure)

    weighted = weigh_words(counts)
    candidates = _iter_tfidf(weighted[0], train.labels, num_classes, class_weights)
    yield choose("TF-IDF + logistic regression", "tfidf", candidates, weighted)
    for features in counts:
        features.data.fill(1.0)  # whether a word occurs, not how often
    yield choose("NB-SVM", "nbsvm", _iter_nbsvm(counts[0], train.labels, num_classes, class_weights), counts)


def train_ngram_models(
    train: TextRows, validation: TextRows, num_classes: int, *, is_imbalanced: bool = False
) -> Iterator[tuple[str, NgramModel, Choice]]:
    """The NB-SVM and then the TF-IDF + logistic regression of `predict_linear` as models that can be kept.

    Each comes as its kind, the model, and the settings that validation chose.
    """
    names, counts = count_named_words(train.texts, validation.texts, most=most_words(num_classes))
    class_weights = (None, "balanced") if is_imbalanced else (None,)
    measure = measure_of(num_classes, is_imbalanced=is_imbalanced)
    idf, weighted = weigh_named_words(counts)
    for features in counts:
        features.data.fill(1.0)
    nbsvm = _iter_nbsvm(counts[0], train.labels, num_classes, class_weights)
    _, best, _ = find_best(nbsvm, counts[1], validation.labels, measure)
    yield "nbsvm", NgramModel(names, best.model.weights, best.model.bias), best.chosen
    tfidf = _iter_tfidf(weighted[0], train.labels, num_classes, class_weights)
    _, best, _ = find_best(tfidf, weighted[1], validation.labels, measure)
    yield "tfidf", NgramModel(names, best.model.weights, best.model.bias, idf), best.chosen


def measure_of(num_classes: int, *, is_imbalanced: bool) -> Measure:
    """The figure by which settings are chosen: accuracy, or macro-F1 for imbalanced classes."""
    return (lambda y, p: macro_f1(y, p, num_classes)) if is_imbalanced else accuracy


def _iter_tfidf(
    features: Features, labels: IntArray, num_classes: int, class_weights: Sequence[str | None]
) -> Iterator[Candidate]:
    for class_weight in class_weights:
        for c in _C_TFIDF:
            model = fit_logistic_classes(features, labels, num_classes, c, class_weight)
            yield Candidate(model=model, chosen={"C": c, "class_weight": class_weight or "none"})


def _iter_nbsvm(
    features: Features, labels: IntArray, num_classes: int, class_weights: Sequence[str | None]
) -> Iterator[Candidate]:
    """Support vector machines on features scaled by their log-count ratio r (Wang and Manning 2012, section 2.3).

    r = log((p / |p|) / (q / |q|)), with p and q the smoothed counts of texts with a feature inside and outside the
    class. The weights w of the machine are interpolated with their mean magnitude: (1 - beta) mean|w| + beta w.
    """
    from scipy.sparse import diags_array
    from sklearn.svm import LinearSVC

    ratios = {k: _log_count_ratio(features, labels == k) for k in _classes_to_train(num_classes)}
    scaled = {k: features @ diags_array(ratio) for k, ratio in ratios.items()} if num_classes == 2 else {}
    for class_weight in class_weights:
        for c in _C_NBSVM:
            fitted = {}
            for k, ratio in ratios.items():
                model = LinearSVC(C=c, class_weight=class_weight, dual=True, tol=0.02, max_iter=300, random_state=0)
                fitted[k] = fit_column(model, scaled[k] if k in scaled else features @ diags_array(ratio), labels == k)
            for beta in _INTERPOLATIONS:
                interpolated = allocate(features, num_classes)
                for k, (w, b) in fitted.items():
                    interpolated.weights[:, k] = ratios[k] * ((1 - beta) * np.abs(w).mean() + beta * w)
                    interpolated.bias[k] = b
                _mirror(interpolated)
                chosen: Choice = {"C": c, "beta": beta, "class_weight": class_weight or "none"}
                yield Candidate(model=interpolated, chosen=chosen)


def _log_count_ratio(features: Features, is_member: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    inside = 1.0 + np.asarray(features[is_member].sum(axis=0), dtype=np.float64).ravel()
    outside = 1.0 + np.asarray(features[~is_member].sum(axis=0), dtype=np.float64).ravel()
    ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
    return np.asarray(ratio, dtype=np.float32)


def _classes_to_train(num_classes: int) -> Sequence[int]:
    """Two classes need only one model: the scores of the other class are its negative."""
    return [1] if num_classes == 2 else range(num_classes)


def _mirror(model: LinearModel) -> None:
    if len(model.bias) == 2:
        model.weights[:, 0], model.bias[0] = -model.weights[:, 1], -model.bias[1]


def choose_candidate(
    name: str,
    kind: str,
    candidates: Iterator[Candidate],
    features: list[Features],
    validation_labels: IntArray,
    measure: Measure,
) -> Baseline:
    """Predict with the candidate that has the best figure on validation; the first of them if several are equal.

    `features` are those of the training, validation and test rows. The probabilities have a temperature that is fitted
    on validation.
    """
    figure, candidate, scores = find_best(candidates, features[1], validation_labels, measure)
    temperature = min(_TEMPERATURES, key=lambda t: log_loss(validation_labels, softmax(scores * t)))
    probabilities = softmax(candidate.model.score(features[2]) * temperature)
    chosen = {**candidate.chosen, "validation_score": figure}
    return Baseline(name=name, kind=kind, outputs=probabilities, chosen=chosen)


def find_best(
    candidates: Iterator[Candidate], features: Features, labels: IntArray, measure: Measure
) -> tuple[float, Candidate, FloatArray]:
    """The first candidate with the highest figure on these rows, that figure, and the candidate's scores (N, C)."""
    best: tuple[float, Candidate, FloatArray] | None = None
    for candidate in candidates:
        scores = candidate.model.score(features)
        figure = measure(labels, scores.argmax(axis=1))
        if best is None or figure > best[0]:
            best = figure, candidate, scores
    assert best is not None
    return best
