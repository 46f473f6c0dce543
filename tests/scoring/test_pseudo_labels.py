from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pretune.scoring.pseudo_labels import (
    CLIP_NATS,
    KEPT_FRACTION,
    PseudoLabels,
    align,
    clip_scores,
    make_pseudo_labels,
    mean_of_others,
    surest,
)

FloatArray = npt.NDArray[np.float64]
EVEN = np.array([0.5, 0.5])


def log_softmax(scores: FloatArray) -> FloatArray:
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def scores_of(num_classes: int) -> st.SearchStrategy[FloatArray]:
    shape = st.tuples(st.integers(3, 30), st.just(num_classes))
    return arrays.arrays(np.float64, shape, elements=st.floats(-8, 8))


def make_documents(num: int, noise: float, *, is_shared: bool) -> tuple[FloatArray, Any, Any]:
    """Log-probabilities of sentences, their documents, and their true classes, which those of a document share or not.
    The model's log-odds are 2 to the right side, with noise."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(num), 10)
    true = (rng.integers(2, size=num)[documents] if is_shared else rng.integers(2, size=10 * num)).astype(np.int64)
    odds = 2.0 * (2 * true - 1) + noise * rng.normal(size=10 * num)
    return log_softmax(np.stack([np.zeros(10 * num), odds], axis=1)), documents, true


@given(scores_of(3))
def test_clipped_scores_are_at_most_so_far_apart_and_rank_alike(scores: FloatArray) -> None:
    clipped = clip_scores(log_softmax(scores))
    assert (clipped.max(axis=1) - clipped.min(axis=1)).max() <= CLIP_NATS + 1e-9
    np.testing.assert_allclose(clipped.mean(axis=1), 0, atol=1e-9)
    best = scores.argmax(axis=1)
    np.testing.assert_allclose(clipped[np.arange(len(best)), best], clipped.max(axis=1), atol=1e-9)


def test_others_are_those_of_the_same_document() -> None:
    scores = np.array([[1.0, -1.0], [2.0, -2.0], [9.0, -9.0], [6.0, -6.0]])
    means, is_alone = mean_of_others(scores, np.array([7, 7, 3, 7]))
    np.testing.assert_allclose(means[:, 0], [4.0, 3.5, 0.0, 1.5])
    assert is_alone.tolist() == [False, False, True, False]


@given(scores_of(3), st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
def test_aligned_targets_have_the_prior_as_their_mean(scores: FloatArray, weights: list[float]) -> None:
    prior = np.array(weights) / sum(weights)
    targets = align(clip_scores(log_softmax(scores)), prior)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    np.testing.assert_allclose(targets.mean(axis=0), prior, atol=1e-3)


def test_of_each_class_the_surest_are_kept() -> None:
    positive = np.array([0.9, 0.8, 0.6, 0.1, 0.3, 0.45])
    rows = surest(np.stack([1 - positive, positive], axis=1))
    assert rows.tolist() == [0, 1, 3, 4]


def test_smoothing_finds_what_the_sentence_does_not_say() -> None:
    log_probabilities, documents, true = make_documents(100, 4.0, is_shared=True)
    found = make_pseudo_labels(log_probabilities, documents, EVEN)
    alone = make_pseudo_labels(log_probabilities, np.arange(len(documents)), EVEN)

    def accuracy(labels: Any) -> float:
        return float((labels.targets.argmax(axis=1) == true[labels.rows]).mean())

    assert found.is_smoothed
    assert alone.agreement is None
    assert not alone.is_smoothed
    assert accuracy(found) > accuracy(alone) + 0.1
    assert len(found.rows) == pytest.approx(KEPT_FRACTION * len(true), abs=2)


def test_sentences_that_do_not_agree_are_not_smoothed() -> None:
    """Documents whose sentences have nothing in common: the others would only add noise."""
    log_probabilities, documents, _ = make_documents(100, 4.0, is_shared=False)
    found = make_pseudo_labels(log_probabilities, documents, EVEN)
    alone = make_pseudo_labels(log_probabilities, np.arange(len(documents)), EVEN)
    assert found.agreement is not None
    assert abs(found.agreement) < 0.1
    np.testing.assert_array_equal(found.targets, alone.targets)


def test_shuffled_documents_give_nothing() -> None:
    """The control of the experiment: with other neighbours, the targets are those of single sentences."""
    log_probabilities, documents, _ = make_documents(100, 4.0, is_shared=True)
    shuffled = np.random.default_rng(1).permutation(documents)
    assert not make_pseudo_labels(log_probabilities, shuffled, EVEN).is_smoothed


def test_two_classes_are_treated_alike() -> None:
    log_probabilities, documents, _ = make_documents(20, 1.0, is_shared=True)
    one = make_pseudo_labels(log_probabilities, documents, np.array([0.3, 0.7]))
    other = make_pseudo_labels(log_probabilities[:, ::-1].copy(), documents, np.array([0.7, 0.3]))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.targets, other.targets[:, ::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("agreement", "end"),
    [
        (0.345, "of its document by 0.34, so both count."),
        (0.1, "by 0.10, so both count."),
        (0.096, "by 0.096, less than 0.1, so only the sentence itself counts."),
        (-0.25, "by -0.25, less than 0.1, so only the sentence itself counts."),
        (None, ""),
    ],
)
def test_the_agreement_is_told_with_what_follows(agreement: float | None, end: str) -> None:
    found = PseudoLabels(rows=np.arange(1), targets=np.ones((1, 2)), agreement=agreement)
    assert found.describe_agreement().endswith(end)
    assert bool(found.describe_agreement()) == bool(end)


def test_a_class_without_rows_is_no_sentence_s() -> None:
    log_probabilities, documents, _ = make_documents(20, 1.0, is_shared=True)
    found = make_pseudo_labels(log_probabilities, documents, np.array([0.0, 1.0]))
    assert found.targets[:, 0].max() < 1e-3
