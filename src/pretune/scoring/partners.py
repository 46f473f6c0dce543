"""The linear models that can be stacked on a network: each with its kind, its name, and its arrays for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]

MOST_NGRAMS = 200_000  # of the largest weights: about 4 MB for two classes
_MOST_WEIGHTS = 8_000_000  # over all classes: 32 MB
TITLES = {
    "encoder": "network",
    "nbsvm": "NB-SVM",
    "tfidf": "TF-IDF",
    "ridge": "TF-IDF",
    "pair_tfidf": "words and overlap",
    "pair_ridge": "words and overlap",
    "tagger": "linear tagger",
}
_WITH_ARTICLE = ("encoder", "tagger")  # in a sentence: "the network", but "NB-SVM"


def title_in_sentence(kind: str) -> str:
    """The name of a part in a sentence: "the linear tagger"."""
    return f"the {TITLES[kind]}" if kind in _WITH_ARTICLE else TITLES[kind]


class LinearScorer(Protocol):
    """A linear model of texts, of pairs of texts, or of rows of words, with C columns of scores."""

    @property
    def bias(self) -> npt.NDArray[np.float64]:
        """What every row has (C,)."""

    def score(self, texts: Sequence[Any]) -> npt.NDArray[np.float64]:
        """Scores (N, C) of N texts, of N pairs, or of the N words of all rows."""

    def explain(self, text: Any) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Parts of a text, a pair, or a word in its row, by name (G,), and what each adds to the scores (G, C)."""

    def to_tensors(self) -> Tensors:
        """The arrays of a file."""


@dataclass(frozen=True, kw_only=True)
class Partner:
    """A model to stack, by its kind, and the settings that validation chose for it."""

    kind: str
    model: LinearScorer
    chosen: dict[str, float | str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name in a display."""
        return TITLES[self.kind]


def most_ngrams(num_columns: int) -> int:
    """How many n-grams a partner keeps with so many classes."""
    return min(MOST_NGRAMS, _MOST_WEIGHTS // max(num_columns, 1))
