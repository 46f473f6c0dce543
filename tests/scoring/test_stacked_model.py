"""The stack is better than its encoder where n-grams know more, survives the disk, and says if it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from pretune.errors import CorruptModelError
from pretune.scoring.baselines import TextRows
from pretune.scoring.stacked_model import NGRAMS_NAME, STACK_NAME, load_stacked, save_stacked, train_stacked

WORDS = ("alpha", "beta", "gamma")


def draw_rows(num_rows: int, seed: int) -> TextRows:
    """Texts in which the word of the class is right four times in five."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=num_rows)
    named = np.where(random.random(num_rows) < 0.3, random.integers(3, size=num_rows), labels)
    return TextRows(
        texts=[f"word {random.integers(30)} {WORDS[t]} and {random.integers(30)}" for t in named], labels=labels
    )


def draw_encoder(rows: TextRows, strength: float, seed: int) -> np.ndarray:
    """Log-probabilities of an encoder whose errors have nothing to do with the words."""
    random = np.random.default_rng(seed)
    return log_softmax(np.eye(3)[rows.labels] * strength + random.normal(size=(len(rows.labels), 3)), axis=1)


def test_a_stack_uses_what_ngrams_know() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((800, 300, 600)))
    stacked = train_stacked(train, validation, draw_encoder(validation, 1.5, seed=9))
    assert stacked.is_better
    alone = draw_encoder(test, 1.5, seed=10)
    combined = stacked.combine(alone, test.texts)
    assert (combined.argmax(axis=1) == test.labels).mean() > (alone.argmax(axis=1) == test.labels).mean() + 0.05
    assert np.exp(combined).sum(axis=1) == pytest.approx(1.0)


def test_labels_that_the_words_do_not_tell_give_no_better_stack() -> None:
    random = np.random.default_rng(3)
    better = 0
    for seed in range(5):
        train, validation = draw_rows(300, seed), draw_rows(300, seed + 50)
        train = TextRows(texts=train.texts, labels=random.permutation(train.labels))
        stacked = train_stacked(train, validation, draw_encoder(validation, 2.0, seed))
        better += stacked.validation["loss_difference"] < -stacked.validation["loss_difference_standard_error"]
    assert better <= 1


def test_files_keep_the_model(tmp_path: Path) -> None:
    train, validation = draw_rows(400, seed=1), draw_rows(200, seed=2)
    encoder = draw_encoder(validation, 1.0, seed=3)
    stacked = train_stacked(train, validation, encoder)
    save_stacked(tmp_path, stacked)
    loaded = load_stacked(tmp_path, 3)
    assert loaded is not None
    assert np.array_equal(loaded.combine(encoder, validation.texts), stacked.combine(encoder, validation.texts))
    assert loaded.validation == stacked.validation


def test_damage_is_named(tmp_path: Path) -> None:
    assert load_stacked(tmp_path, 3) is None
    train, validation = draw_rows(200, seed=1), draw_rows(100, seed=2)
    save_stacked(tmp_path, train_stacked(train, validation, draw_encoder(validation, 1.0, seed=3)))
    with pytest.raises(CorruptModelError, match="another model"):
        load_stacked(tmp_path, 2)
    content = (tmp_path / NGRAMS_NAME).read_bytes()
    (tmp_path / NGRAMS_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptModelError, match="damaged"):
        load_stacked(tmp_path, 3)
    (tmp_path / NGRAMS_NAME).write_bytes(content)
    (tmp_path / STACK_NAME).unlink()
    with pytest.raises(CorruptModelError, match="damaged"):
        load_stacked(tmp_path, 3)
