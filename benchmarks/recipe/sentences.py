"""SST-2 phrases go in, whole sentences with their folds come out, and the phrases that may be trained on.

A phrase that is part of no other phrase is a sentence. A phrase occurs in a sentence if the sentence contains its words
in sequence; it may be trained on only if none of its sentences is held out. Only whole held-out sentences are scored:
held-out phrases of trained sentences would be easy, since their words were all seen.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
NUM_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Distinct phrases with their labels; `sentences_of` has the sentences of each phrase, by their index here."""

    texts: tuple[str, ...]
    labels: IntArray  # (N,)
    sentences_of: tuple[tuple[int, ...], ...]
    fold_of: dict[int, int]  # of each sentence

    def held_out(self, folds: Sequence[int]) -> IntArray:
        """The sentences of some folds."""
        return np.array([index for index, fold in self.fold_of.items() if fold in folds], dtype=np.int64)

    def trainable(self, folds: Sequence[int]) -> IntArray:
        """The phrases that occur in no sentence of these folds."""
        fold_of = self.fold_of
        return np.array(
            [i for i, found in enumerate(self.sentences_of) if not any(fold_of[s] in folds for s in found)],
            dtype=np.int64,
        )


def group_phrases(texts: Sequence[str], labels: Sequence[int]) -> Phrases:
    """Group the phrases by sentence. Repeated phrases count once; phrases with contradicting labels are left out."""
    seen: dict[str, set[int]] = defaultdict(set)
    for text, label in zip(texts, labels, strict=True):
        seen[" ".join(text.split())].add(int(label))
    distinct = sorted(text for text, given in seen.items() if text and len(given) == 1)
    words = [tuple(text.split()) for text in distinct]
    index_of = {each: index for index, each in enumerate(words)}
    found: list[list[int]] = [[] for _ in distinct]
    fold_of: dict[int, int] = {}
    for index in sorted(range(len(words)), key=lambda i: (-len(words[i]), distinct[i])):
        if found[index]:
            continue  # part of a longer one
        fold_of[index] = _fold(distinct[index])
        for inner in {index_of[part] for part in _parts(words[index]) if part in index_of}:
            found[inner].append(index)
    return Phrases(
        texts=tuple(distinct),
        labels=np.array([min(seen[text]) for text in distinct], dtype=np.int64),
        sentences_of=tuple(map(tuple, found)),
        fold_of=fold_of,
    )


def _parts(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def _fold(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") % NUM_FOLDS
