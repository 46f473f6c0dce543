"""Baselines learn from word counts, choose their settings on validation, and are reproducible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretune.scoring.baselines import TextRows, predict_linear, predict_majority, train_ngram_models
from pretune.scoring.metrics import accuracy, macro_f1

WORDS = ("alpha", "beta", "gamma", "delta")


def draw_rows(num_rows: int, shares: list[float], seed: int) -> TextRows:
    """Texts with the word of their class among common ones, or, one time in ten, with the word of any class."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), size=num_rows, p=shares)
    named = np.where(random.random(num_rows) < 0.1, random.integers(len(shares), size=num_rows), labels)
    texts = [f"some {random.integers(50)} words {WORDS[t]} and {random.integers(50)} more" for t in named]
    return TextRows(texts=texts, labels=labels)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_linear_baselines_learn(num_classes: int) -> None:
    shares = [1 / num_classes] * num_classes
    train, validation, test = (draw_rows(n, shares, seed) for seed, n in enumerate((600, 150, 300)))
    found = list(predict_linear(train, validation, test.texts, num_classes))
    assert [baseline.kind for baseline in found] == ["tfidf", "nbsvm"]
    for baseline in found:
        assert accuracy(test.labels, baseline.outputs.argmax(axis=1)) > 0.85
        assert baseline.outputs.sum(axis=1) == pytest.approx(1.0)
        assert {"C", "validation_score"} <= baseline.chosen.keys()
    again = list(predict_linear(train, validation, test.texts, num_classes))
    assert all(np.array_equal(a.outputs, b.outputs) for a, b in zip(found, again, strict=True))


def test_a_rare_class_is_predicted() -> None:
    train, validation, test = (draw_rows(n, [0.95, 0.05], seed) for seed, n in enumerate((800, 200, 400)))
    for baseline in predict_linear(train, validation, test.texts, 2, is_imbalanced=True):
        assert macro_f1(test.labels, baseline.outputs.argmax(axis=1), 2) > 0.65


def test_many_classes_share_a_limited_number_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500 classes and half a million words, a model of all of them would have a gigabyte of weights."""
    monkeypatch.setattr("pretune.scoring.word_features._MOST_WEIGHTS", 40)
    rows = draw_rows(200, [0.25] * 4, 4)
    models = list(train_ngram_models(rows, rows, 4))
    assert [model.weights.shape for _, model, _ in models] == [(10, 4), (10, 4)]
    assert [len(model.ngrams) for _, model, _ in models] == [10, 10]


def test_majority_gives_the_class_frequencies() -> None:
    found = predict_majority(np.array([1, 1, 1, 0]), 3, 3)
    assert found.outputs.tolist() == [[0.25, 0.75, 0.0]] * 3


def test_nbsvm_scales_by_the_log_count_ratio() -> None:
    from scipy.sparse import csr_array

    from pretune.scoring.baselines import _log_count_ratio

    features = csr_array(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32))
    ratio = _log_count_ratio(features, np.array([True, True, False]))
    inside, outside = np.array([3, 2, 1]) / 6, np.array([1, 1, 2]) / 4
    assert ratio == pytest.approx(np.log(inside / outside))


@pytest.mark.slow
def test_sst2_is_no_straw_man(real_data: Path) -> None:
    """Word pairs are known to give some 80 % (phrases overlap with validation, which thus shrinks too little)."""
    from pretune.text.labels.task_rows import read_task_rows
    from pretune.text.splits import assign_splits

    rows, dev = read_task_rows(real_data / "sst2/train.tsv.zst"), read_task_rows(real_data / "sst2/dev.tsv")
    splits = assign_splits(rows.texts, rows.labels, 0.1)
    train, validation = (
        TextRows(
            texts=[text for text, split in zip(rows.texts, splits, strict=True) if split == name],
            labels=np.array([int(label) for label, split in zip(rows.labels, splits, strict=True) if split == name]),
        )
        for name in ("train", "validation")
    )
    labels = np.array([int(label) for label in dev.labels])
    figures = {
        baseline.kind: accuracy(labels, baseline.outputs.argmax(axis=1))
        for baseline in predict_linear(train, validation, dev.texts, 2)
    }
    assert figures["nbsvm"] > 0.785
    assert figures["tfidf"] > 0.80
