"""The figures of several labels agree with scikit-learn; thresholds help and do not fit the noise of rare labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from pretune.scoring.metrics import micro_f1_of
from pretune.scoring.multilabel import (
    average_precision,
    choose_thresholds,
    count_labels,
    predict_labels,
    summarize_labels,
)


def draw(num_rows: int, rates: list[float], seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and the probabilities that they were drawn from, with their log-odds moved by `shift`; some rows have
    no label."""
    random = np.random.default_rng(seed)
    log_odds = np.log(np.array(rates) / (1 - np.array(rates))) + 1.5 * random.normal(size=(num_rows, len(rates)))
    targets = random.random(log_odds.shape) < 1 / (1 + np.exp(-log_odds))
    return targets.astype(np.int64), 1 / (1 + np.exp(-log_odds - shift))


def micro_f1(targets: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> float:
    counts = count_labels(targets, predict_labels(probabilities, thresholds))
    return float(micro_f1_of(*(part.sum(axis=0) for part in counts)))


@pytest.mark.parametrize("num_rows", [1, 30, 400])
def test_parity(num_rows: int) -> None:
    targets, probabilities = draw(num_rows, [0.4, 0.2, 0.1, 0.02])
    thresholds = np.array([0.5, 0.3, 0.2, 0.9])
    predicted = (probabilities >= thresholds).astype(np.int64)
    found = summarize_labels(targets, probabilities, thresholds, list("abcd"))
    micro = reference.precision_recall_fscore_support(targets, predicted, average="micro", zero_division=0)
    assert [found["micro_precision"], found["micro_recall"], found["micro_f1"]] == pytest.approx(micro[:3])
    if (targets + predicted).any():
        macro = reference.f1_score(targets, predicted, average="macro", zero_division=np.nan)
        assert found["macro_f1"] == pytest.approx(macro)
    assert found["subset_accuracy"] == pytest.approx(reference.accuracy_score(targets, predicted))
    assert found["hamming_loss"] == pytest.approx(reference.hamming_loss(targets, predicted))
    losses = [reference.log_loss(targets[:, c], probabilities[:, c], labels=[0, 1]) for c in range(4)]
    assert found["loss"] == pytest.approx(np.sum(losses))  # as in the log of a training
    by_label = reference.precision_recall_fscore_support(targets, predicted, average=None, zero_division=0)
    for c, row in enumerate(found["labels"]):
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx([f[c] for f in by_label])
        assert row["threshold"] == thresholds[c]
    ranked = [
        reference.average_precision_score(targets[:, c], probabilities[:, c]) for c in range(4) if targets[:, c].any()
    ]
    assert found["mean_average_precision"] == pytest.approx(np.mean(ranked or [0.0]))
    assert found["labels_per_row"] == pytest.approx(targets.sum(axis=1).mean())
    low, high = found["micro_f1_interval"]
    assert 0.0 <= low <= found["micro_f1"] <= high <= 1.0
    json.dumps(found, allow_nan=False)


@given(
    arrays(np.int64, 15, elements=st.integers(0, 1)).filter(np.any),
    arrays(np.float64, 15, elements=st.sampled_from([0.1, 0.2, 0.5, 0.9])),
)
def test_average_precision_parity_with_equal_scores(targets: np.ndarray, scores: np.ndarray) -> None:
    assert average_precision(targets, scores) == pytest.approx(reference.average_precision_score(targets, scores))


def test_rows_without_labels_are_valid() -> None:
    targets, probabilities = np.zeros((6, 3), dtype=np.int64), np.full((6, 3), 0.1)
    found = summarize_labels(targets, probabilities, choose_thresholds(probabilities, targets), list("abc"))
    assert found["subset_accuracy"] == 1.0
    assert found["hamming_loss"] == found["micro_f1"] == found["mean_average_precision"] == 0.0
    assert [row["threshold"] for row in found["labels"]] == [0.5, 0.5, 0.5]
    json.dumps(found, allow_nan=False)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        summarize_labels(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2)), np.full(2, 0.5), ["a", "b"])


def test_thresholds_of_calibrated_probabilities_are_half_the_best_f1() -> None:
    """Lipton et al. 2014: the threshold with the best F1 is half of that F1."""
    targets, probabilities = draw(20_000, [0.3, 0.2, 0.1])
    thresholds = choose_thresholds(probabilities, targets)
    assert thresholds == pytest.approx(micro_f1(targets, probabilities, thresholds) / 2, abs=0.05)


