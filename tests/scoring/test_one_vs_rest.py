"""Several labels are learned from words, one by one, and cannot be learned if they are shuffled."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import f1_score

from pretune.scoring.multilabel import choose_thresholds
from pretune.scoring.one_vs_rest import LabelSetRows, predict_frequent_labels, predict_one_vs_rest

WORDS = np.array(["alpha", "beta", "gamma"])
Labels = npt.NDArray[np.bool_]


def draw_rows(num_rows: int, seed: int) -> LabelSetRows:
    """Texts with the words of their labels, none to three of them, among numbers."""
    random = np.random.default_rng(seed)
    labels = random.random((num_rows, 3)) < [0.5, 0.3, 0.1]
    texts = [" ".join([f"n{random.integers(50)}", *WORDS[row], f"n{random.integers(50)}"]) for row in labels]
    return LabelSetRows(texts=texts, labels=labels)


def micro_f1(labels: Labels, predicted: Labels) -> float:
    return float(f1_score(labels, predicted, average="micro", zero_division=0.0))


def test_labels_are_learned_one_by_one() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((300, 80, 200)))
    found = predict_one_vs_rest(train, validation, test.texts)
    assert micro_f1(test.labels, found.predicted) > 0.97
    assert found.chosen["validation_score"] == pytest.approx(
        micro_f1(validation.labels, predict_one_vs_rest(train, validation, validation.texts).predicted)
    )
    again = predict_one_vs_rest(train, validation, test.texts)
    assert np.array_equal(found.probabilities, again.probabilities)


def test_shuffled_labels_give_no_gain() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((300, 80, 200)))
    shuffled = LabelSetRows(texts=train.texts, labels=np.random.default_rng(0).permutation(train.labels))
    constant = micro_f1(test.labels, predict_frequent_labels(train.labels, 200).predicted)
    assert micro_f1(test.labels, predict_one_vs_rest(shuffled, validation, test.texts).predicted) < constant + 0.1


def test_the_thresholds_are_those_of_every_model() -> None:
    train, validation = draw_rows(100, 0), draw_rows(40, 1)
    found = predict_one_vs_rest(train, validation, ["alpha beta", "n1"])
    checked = predict_one_vs_rest(train, validation, validation.texts)
    assert np.array_equal(found.thresholds, choose_thresholds(checked.probabilities, validation.labels))
    assert found.predicted.tolist() == [[True, True, False], [False, False, False]]


def test_a_label_that_training_lacks_has_no_probability() -> None:
    train = LabelSetRows(texts=["alpha", "beta", "alpha x"], labels=np.array([[1, 0], [0, 0], [1, 0]], dtype=bool))
    found = predict_one_vs_rest(train, train, ["beta"])
    assert found.probabilities[0, 1] < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_no_other_constant_answer_is_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((30, 4)) < random.random(4)
    found = predict_frequent_labels(labels, 30)
    answers = [np.tile(np.array(answer, dtype=bool), (30, 1)) for answer in itertools.product((0, 1), repeat=4)]
    assert micro_f1(labels, found.predicted) == pytest.approx(max(micro_f1(labels, answer) for answer in answers))
    assert found.probabilities[0] == pytest.approx(labels.mean(axis=0))


@pytest.mark.slow
def test_go_emotions_is_no_straw_man(real_data: Path) -> None:
    """A third of the training rows; with all of them 0.56 was measured."""

    def read(name: str, step: int) -> LabelSetRows:
        lines = (real_data / f"emotion/{name}.tsv").read_text(encoding="utf-8").splitlines()[::step]
        fields = [line.split("\t") for line in lines]
        labels = np.zeros((len(lines), 28), dtype=bool)
        for row, (_, ids, _) in enumerate(fields):
            labels[row, list(map(int, ids.split(",")))] = True
        return LabelSetRows(texts=[text for text, _, _ in fields], labels=labels)

    test = read("test", 1)
    found = predict_one_vs_rest(read("train", 3), read("dev", 1), test.texts)
    assert micro_f1(test.labels, found.predicted) > 0.5
