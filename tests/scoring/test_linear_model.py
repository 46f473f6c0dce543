"""Logistic regressions of labels and classes are scikit-learn's; a label of all rows or none needs no training."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from pretune.scoring.linear_model import fit_logistic, fit_logistic_classes


def draw(num_rows: int) -> tuple[csr_matrix, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(size=(num_rows, 6)).astype(np.float32)
    return csr_matrix(features), features[:, :3] + 0.5 * random.normal(size=(num_rows, 3)) > 0


def test_scores_are_those_of_scikit_learn() -> None:
    """The same problem solved by another method; `tol=0.1` leaves the third digit open."""
    from sklearn.linear_model import LogisticRegression

    features, labels = draw(400)
    scores = fit_logistic(features, labels, 1.0).score(features)
    for k in range(3):
        # liblinear penalizes the bias as one more weight, the reference does so with a column of ones.
        extended = np.hstack([features.toarray(), np.ones((400, 1))])
        reference = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-8, max_iter=1000).fit(extended, labels[:, k])
        assert scores[:, k] == pytest.approx(reference.decision_function(extended), abs=0.15)
        assert np.corrcoef(scores[:, k], reference.decision_function(extended))[0, 1] > 0.999


def test_a_label_of_all_rows_or_none() -> None:
    features, labels = draw(20)
    labels[:, 0], labels[:, 1] = True, False
    scores = fit_logistic(features, labels, 1.0).score(features)
    assert scores[:, 0].tolist() == [30.0] * 20
    assert scores[:, 1].tolist() == [-30.0] * 20


def test_two_classes_need_one_model() -> None:
    features, labels = draw(60)
    classes = labels[:, 0].astype(np.int64)
    scores = fit_logistic_classes(features, classes, 2, 1.0).score(features)
    assert scores[:, 0] == pytest.approx(-scores[:, 1])
    assert scores[:, 1] == pytest.approx(fit_logistic(features, labels[:, :1], 1.0).score(features)[:, 0])
    assert (scores.argmax(axis=1) == classes).mean() > 0.8