def test_no_other_thresholds_have_a_better_micro_f1() -> None:
    """With many rows, the rule for rare labels has no say, and Dinkelbach's algorithm finds the best of all choices.

    The common threshold is far from the best here, so that one round of the algorithm is not enough.
    """
    targets, probabilities = draw(20_000, [0.3, 0.3])
    probabilities[:, 1] = 1 - (1 - probabilities[:, 1]) ** 8
    best = micro_f1(targets, probabilities, choose_thresholds(probabilities, targets))
    tried = max(
        micro_f1(targets, probabilities, np.array([a, b]))
        for a in np.linspace(0.2, 0.5, 16)
        for b in np.linspace(0.85, 0.99, 15)
    )
    assert best >= tried - 5e-4


def test_a_probability_that_equals_its_threshold_is_predicted() -> None:
    """Only the threshold 0.5 separates these rows, and it has to reach the probability 0.5 both times."""
    targets = np.repeat([[1], [0]], 50, axis=0)
    probabilities = np.where(targets > 0, 0.5, 0.499)
    assert micro_f1(targets, probabilities, choose_thresholds(probabilities, targets)) == 1.0


def test_a_label_whose_probabilities_are_too_small_gets_a_smaller_threshold() -> None:
    targets, probabilities = draw(3000, [0.2, 0.2])
    _, too_small = draw(3000, [0.2, 0.2], shift=-2.0)
    probabilities[:, 1] = too_small[:, 1]
    thresholds = choose_thresholds(probabilities, targets)
    assert thresholds[1] < thresholds[0] / 2


def test_a_rare_label_takes_the_threshold_of_the_others() -> None:
    targets, probabilities = draw(500, [0.3, 0.3, 0.3])
    alone = np.zeros((500, 1), dtype=np.int64)
    alone[7] = 1  # the only row of the label, and the model gives it next to nothing
    rare = np.full((500, 1), 0.001)
    rare[7] = 0.02
    thresholds = choose_thresholds(np.hstack([probabilities, rare]), np.hstack([targets, alone]))
    assert thresholds[3] == pytest.approx(np.mean(thresholds[:3]), abs=0.1)
    absent = choose_thresholds(np.hstack([probabilities, rare]), np.hstack([targets, 0 * alone]))
    assert absent[3] == pytest.approx(np.mean(absent[:3]), abs=0.1)


@pytest.mark.parametrize("num_rows", [60, 300])
def test_thresholds_of_few_rows_hold_on_others(num_rows: int) -> None:
    rates = [0.3, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01, 0.01]
    targets, probabilities = draw(5000, rates, seed=99)
    gains = []
    for seed in range(20):
        given_targets, given_probabilities = draw(num_rows, rates, seed)
        chosen = choose_thresholds(given_probabilities, given_targets)
        gains.append(micro_f1(targets, probabilities, chosen) - micro_f1(targets, probabilities, np.full(8, 0.5)))
    assert np.mean(gains) > 0.05


@pytest.mark.slow
def test_thresholds_help_on_goemotions(real_data: Path) -> None:
    """The figures in the docstring of `choose_thresholds` are of this kind, with larger features and more rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def read(name: str, limit: int) -> tuple[list[str], np.ndarray]:
        lines = (real_data / "emotion" / name).read_text(encoding="utf-8").splitlines()[:limit]
        targets = np.zeros((len(lines), 28), dtype=np.int64)
        for row, line in zip(targets, lines, strict=True):
            row[[int(label) for label in line.split("\t")[1].split(",")]] = 1
        return [line.split("\t")[0] for line in lines], targets

    texts, targets = read("train.tsv", 6000)
    features = TfidfVectorizer(min_df=2, sublinear_tf=True)
    model = OneVsRestClassifier(LogisticRegression(C=8, solver="liblinear")).fit(features.fit_transform(texts), targets)
    (chosen_on, dev), (measured_on, test) = read("dev.tsv", 1000), read("test.tsv", 5427)
    thresholds = choose_thresholds(model.predict_proba(features.transform(chosen_on)), dev)
    probabilities = model.predict_proba(features.transform(measured_on))
    assert micro_f1(test, probabilities, thresholds) > micro_f1(test, probabilities, np.full(28, 0.5)) + 0.05
