"""The model of n-grams scores texts as scikit-learn's vectorizer and a matrix product would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.ngram_model import NgramModel, ngrams_of
from pretune.scoring.word_features import PLAIN_WORDS, find_words

BY_WORDS: dict[str, Any] = {"ngram_range": (1, 2), "tokenizer": find_words, "token_pattern": None}
TEXTS = ["Not good, not GOOD at all!", "good", "a bad  film\nwith é and 你好", ""]


def make_model(seed: int = 0) -> NgramModel:
    ngrams = tuple(sorted({ngram for text in TEXTS[:2] for ngram in ngrams_of(text)}))
    random = np.random.default_rng(seed)
    return NgramModel(ngrams, random.normal(size=(len(ngrams), 3)).astype(np.float32), random.normal(size=3))


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    model = make_model()
    vectorizer = CountVectorizer(vocabulary=model.ngrams, **BY_WORDS, binary=True)
    expected = vectorizer.transform(TEXTS) @ model.weights + model.bias
    assert model.score(TEXTS) == pytest.approx(expected, abs=1e-5)


def test_weighted_scores_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(**BY_WORDS, sublinear_tf=True).fit(TEXTS[:2])
    names = tuple(map(str, vectorizer.get_feature_names_out()))
    random = np.random.default_rng(1)
    weights, bias = random.normal(size=(len(names), 3)).astype(np.float32), random.normal(size=3)
    model = NgramModel(names, weights, bias, vectorizer.idf_.astype(np.float32))
    texts = [*TEXTS, "good good bad unknown"]
    assert model.score(texts) == pytest.approx(vectorizer.transform(texts) @ weights + bias, abs=1e-5)
    for text in texts:
        named, added = model.explain(text)
        assert len(named) == len(added)
        assert added.sum(axis=0) + bias == pytest.approx(model.score([text])[0])
    loaded = NgramModel.from_tensors(model.to_tensors())
    assert np.array_equal(loaded.score(texts), model.score(texts))
    with pytest.raises(ValueError, match="do not belong together"):
        NgramModel.from_tensors({**model.to_tensors(), "bias": bias[1:]})


@given(st.text(max_size=40))
def test_ngrams_are_those_of_scikit_learn(text: str) -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    analyze = CountVectorizer(**BY_WORDS).build_analyzer()
    assert ngrams_of(text) == list(analyze(text))


def test_a_model_keeps_its_rule_for_words() -> None:
    model = NgramModel(("नमस्ते", "ते"), np.array([[1.0], [2.0]], dtype=np.float32), np.zeros(1))
    assert model.score(["नमस्ते दुनिया"]).tolist() == [[1.0]]
    plain = NgramModel.from_tensors(model.to_tensors(), PLAIN_WORDS)
    assert plain.score(["नमस्ते दुनिया", "नमस ते"]).tolist() == [[0.0], [0.0]]
    assert plain.keep_largest(1).words == PLAIN_WORDS


def test_the_largest_weights_are_kept() -> None:
    model = NgramModel(("a", "b", "c"), np.array([[1, -1], [0.1, 0], [-2, 2]], dtype=np.float32), np.zeros(2))
    assert model.keep_largest(2).ngrams == ("a", "c")
    assert model.keep_largest(2).score(["a b c"])[0] == pytest.approx([-1, 1])
    assert model.keep_largest(3) is model
