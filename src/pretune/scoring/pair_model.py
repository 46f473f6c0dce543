"""A linear model of pairs of texts, as plain arrays: their overlap, the words of each, and what differs.

It scores pairs as logistic or ridge regression on `pretune.scoring.pair_features` does, without scikit-learn. Shapes:
N pairs, M measures of overlap, V n-grams, D differences, C classes, labels, or one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pretune.scoring.baselines import Choice, find_best, measure_of
from pretune.scoring.linear_model import FloatArray, LinearModel
from pretune.scoring.ngram_model import NgramWeights, pack_words, unpack_words
from pretune.scoring.pair_features import (
    PairRows,
    Pairs,
    PairVocabulary,
    ScoredPairs,
    difference_words,
    iter_pair_classifiers,
    name_pair_features,
    overlap,
)
from pretune.scoring.partners import Tensors
from pretune.scoring.ridge import fit_ridge
from pretune.scoring.word_features import WORDS_OF_SCRIPTS, WordRule

OVERLAP = "overlap of the texts"  # as a part of an explanation


@dataclass(frozen=True)
class PairModel:
    """`weights` (M + 2 V + D, C) of the features of a pair, in the order of `PairVocabulary`, and a `bias` (C,)."""

    vocabulary: PairVocabulary
    weights: npt.NDArray[np.float32]
    bias: FloatArray

    @property
    def words(self) -> WordRule:
        """The rule for words."""
        return self.vocabulary.words

    @cached_property
    def _words(self) -> NgramWeights:
        return NgramWeights(self.vocabulary.ngrams, self.vocabulary.idf, self.words)

    @cached_property
    def _difference_index(self) -> Mapping[str, int]:
        first = len(self.vocabulary.mean) + 2 * len(self.vocabulary.ngrams)
        return {word: first + index for index, word in enumerate(self.vocabulary.differences)}

    def score(self, pairs: Pairs) -> FloatArray:
        """Scores (N, C), in the order of the pairs."""
        rows = [self._added(pair) for pair in pairs]
        sums = [measures + added.sum(axis=0) for measures, _, added in rows]
        return np.asarray(self.bias + np.array(sums).reshape(len(rows), len(self.bias)))

    def explain(self, pair: tuple[str, str]) -> tuple[list[str], FloatArray]:
        """What the overlap and each word adds to the scores (G, C), and its name (G,): "first: w" and "second: w" for
        a word of a text, "both: w", "only first: w" and "only second: w", and "v → w" for one that replaces another."""
        measures, names, added = self._added(pair)
        return [OVERLAP, *names], np.vstack([measures, added])

    def _added(self, pair: tuple[str, str]) -> tuple[FloatArray, list[str], FloatArray]:
        """What the overlap (C,) and each word (G, C) adds, after the names of the words."""
        (a, first), (b, second) = (self._words.read(text) for text in pair)
        common, at_a, at_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        cosine = float(first[at_a] @ second[at_b]) if len(common) else 0.0
        vocabulary, num_measures = self.vocabulary, len(self.vocabulary.mean)
        measures = vocabulary.scale(overlap([pair], np.array([cosine]), self.words))[0] @ self.weights[:num_measures]
        known = sorted({word for word in difference_words(pair, self.words) if word in self._difference_index})
        places = [self._difference_index[word] for word in known]
        names = [
            *(f"first: {vocabulary.ngrams[place]}" for place in a),
            *(f"second: {vocabulary.ngrams[place]}" for place in b),
            *map(_describe_difference, known),
        ]
        added = np.vstack(
            [
                first[:, None] * self.weights[num_measures + a],
                second[:, None] * self.weights[num_measures + len(vocabulary.ngrams) + b],
                self.weights[np.array(places, dtype=np.int64)],
            ]
        )
        return np.asarray(measures, dtype=np.float64), names, np.asarray(added, dtype=np.float64)

    def to_tensors(self) -> Tensors:
        """The arrays of a file."""
        words = self.vocabulary
        return {
            "ngrams": pack_words(words.ngrams),
            "idf": words.idf,
            "differences": pack_words(words.differences),
            "mean": words.mean,
            "deviation": words.deviation,
            "weights": np.ascontiguousarray(self.weights),
            "bias": self.bias,
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, words: WordRule = WORDS_OF_SCRIPTS) -> PairModel:
        """What `to_tensors` wrote, with the rule for words. Raises KeyError or ValueError for missing arrays, or shapes
        that do not fit."""
        vocabulary = PairVocabulary(
            ngrams=unpack_words(tensors["ngrams"]),
            idf=tensors["idf"],
            differences=unpack_words(tensors["differences"]),
            mean=tensors["mean"],
            deviation=tensors["deviation"],
            words=words,
        )
        model = cls(vocabulary, tensors["weights"], tensors["bias"])
        rows = len(vocabulary.mean) + 2 * len(vocabulary.ngrams) + len(vocabulary.differences)
        if model.weights.shape != (rows, *model.bias.shape) or len(vocabulary.idf) != len(vocabulary.ngrams):
            raise ValueError(f"{rows} features and weights of shape {model.weights.shape} do not belong together")
        return model


def train_pair_classifier(
    train: PairRows, validation: PairRows, num_classes: int, *, is_imbalanced: bool = False, most: int | None = None
) -> tuple[PairModel, Choice]:
    """The model of `predict_pair_classes` as one that can be kept, and the settings that validation chose."""
    vocabulary, features = name_pair_features(train.pairs, validation.pairs, most=most)
    candidates = iter_pair_classifiers(features[0], train.labels, num_classes, is_imbalanced=is_imbalanced)
    measure = measure_of(num_classes, is_imbalanced=is_imbalanced)
    best = find_best(candidates, features[1], validation.labels, measure)[1]
    return _keep(vocabulary, best.model), best.chosen


def train_pair_scores(
    train: ScoredPairs, validation: ScoredPairs, *, most: int | None = None
) -> tuple[PairModel, Choice]:
    """The same for the model of `predict_pair_scores`."""
    vocabulary, features = name_pair_features(train.pairs, validation.pairs, most=most)
    model, chosen = fit_ridge(features, train.scores, validation.scores)
    return _keep(vocabulary, model), chosen


def _describe_difference(word: str) -> str:
    """A word of `difference_words` as a display names it."""
    for sign, named in (("=", "both"), ("-", "only first"), ("+", "only second")):
        if word.startswith(sign) and len(word) > 1:
            return f"{named}: {word[1:]}"
    return word.replace(">", " → ", 1)


def _keep(vocabulary: PairVocabulary, model: LinearModel) -> PairModel:
    return PairModel(vocabulary, model.weights, model.bias)
