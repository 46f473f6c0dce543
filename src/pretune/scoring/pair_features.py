"""The baselines for pairs of texts: the words of each, what they have in common, and what only one of them has.

Shapes: N pairs, V features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.baseline import Baseline
from pretune.scoring.baselines import Candidate, choose_candidate, measure_of
from pretune.scoring.linear_model import fit_logistic_classes
from pretune.scoring.ridge import FloatArray, ScoreBaseline, choose_ridge
from pretune.scoring.word_features import (
    WORDS_OF_SCRIPTS,
    Features,
    WordRule,
    count_named_words,
    find_words,
    weigh_named_words,
)

IntArray = npt.NDArray[np.int64]
Pairs = Sequence[tuple[str, str]]

_C = (1.0, 0.03, 0.1, 0.3, 3.0)  # the first if all are equally good on validation
_NEGATIONS = frozenset(
    "no not never nobody nothing none nowhere neither nor cannot without t".split()
)  # "isn't": isn ' t
_MAX_REPLACED = 4  # pairs of texts that differ in more words than this have no features for replaced words
_CUTS = (0.2, 0.4, 0.6, 0.8, 0.95)  # an overlap also counts by the cuts it exceeds: its effect need not be linear


@dataclass(frozen=True, kw_only=True)
class PairRows:
    """Pairs of texts with their classes (N,), 0 to C - 1."""

    pairs: Pairs
    labels: IntArray


@dataclass(frozen=True, kw_only=True)
class ScoredPairs:
    """Pairs of texts with their scores (N,)."""

    pairs: Pairs
    scores: FloatArray


def predict_pair_classes(
    train: PairRows, validation: PairRows, test_pairs: Pairs, num_classes: int, *, is_imbalanced: bool = False
) -> Baseline:
    """Logistic regression on `pair_features`, with the penalty that has the highest accuracy on validation.

    With `is_imbalanced` it is the one with the highest macro-F1, and weighting classes by their rarity is tried too.
    """
    features = pair_features(train.pairs, validation.pairs, test_pairs)
    candidates = iter_pair_classifiers(features[0], train.labels, num_classes, is_imbalanced=is_imbalanced)
    name = "words and overlap + logistic regression"
    measure = measure_of(num_classes, is_imbalanced=is_imbalanced)
    return choose_candidate(name, "pair_tfidf", candidates, features, validation.labels, measure)


def iter_pair_classifiers(
    features: Features, labels: IntArray, num_classes: int, *, is_imbalanced: bool
) -> Iterator[Candidate]:
    """Logistic regressions on `pair_features` with different penalties."""
    for class_weight in (None, "balanced") if is_imbalanced else (None,):
        for c in _C:
            model = fit_logistic_classes(features, labels, num_classes, c, class_weight)
            yield Candidate(model=model, chosen={"C": c, "class_weight": class_weight or "none"})


def predict_pair_scores(train: ScoredPairs, validation: ScoredPairs, test_pairs: Pairs) -> ScoreBaseline:
    """Ridge regression on `pair_features`, with the penalty that has the highest correlation on validation."""
    features = pair_features(train.pairs, validation.pairs, test_pairs)
    name = "words and overlap + ridge regression"
    return choose_ridge(name, "pair_ridge", features, train.scores, validation.scores)


def pair_features(train: Pairs, *others: Pairs) -> list[Features]:
    """Features (N, V) of each list of pairs; the words, and the scale of the overlap, are those of the training pairs.

    They are TF-IDF of both texts in columns of their own; the overlap (`overlap`); and the words that both have, that
    only one has, and that replace each other.
    """
    return name_pair_features(train, *others)[1]


@dataclass(frozen=True, kw_only=True)
class PairVocabulary:
    """What the training pairs determine: the words and pairs of words of a text (V,) with their inverse frequencies
    (V,), `difference_words` (D,), and the scale of the measures of overlap (M,). `words` is the rule for words.

    The columns of the features are the measures, the words of the first text, those of the second, and the differences.
    """

    ngrams: tuple[str, ...]
    idf: npt.NDArray[np.float32]
    differences: tuple[str, ...]
    mean: FloatArray
    deviation: FloatArray
    words: WordRule = WORDS_OF_SCRIPTS

    def scale(self, measures: FloatArray) -> FloatArray:
        """Measures (N, M) in deviations from their mean."""
        return np.asarray((measures - self.mean) / self.deviation)


def name_pair_features(train: Pairs, *others: Pairs, most: int | None = None) -> tuple[PairVocabulary, list[Features]]:
    """The same after what the training pairs determine; with `most`, only the most frequent words of each kind."""
    from scipy.sparse import csr_array, hstack

    lists = (train, *others)
    ngrams, idf, weighted = _weigh_both_texts(lists, most)
    names, differences = _count_differences(lists, most)
    overlaps = [overlap(pairs, cosines=_cosines(*texts)) for pairs, texts in zip(lists, weighted, strict=True)]
    deviation = overlaps[0].std(axis=0)
    vocabulary = PairVocabulary(
        ngrams=ngrams,
        idf=idf,
        differences=names,
        mean=overlaps[0].mean(axis=0),
        deviation=np.where(deviation > 0, deviation, 1.0),
    )
    return vocabulary, [
        hstack([csr_array(vocabulary.scale(table).astype(np.float32)), *texts, difference], format="csr")
        for table, texts, difference in zip(overlaps, weighted, differences, strict=True)
    ]


def overlap(pairs: Pairs, cosines: FloatArray, rule: WordRule = WORDS_OF_SCRIPTS) -> FloatArray:
    """Measures (N, M) of what the two texts of each pair have in common; `cosines` (N,) are those of TF-IDF."""
    rows = [_measure(a, b, rule) for a, b in (*pairs, ("", ""))]  # the last one makes columns where there are no pairs
    measures = np.array(rows, dtype=np.float64)[: len(pairs)]
    graded = np.column_stack([measures, cosines])
    exceeded = [graded[:, [0, -1]] > cut for cut in _CUTS]  # of the words in common and of the cosine
    return np.hstack([graded, *exceeded])


def _measure(a: str, b: str, rule: WordRule) -> list[float]:
    words = find_words(a.lower(), rule), find_words(b.lower(), rule)
    first, second = set(words[0]), set(words[1])
    shared = len(first & second)
    lengths = len(words[0]), len(words[1])
    negations = len(first & _NEGATIONS), len(second & _NEGATIONS)
    return [
        _jaccard(first, second),
        _jaccard(set(zip(words[0], words[0][1:], strict=False)), set(zip(words[1], words[1][1:], strict=False))),
        _jaccard(_trigrams(a), _trigrams(b)),
        _jaccard(_numbers(first), _numbers(second)),
        shared / max(len(first), 1),
        shared / max(len(second), 1),
        min(lengths) / max(*lengths, 1),
        math.log((1 + lengths[0]) / (1 + lengths[1])),
        math.log1p(len(first ^ second)),
        float((negations[0] > 0) != (negations[1] > 0)),
        float(negations[0] > 0 and negations[1] > 0),
        float(words[0] == words[1]),
    ]


def _trigrams(text: str) -> set[str]:
    """Three signs in a row: words with another ending still have most of them in common."""
    padded = f" {text.lower()} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _numbers(words: set[str]) -> set[str]:
    return {word for word in words if word.isdigit()}


def _jaccard(first: set[Any], second: set[Any]) -> float:
    """The fraction of all elements that both sets have; 1 if both are empty."""
    either = len(first | second)
    return len(first & second) / either if either else 1.0


def difference_words(pair: tuple[str, str], rule: WordRule = WORDS_OF_SCRIPTS) -> list[str]:
    """Words of both texts as "=w", of only one as "-w" (first) or "+w" (second); two of the latter also as "w>v"."""
    first, second = (set(find_words(text.lower(), rule)) for text in pair)
    lost, gained = sorted(first - second), sorted(second - first)
    found = [
        *(f"={word}" for word in sorted(first & second)),
        *(f"-{word}" for word in lost),
        *(f"+{word}" for word in gained),
    ]
    if max(len(lost), len(gained)) <= _MAX_REPLACED:
        found += [f"{old}>{new}" for old in lost for new in gained]
    return found


def _count_differences(lists: Sequence[Pairs], most: int | None) -> tuple[tuple[str, ...], list[Features]]:
    """The `difference_words` that at least two training pairs have (D,), and whether each pair has each (N, D)."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=difference_words, binary=True, min_df=2, max_features=most, dtype=np.float32)
    try:
        vectorizer.fit(lists[0])
    except ValueError:  # no training pair has one, or no two have the same
        return (), [csr_array((len(pairs), 0), dtype=np.float32) for pairs in lists]
    return tuple(map(str, vectorizer.get_feature_names_out())), [vectorizer.transform(pairs) for pairs in lists]


def _weigh_both_texts(
    lists: Sequence[Pairs], most: int | None
) -> tuple[tuple[str, ...], npt.NDArray[np.float32], list[tuple[Features, Features]]]:
    """The words (V,) of all training texts, their weights (V,), and the TF-IDF of both texts of each pair."""
    sides = [[pair[side] for pair in pairs] for pairs in lists for side in (0, 1)]
    names, counts = count_named_words([*sides[0], *sides[1]], *sides, most=most)
    idf, weighted = weigh_named_words(counts)
    return names, idf, list(zip(weighted[1::2], weighted[2::2], strict=True))


def _cosines(first: Features, second: Features) -> FloatArray:
    return np.asarray(first.multiply(second).sum(axis=1), dtype=np.float64).ravel()
