"""From the replies of a model to their figures: length, emptiness, variety, repetition; intervals over conversations.

A word is a run of letters, their marks and digits, with the apostrophes inside it, in lower case; punctuation is none.
In a script without blanks between words, such as Chinese, a word is a stretch between two punctuation marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pretune.scoring.uncertainty import FloatArray, bootstrap_over_seeds, wilson_interval
from pretune.text.arrays.scripts import marks_in_words

DISTINCT_SIZES = (1, 2, 3)  # words of the n-grams whose variety is measured
REPEATED_SIZE = 4  # words of the n-grams whose repetition is measured
_RUN = rf"\w[\w{marks_in_words()}]*"
_WORD = re.compile(rf"{_RUN}(?:['’]{_RUN})*")

Ngram = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


def ngrams(words: Sequence[str], size: int) -> Iterator[Ngram]:
    """Every run of `size` words, in order."""
    return (tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def distinct_fraction(replies: Sequence[Sequence[str]], size: int) -> float:
    """Distinct-n (Li et al. 2016, arXiv:1510.03055): different n-grams of all replies, as a fraction of all of them.

    The more words there are, the lower it is for any writer: compare replies of similar length only. Zero without an
    n-gram.
    """
    every = [ngram for words in replies for ngram in ngrams(words, size)]
    return len(set(every)) / len(every) if every else 0.0


def repeated_fraction(words: Sequence[str], size: int = REPEATED_SIZE) -> float:
    """Fraction of the n-grams of one reply that repeat an earlier one of it: seq-rep-n of Welleck et al. 2020
    (arXiv:1908.04319). Zero for a reply of fewer words than an n-gram."""
    every = list(ngrams(words, size))
    return 1.0 - len(set(every)) / len(every) if every else 0.0


def describe_replies(replies: Sequence[str]) -> dict[str, Any]:
    """The figures of N replies, one for each conversation, as JSON values; fractions are between 0 and 1.

    Means have 95 % intervals over conversations. Distinct-n has none: a bootstrap draws some replies twice, which makes
    any sample of them less varied than they are.
    """
    words = [words_of(reply) for reply in replies]
    lengths = np.array([len(each) for each in words], dtype=np.float64)
    repeated = np.array([repeated_fraction(each) for each in words], dtype=np.float64)
    num_empty = sum(not reply.strip() for reply in replies)
    mean_words, words_interval = mean_over_replies(lengths, (0.0, np.inf))
    mean_repeated, repeated_interval = mean_over_replies(repeated, (0.0, 1.0))
    return {
        "n": len(replies),
        "mean_words": mean_words,
        "mean_words_interval": list(words_interval),
        "empty_fraction": num_empty / len(replies) if replies else 0.0,
        "empty_fraction_interval": list(wilson_interval(num_empty, len(replies))),
        **{f"distinct_{size}": distinct_fraction(words, size) for size in DISTINCT_SIZES},
        "repeated_fraction": mean_repeated,
        "repeated_fraction_interval": list(repeated_interval),
    }


def mean_over_replies(values: FloatArray, bounds: tuple[float, float]) -> tuple[float, tuple[float, float]]:
    """The mean of one figure (N,) of each reply, with a 95 % interval inside `bounds` from a bootstrap over replies."""
    if len(values) == 0:
        return 0.0, (0.0, 0.0)
    figures = np.array([values.mean()])
    return bootstrap_over_seeds(
        figures, lambda weights: (weights @ values / weights.sum(axis=1))[:, None], len(values), bounds
    )
