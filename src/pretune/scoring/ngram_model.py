"""A linear model of words and pairs of words, as plain arrays: from texts to scores, and to what each n-gram adds.

Shapes: N texts, V n-grams, C classes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pretune.scoring.word_features import TOKEN_PATTERN

_TOKENS = re.compile(TOKEN_PATTERN)


@dataclass(frozen=True)
class NgramModel:
    """`weights` (V, C) of the n-grams and a `bias` (C,): a text's scores are the bias and the weights of the n-grams
    that occur in it, added up. How often one occurs makes no difference."""

    ngrams: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float64]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The row of `weights` of every n-gram."""
        return {ngram: index for index, ngram in enumerate(self.ngrams)}

    def find(self, text: str) -> list[int]:
        """The known n-grams of a text, by their row, each once and ascending."""
        return sorted({self.index[ngram] for ngram in ngrams_of(text) if ngram in self.index})

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Scores (N, C), in the order of the texts."""
        result = np.tile(self.bias, (len(texts), 1))
        for row, text in enumerate(texts):
            result[row] += self.weights[self.find(text)].sum(axis=0, dtype=np.float64)
        return result

    def keep_largest(self, count: int) -> NgramModel:
        """The same model with the `count` n-grams whose weights differ most between classes."""
        if len(self.ngrams) <= count:
            return self
        spread = np.ptp(self.weights, axis=1)
        kept = np.sort(np.argpartition(-spread, count)[:count])
        return NgramModel(tuple(self.ngrams[i] for i in kept), self.weights[kept], self.bias)


def ngrams_of(text: str) -> list[str]:
    """Words and marks in lower case, then the pairs of neighbours, as scikit-learn's CountVectorizer counts them."""
    words = _TOKENS.findall(text.lower())
    return [*words, *(f"{first} {second}" for first, second in itertools.pairwise(words))]
