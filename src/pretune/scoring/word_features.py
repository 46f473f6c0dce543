"""From texts to counts of their words and pairs of words, the features of every linear baseline that reads texts.

Shapes: N texts, V features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.text.arrays.scripts import word_expression

Features = Any  # a scipy.sparse matrix (N, V)

WordRule = str  # how a text is cut into words; saved with a model, so that it always reads the same features
PLAIN_WORDS = "plain"  # of models that name no rule, saved by pretune 0.3: `\w+`, which cuts words apart at marks
WORDS_OF_SCRIPTS = "scripts"  # marks belong to words; in scripts without blanks, each character is a word
_MOST_WEIGHTS = 50_000_000  # of a model in training, over all classes: 200 MB for each of a few tables
_MANY_ROWS = 10_000  # with this many training texts, features that occur in a single text are left out


def find_words(text: str, rule: WordRule = WORDS_OF_SCRIPTS) -> list[str]:
    """The words of a text, and every punctuation mark on its own: "!" is informative in a review.

    Raises ValueError for an unknown rule. Of Latin text, both rules find the same.
    """
    pattern = _pattern_of(rule)
    return (_pattern_of(PLAIN_WORDS) if text.isascii() else pattern).findall(text)


@cache
def _pattern_of(rule: WordRule) -> re.Pattern[str]:
    if rule not in (PLAIN_WORDS, WORDS_OF_SCRIPTS):
        raise ValueError(f"the rule {rule!r} for words is unknown")
    word = r"\w+" if rule == PLAIN_WORDS else word_expression()
    return re.compile(rf"{word}|[^\w\s]")


def count_words(train_texts: Sequence[str], *others: Sequence[str], most: int | None = None) -> list[Features]:
    """Counts (N, V) in each list of texts of the words and pairs of words in the training texts, in lower case; with
    `most`, of the most frequent of them.

    Raises ValueError if the training texts have no word; a clean text that is not empty has one, if only a mark.
    """
    return count_named_words(train_texts, *others, most=most)[1]


def count_named_words(
    train_texts: Sequence[str], *others: Sequence[str], most: int | None = None
) -> tuple[tuple[str, ...], list[Features]]:
    """The same, after the words and pairs of words (V,) themselves; with `most`, the most frequent of them."""
    from sklearn.feature_extraction.text import CountVectorizer

    min_texts = 2 if len(train_texts) >= _MANY_ROWS else 1
    vectorizer = CountVectorizer(
        ngram_range=(1, 2),
        tokenizer=find_words,
        token_pattern=None,
        min_df=min_texts,
        max_features=most,
        dtype=np.float32,
    )
    try:
        train = vectorizer.fit_transform(train_texts)
    except ValueError:  # no text has a word, or no two have the same one, such as texts that are a number each
        train = vectorizer.set_params(min_df=1).fit_transform(train_texts)
    counts = [train, *map(vectorizer.transform, others)]
    return tuple(map(str, vectorizer.get_feature_names_out())), counts


def most_words(num_classes: int) -> int:
    """How many words and pairs of words to count, at most, for so many classes with a weight each."""
    return _MOST_WEIGHTS // max(num_classes, 1)


def weigh_words(counts: Sequence[Features]) -> list[Features]:
    """TF-IDF of counts: (1 + log count) times the inverse frequency in the first of them, in rows of length 1."""
    return weigh_named_words(counts)[1]


def weigh_named_words(counts: Sequence[Features]) -> tuple[npt.NDArray[np.float32], list[Features]]:
    """The same, after the inverse frequencies (V,)."""
    from sklearn.feature_extraction.text import TfidfTransformer

    transformer = TfidfTransformer(sublinear_tf=True).fit(counts[0])
    return transformer.idf_.astype(np.float32), [transformer.transform(features) for features in counts]
