"""A stack finds what its models know, and gains nothing from partners without information."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pretune.scoring.metrics import accuracy, log_loss
from pretune.scoring.stack import Link, Stack, crossfit, fit_stack, row_losses, standard_error, weigh_rare_classes

FloatArray = npt.NDArray[np.float64]


def draw(num_rows: int, classes: int, seed: int) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Labels, and scores (N, C) of two models that err independently."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=num_rows)
    truth = np.eye(classes)[labels]
    a, b = (truth * strength + random.normal(size=(num_rows, classes)) for strength in (1.5, 1.2))
    return labels, a, b


@pytest.mark.parametrize("classes", [2, 5])
def test_two_models_are_better_than_one(classes: int) -> None:
    labels, a, b = draw(3000, classes, seed=1)
    alone, both = crossfit([a], labels), crossfit([a, b], labels)
    assert log_loss(labels, np.exp(both)) < log_loss(labels, np.exp(alone)) - 0.05
    assert accuracy(labels, both.argmax(axis=1)) > accuracy(labels, alone.argmax(axis=1)) + 0.02


@pytest.mark.parametrize("classes", [2, 5])
def test_a_shuffled_partner_gives_no_gain(classes: int) -> None:
    """If a stack gained from rows that belong to others, its weights would have been fitted on the scored rows."""
    gains = []
    for seed in range(10):
        labels, a, b = draw(1000, classes, seed)
        shuffled = np.random.default_rng(seed).permutation(b)
        alone, both = crossfit([a], labels), crossfit([a, shuffled], labels)
        gains.append(log_loss(labels, np.exp(alone)) - log_loss(labels, np.exp(both)))
    assert np.mean(gains) < 0.001


def test_the_other_links_agree_with_scikit_learn() -> None:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    labels, a, b = draw(5000, 2, seed=2)
    truth = np.eye(2)[labels]
    odds = [a[:, :1] - 0.7, b[:, :1] - 0.6]
    expected = LogisticRegression(C=np.inf).fit(np.hstack(odds), truth[:, 0]).coef_[0]
    assert fit_stack(odds, truth[:, :1], "sigmoid").weights == pytest.approx(expected, rel=0.01)
    numbers = 0.4 * a[:, 0] + 0.8 * b[:, 0] - 0.5 + np.random.default_rng(0).normal(size=5000)
    found = fit_stack(odds, numbers, "identity")
    reference = LinearRegression().fit(np.hstack(odds), numbers)
    assert found.weights == pytest.approx(reference.coef_, rel=0.01)
    assert found.combine(odds)[:, 0] == pytest.approx(reference.predict(np.hstack(odds)), abs=0.01)


def test_rows_of_a_group_are_scored_by_a_stack_without_them() -> None:
    """Copies of a row, each with the same random label, are learned by heart if they are in several folds."""
    random = np.random.default_rng(0)
    copies = np.repeat(np.arange(40), 25)
    labels, scores = random.integers(2, size=40)[copies], random.normal(size=(40, 2))[copies]
    apart, together = (
        row_losses(crossfit([scores], labels, groups=groups), labels).mean() for groups in (None, copies)
    )
    assert together > apart
    assert standard_error(np.where(labels, 1.0, -1.0), copies) > 4 * standard_error(
        np.where(labels, 1.0, -1.0), np.arange(len(labels))
    )


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_a_row_of_weight_two_counts_as_two_rows(link: Link) -> None:
    labels, a, b = draw(300, 2, seed=3)
    targets = labels if link == "softmax" else np.eye(2)[labels]
    twice = np.arange(0, 300, 3)
    weights = np.ones(300)
    weights[twice] = 2.0
    repeated = np.concatenate([np.arange(300), twice])
    scales = [each[repeated].std() / each.std() for each in (a, b)]  # the penalty is on standardised scores
    assert scales == pytest.approx([1, 1], abs=0.05)
    weighted = fit_stack([a, b], targets, link, weights)
    expected = fit_stack([a[repeated], b[repeated]], targets[repeated], link)
    assert weighted.weights == pytest.approx(expected.weights, rel=0.01)
    assert weighted.bias == pytest.approx(expected.bias, abs=0.01)


def test_rows_of_a_class_four_times_as_rare_weigh_twice_as_much() -> None:
    weights = weigh_rare_classes(np.array([0] * 8 + [2] * 2))
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] == pytest.approx(2 * weights[0])


def test_weights_agree_with_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    labels, a, b = draw(5000, 2, seed=2)
    features = np.stack([a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]], axis=1)
    expected = LogisticRegression(C=np.inf).fit(features, labels).coef_[0]
    assert fit_stack([a, b], labels).weights == pytest.approx(expected, rel=0.01)


def test_parts_add_up_to_the_decision() -> None:
    labels, a, b = draw(400, 3, seed=3)
    stack = fit_stack([a, b], labels)
    found = stack.combine([a, b])
    assert np.exp(found).sum(axis=1) == pytest.approx(1.0)
    total = stack.parts([a, b]).sum(axis=0)
    assert total - total[:, :1] == pytest.approx(found - found[:, :1])


def test_the_bias_corrects_the_frequencies_of_classes() -> None:
    labels, a, _ = draw(4000, 2, seed=4)
    skewed = a + np.array([3.0, 0.0])
    assert accuracy(labels, fit_stack([skewed], labels).combine([skewed]).argmax(axis=1)) == pytest.approx(
        accuracy(labels, a.argmax(axis=1)), abs=0.01
    )


def test_a_useless_model_gets_no_weight() -> None:
    labels, a, b = draw(4000, 2, seed=5)
    stack = fit_stack([a, -b], labels)
    assert stack.weights[1] == 0.0
    assert isinstance(stack, Stack)


def test_the_loss_of_a_number_is_the_squared_error_as_in_training() -> None:
    """It was half of it, so that the message about a stack gave another loss than the training trace."""
    combined, numbers = np.array([[1.0], [-2.0]]), np.array([0.5, 1.0])
    assert row_losses(combined, numbers, "identity") == pytest.approx([0.25, 9.0])
