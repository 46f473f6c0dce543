"""Every figure agrees with scikit-learn, on random predictions of few and many classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from pretune.scoring import metrics


def draw(num_rows: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(num_rows * 100 + num_classes)
    return random.integers(num_classes, size=num_rows), random.dirichlet(np.ones(num_classes), size=num_rows)


@pytest.mark.parametrize(("num_rows", "num_classes"), [(200, 2), (500, 7), (60, 30), (1, 2)])
def test_parity(num_rows: int, num_classes: int) -> None:
    labels, probabilities = draw(num_rows, num_classes)
    predicted = probabilities.argmax(axis=1)
    names = [f"class {c}" for c in range(num_classes)]
    every_class = list(range(num_classes))
    found = metrics.summarize(labels, probabilities, names)
    confusion = reference.confusion_matrix(labels, predicted, labels=every_class)
    assert found["confusion_matrix"] == confusion.tolist()
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro", zero_division=0))
    assert found["loss"] == pytest.approx(reference.log_loss(labels, probabilities, labels=every_class))
    if num_rows > 1:  # scikit-learn tells the number of classes by the rows
        brier = reference.brier_score_loss(labels, probabilities, labels=every_class)
        assert found["brier_score"] == pytest.approx(brier)
    by_class = reference.precision_recall_fscore_support(labels, predicted, labels=every_class, zero_division=0)
    for c, row in enumerate(found["classes"]):
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx([f[c] for f in by_class])
    assert found["n"] == num_rows


def test_a_class_that_never_occurs_does_not_count() -> None:
    assert metrics.macro_f1(np.array([0, 0, 1]), np.array([0, 0, 1]), 5) == 1.0


def test_the_loss_of_certain_and_wrong_is_finite() -> None:
    loss = metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]]))
    assert 30 < loss < 40


def calibrated_rows(num_rows: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them."""
    random = np.random.default_rng(5)
    probabilities = random.dirichlet(np.full(num_classes, 0.5), size=num_rows)
    edges = probabilities.cumsum(axis=1)
    labels = (random.random((num_rows, 1)) > edges[:, :-1]).sum(axis=1)
    return labels, probabilities


@pytest.mark.parametrize("num_classes", [2, 5])
def test_calibrated_probabilities_have_almost_no_calibration_error(num_classes: int) -> None:
    labels, probabilities = calibrated_rows(50_000, num_classes)
    assert metrics.calibration_error(labels, probabilities) < 0.01
    sharper = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert metrics.calibration_error(labels, sharper) > 0.05
    assert metrics.brier_score(labels, sharper) > metrics.brier_score(labels, probabilities)


def test_the_calibration_error_by_hand() -> None:
    """Two of the fifteen bins are used: 0.62 with one of two correct, 1.0 with one of one correct."""
    probabilities = np.array([[0.62, 0.38], [0.38, 0.62], [1.0, 0.0]])
    found = metrics.calibration_error(np.array([0, 0, 0]), probabilities)
    assert found == pytest.approx(2 / 3 * 0.12)


def test_a_probability_on_an_edge_belongs_to_the_bin_below_it() -> None:
    """Bins are open below and closed above, so 0.6 = 9/15 and 0.59 share one, where their errors cancel."""
    probabilities = np.array([[0.6, 0.4], [0.59, 0.41]])
    assert metrics.calibration_error(np.array([0, 1]), probabilities) == pytest.approx(abs(0.5 - 0.595))


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        metrics.summarize(np.array([], dtype=np.int64), np.zeros((0, 2)), ["a", "b"])


def test_weighted_rows_count_as_often_as_they_weigh() -> None:
    labels, probabilities = draw(50, 3)
    predicted = probabilities.argmax(axis=1)
    weights = np.arange(50) % 4
    true, given = np.eye(3)[labels], np.eye(3)[predicted]
    found = metrics.macro_f1_of(weights @ (true * given), weights @ true, weights @ given)
    assert found == pytest.approx(metrics.macro_f1(labels.repeat(weights), predicted.repeat(weights), 3))
