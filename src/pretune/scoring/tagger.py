"""A linear tagger for entities: weights of the words' forms and neighbours, and of pairs of tags, decoded by Viterbi.

Shapes: T words of a row, M words of all rows together, V features, S features per word, K tags (IOB2, see
`tag_entities`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pretune.scoring.partners import Tensors
from pretune.scoring.tag_entities import OUTSIDE, IntArray
from pretune.scoring.tag_features import IdArray, TagFeatures

FloatArray = npt.NDArray[np.float64]
_CHUNK_WORDS = 2_000  # how many words have their features' weights gathered at once
NEIGHBOURS = "tags of its neighbours"  # in an explanation, what pairs of tags add


class WordAt(NamedTuple):
    """One word of a row, by its place."""

    words: Sequence[str]
    place: int


class TagWeights:
    """Weights of features (V, K), of pairs of tags (K, K) and of the first tag of a row (K,); -inf for a pair that
    IOB2 excludes."""

    def __init__(self, emission: npt.NDArray[np.floating], transition: FloatArray, initial: FloatArray) -> None:
        self.emission = emission
        self.transition = transition
        self.initial = initial

    def decode(self, features: IdArray) -> IntArray:
        """The tags (T,) with the highest sum of weights, for a row with these features (T, S); the first of several
        that are equally good."""
        scores = self._scores_of_words(features)
        if not len(scores):
            return np.zeros(0, dtype=np.int64)
        best = self.initial + scores[0]
        before = []  # for each further word and tag, the best tag before it
        for score in scores[1:]:
            sums = best[:, None] + self.transition
            before.append(sums.argmax(axis=0))
            best = sums.max(axis=0) + score
        tags = [int(best.argmax())]
        for choice in reversed(before):
            tags.append(int(choice[tags[-1]]))
        return np.array(tags[::-1], dtype=np.int64)

    def max_marginals(self, features: IdArray) -> FloatArray:
        """For each word and tag (T, K), the highest sum of weights of all tags of the row if the word has this tag.

        The tags of `decode` have the highest of each word. A tag that no valid sequence has there, such as an I-x at
        the beginning, gets the lowest value of its word.
        """
        scores = self._scores_of_words(features)
        until, after = np.array(scores, dtype=np.float64), np.zeros_like(scores, dtype=np.float64)
        for place in range(len(scores)):
            until[place] += self.initial if not place else (until[place - 1][:, None] + self.transition).max(axis=0)
        for place in range(len(scores) - 2, -1, -1):
            after[place] = (self.transition + scores[place + 1] + after[place + 1]).max(axis=1)
        found = until + after
        is_valid = np.isfinite(found)
        lowest = np.where(is_valid, found, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        return np.where(is_valid, found, lowest)

    def _scores_of_words(self, features: IdArray) -> FloatArray:
        """The summed weights (T, K) of each word's own features."""
        chunks = (features[start : start + _CHUNK_WORDS] for start in range(0, len(features), _CHUNK_WORDS))
        found = [self.emission[chunk].sum(axis=1, dtype=np.float64) for chunk in chunks]
        return np.concatenate(found) if found else np.zeros((0, self.emission.shape[1]))


@dataclass(frozen=True)
class Tagger:
    """A trained tagger: the features that it knows, and their weights.

    As a model that can be stacked (`partners.LinearScorer`) it has a score for each word and tag: how much lower the
    best tags of the whole row score if the word has this tag.
    """

    features: TagFeatures
    weights: TagWeights

    @property
    def bias(self) -> FloatArray:
        """What every word has (K,): nothing, since a tag's own weight is in its features."""
        return np.zeros(len(self.weights.initial))

    def iter_tags(self, rows: Sequence[Sequence[str]]) -> Iterator[IntArray]:
        """The best tags of each row of words."""
        return map(self.weights.decode, self.features.iter_rows(rows))

    def score(self, texts: Sequence[Sequence[str] | WordAt]) -> FloatArray:
        """Scores (M, K) of the words of all rows; of a `WordAt`, those of its word. The best tag of a word has 0."""
        rows = [text.words if isinstance(text, WordAt) else text for text in texts]
        found = [np.zeros((0, len(self.weights.initial)))]
        for text, features in zip(texts, self.features.iter_rows(rows), strict=True):
            scores = self.weights.max_marginals(features)
            scores -= scores.max(axis=1, keepdims=True)
            found.append(scores[text.place : text.place + 1] if isinstance(text, WordAt) else scores)
        return np.concatenate(found)

    def explain(self, text: WordAt) -> tuple[list[str], FloatArray]:
        """The known features of a word by name, then its neighbours' tags, and what each adds to the scores (G, K)."""
        [features] = self.features.iter_rows([text.words])
        own = features[text.place]
        names = self.features.describe(text.words, text.place)
        added = self.weights.emission[own].astype(np.float64)
        rest = self.score([text])[0] - added.sum(axis=0)
        known = np.flatnonzero(added.any(axis=1)).tolist()
        return [*(names[slot] for slot in known), NEIGHBOURS], np.vstack([added[known], rest])

    def keep_largest(self, count: int) -> Tagger:
        """The same tagger with the `count` features whose weights differ most between tags, in single precision."""
        spread = np.ptp(self.weights.emission, axis=1)
        spread[0] = 0.0  # the unknown one stays in any case
        kept = np.zeros(len(spread), dtype=bool)
        kept[np.argsort(-spread, kind="stable")[:count]] = True
        kept &= spread > 0
        kept[0] = True
        emission = self.weights.emission[kept].astype(np.float32)
        weights = TagWeights(emission, self.weights.transition, self.weights.initial)
        return replace(self, features=self.features.keep(kept), weights=weights)

    def to_tensors(self) -> Tensors:
        """The arrays of a file."""
        weights = self.weights
        own: Tensors = {
            "emission": np.ascontiguousarray(weights.emission),
            "transition": weights.transition,
            "initial": weights.initial,
        }
        return {**own, **self.features.to_tensors()}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Tagger:
        """What `to_tensors` wrote. Raises KeyError or ValueError for missing arrays, or shapes that do not fit."""
        features = TagFeatures.from_tensors(tensors)
        weights = TagWeights(tensors["emission"], tensors["transition"], tensors["initial"])
        num_tags = len(weights.initial)
        shapes = [weights.emission.shape, weights.transition.shape]
        if shapes != [(features.num_features, num_tags), (num_tags, num_tags)]:
            raise ValueError(f"the weights of a tagger have the shapes {shapes}, which do not belong together")
        return cls(features, weights)


def allowed_pairs(num_types: int) -> tuple[FloatArray, FloatArray]:
    """Zero for allowed pairs of tags (K, K) and first tags (K,), -inf for an I-x that continues no x."""
    num_tags = 2 * num_types + 1
    inside = np.arange(2, num_tags, 2)
    transition, initial = np.zeros((num_tags, num_tags)), np.zeros(num_tags)
    transition[:, inside], initial[inside] = -np.inf, -np.inf
    transition[inside, inside] = transition[inside - 1, inside] = 0.0
    assert initial[OUTSIDE] == 0.0
    return transition, initial
