"""A linear model of words and pairs of words, as plain arrays: from texts to scores, and to what each n-gram adds.

Shapes: N texts, V n-grams, G n-grams of a text, C classes, labels, or one number.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pretune.scoring.partners import Tensors
from pretune.scoring.word_features import WORDS_OF_SCRIPTS, WordRule, find_words

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NgramWeights:
    """The n-grams (V,) that are known, and the inverse frequency `idf` (V,) of each; None if occurring is all that
    counts. `words` is the rule for words."""

    ngrams: tuple[str, ...]
    idf: npt.NDArray[np.float32] | None = None
    words: WordRule = WORDS_OF_SCRIPTS

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The place of every n-gram."""
        return {ngram: index for index, ngram in enumerate(self.ngrams)}

    def read(self, text: str) -> tuple[IntArray, FloatArray]:
        """The known n-grams of a text by their place (G,), each once and ascending, and the value (G,) of each.

        The value is 1, or with `idf` the TF-IDF: (1 + log count) * idf, in a row of length 1.
        """
        found = Counter(self.index[ngram] for ngram in ngrams_of(text, self.words) if ngram in self.index)
        places = np.array(sorted(found), dtype=np.int64)
        if self.idf is None:
            return places, np.ones(len(places))
        values = (1.0 + np.log([found[place] for place in places.tolist()])) * self.idf[places]
        return places, np.asarray(values / max(float(np.sqrt(values @ values)), 1e-12))


@dataclass(frozen=True)
class NgramModel:
    """`weights` (V, C) of the n-grams and a `bias` (C,): a text's scores are the bias and the weights of the n-grams
    that occur in it, times their values, added up."""

    ngrams: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: FloatArray
    idf: npt.NDArray[np.float32] | None = None
    words: WordRule = WORDS_OF_SCRIPTS

    @cached_property
    def _values(self) -> NgramWeights:
        return NgramWeights(self.ngrams, self.idf, self.words)

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Scores (N, C), in the order of the texts."""
        result = np.tile(self.bias, (len(texts), 1))
        for row, text in enumerate(texts):
            places, values = self._values.read(text)
            result[row] += values @ self.weights[places]
        return result

    def explain(self, text: str) -> tuple[list[str], FloatArray]:
        """The known n-grams (G,) of a text, and what each adds to the scores (G, C)."""
        places, values = self._values.read(text)
        return [self.ngrams[place] for place in places], np.asarray(values[:, None] * self.weights[places])

    def keep_largest(self, count: int) -> NgramModel:
        """The same model with the `count` n-grams whose weights differ most between classes; of one number, those
        with the largest weights. The length of a text counts these alone."""
        if len(self.ngrams) <= count:
            return self
        spread = np.ptp(self.weights, axis=1) if self.weights.shape[1] > 1 else np.abs(self.weights[:, 0])
        kept = np.sort(np.argpartition(-spread, count)[:count])
        idf = None if self.idf is None else self.idf[kept]
        return replace(self, ngrams=tuple(self.ngrams[i] for i in kept), weights=self.weights[kept], idf=idf)

    def to_tensors(self) -> Tensors:
        """The arrays of a file."""
        found: Tensors = {"ngrams": pack_words(self.ngrams), "weights": np.ascontiguousarray(self.weights)}
        return {**found, "bias": self.bias, **({} if self.idf is None else {"idf": self.idf})}

    @classmethod
    def from_tensors(cls, tensors: Tensors, words: WordRule = WORDS_OF_SCRIPTS) -> NgramModel:
        """What `to_tensors` wrote, with the rule for words. Raises KeyError or ValueError for missing arrays, or shapes
        that do not fit."""
        model = cls(unpack_words(tensors["ngrams"]), tensors["weights"], tensors["bias"], tensors.get("idf"), words)
        rows = {len(model.ngrams), len(model.weights)} | (set() if model.idf is None else {len(model.idf)})
        if len(rows) > 1 or model.weights.ndim != 2 or model.weights.shape[1:] != model.bias.shape:
            raise ValueError(f"{sorted(rows)} n-grams, weights and inverse frequencies do not belong together")
        return model


def ngrams_of(text: str, rule: WordRule = WORDS_OF_SCRIPTS) -> list[str]:
    """Words and marks in lower case, then the pairs of neighbours, as scikit-learn's CountVectorizer counts them."""
    words = find_words(text.lower(), rule)
    return [*words, *(f"{first} {second}" for first, second in itertools.pairwise(words))]


def pack_words(words: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Words, none of which has a line break, as one array of bytes."""
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def unpack_words(packed: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """What `pack_words` packed."""
    text = packed.tobytes().decode()
    return tuple(text.split("\n")) if text else ()
