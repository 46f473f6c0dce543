"""Words and pairs of words are counted and weighed as by scikit-learn's own pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.ngram_model import ngrams_of
from pretune.scoring.word_features import PLAIN_WORDS, count_words, find_words, weigh_words
from pretune.text.clean.normalize import clean_text

TRAIN = ["A good film!", "a good, good idea", "bad film"]


def test_words_and_pairs_of_the_training_texts_are_counted() -> None:
    train, test = count_words(TRAIN, ["good good film unseen"])
    assert test.shape[1] == train.shape[1]
    assert test.sum() == 4  # "good" twice, "film", and "good film"; neither "good good" nor "unseen" is known
    assert train.sum() == sum((4 + 3, 5 + 4, 2 + 1))


def test_weights_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    reference = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    expected = [reference.fit_transform(TRAIN), reference.transform(["good film"])]
    for features, matrix in zip(weigh_words(count_words(TRAIN, ["good film"])), expected, strict=True):
        assert features.toarray() == pytest.approx(matrix.toarray(), abs=1e-6)


def test_many_texts_drop_what_occurs_once() -> None:
    texts = ["same words"] * 9_999 + ["only here"]
    assert count_words(texts)[0].shape[1] == 3
    assert count_words(texts[-2:])[0].shape[1] == 6


def test_many_texts_without_a_common_word_keep_what_occurs_once() -> None:
    """scikit-learn's "After pruning, no terms remain" ended a run after its training."""
    train, test = count_words([f"w{number}" for number in range(10_000)], ["w7 w8"])
    assert train.shape == (10_000, 10_000)
    assert test.sum() == 2


@given(st.text())
def test_every_clean_text_has_a_word(text: str) -> None:
    """So prepared rows never leave the linear models without a feature."""
    clean = clean_text(text)
    assert bool(clean) == bool(ngrams_of(clean))


def test_no_texts_to_predict() -> None:
    assert count_words(TRAIN, [])[1].shape[0] == 0
    with pytest.raises(ValueError, match="vocabulary"):
        count_words([" ", ""])


def test_features_are_float32() -> None:
    assert weigh_words(count_words(TRAIN))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("नमस्ते दुनिया!", ["नमस्ते", "दुनिया", "!"]),
        ("கண்ணாடி, ঘরে", ["கண்ணாடி", ",", "ঘরে"]),
        ("كَتَبَ", ["كَتَبَ"]),
        ("茶杯。A3纸", ["茶", "杯", "。", "A3", "纸"]),
        ("ที่นี่", ["ที่", "นี่"]),  # a character with its marks
        ("나는 갔다", ["나는", "갔다"]),
        ("❤\ufe0fgreat 1\ufe0f\u20e3", ["❤", "\ufe0f", "great", "1", "\ufe0f", "\u20e3"]),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert find_words(text) == words


@given(st.text(st.characters(max_codepoint=0x0482)))
def test_words_of_latin_text_are_those_of_earlier_models(text: str) -> None:
    assert find_words(text) == find_words(text, PLAIN_WORDS)


def test_a_rule_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="'other' for words is unknown"):
        find_words("a", "other")
