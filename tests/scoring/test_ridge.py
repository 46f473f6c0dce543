"""Scores are learned from words, as by a pipeline of scikit-learn, and cannot be learned if they are shuffled."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.scoring.ridge import ScoredRows, choose_ridge, predict_mean, predict_ridge

WORDS = ("bad", "poor", "fair", "good", "great")


def draw_rows(num_rows: int, seed: int) -> ScoredRows:
    """Three words a text, whose places in the list add up to the score."""
    random = np.random.default_rng(seed)
    places = random.integers(len(WORDS), size=(num_rows, 3))
    return ScoredRows(texts=[" ".join(WORDS[p] for p in row) for row in places], scores=10.0 + places.sum(axis=1))


def correlation(test: ScoredRows, predicted: np.ndarray) -> float:
    return float(np.corrcoef(test.scores, predicted)[0, 1])


def test_scores_are_learned_in_their_units() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((300, 60, 100)))
    found = predict_ridge(train, validation, test.texts)
    assert correlation(test, found.predicted) > 0.97
    assert np.abs(test.scores - found.predicted).mean() < 0.5
    assert found.chosen["validation_score"] > 0.97
    assert np.array_equal(found.predicted, predict_ridge(train, validation, test.texts).predicted)


def test_shuffled_scores_give_no_gain() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((300, 60, 100)))
    shuffled = ScoredRows(texts=train.texts, scores=np.random.default_rng(0).permutation(train.scores))
    found, mean = predict_ridge(shuffled, validation, test.texts), predict_mean(train.scores, 100)
    errors = [np.abs(test.scores - baseline.predicted).mean() for baseline in (found, mean)]
    assert errors[0] > 0.95 * errors[1]


def test_predictions_are_those_of_a_pipeline_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((80, 30, 30)))
    found = predict_ridge(train, validation, test.texts)
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    reference = make_pipeline(words, Ridge(alpha=float(found.chosen["alpha"]), solver="sparse_cg", tol=1e-8))
    expected = reference.fit(train.texts, train.scores).predict(test.texts)
    assert found.predicted == pytest.approx(expected, abs=1e-2)


def test_the_penalty_with_the_highest_correlation_is_chosen() -> None:
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    features = [random.normal(size=(n, 20)) for n in (25, 200, 10)]
    scores = [table[:, 0] + random.normal(size=len(table)) for table in features]
    found = choose_ridge("", "", features, scores[0], scores[1])
    figures = {
        alpha: np.corrcoef(scores[1], Ridge(alpha=alpha).fit(features[0], scores[0]).predict(features[1]))[0, 1]
        for alpha in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    }
    assert found.chosen["alpha"] == max(figures, key=figures.__getitem__)
    assert found.chosen["validation_score"] == pytest.approx(max(figures.values()), abs=1e-3)


def test_scores_all_alike() -> None:
    rows = ScoredRows(texts=["one", "two", "three"], scores=np.full(3, 2.5))
    found = predict_ridge(rows, rows, ["one", "four"])
    assert found.predicted == pytest.approx([2.5, 2.5])
    assert found.chosen["validation_score"] == 0.0


def test_the_mean() -> None:
    assert predict_mean(np.array([1.0, 2.0, 6.0]), 2).predicted.tolist() == [3.0, 3.0]
