"""Which replies of a model occur word for word in the replies that it was trained on: memorising is shown.

The words are those of `pretune.scoring.replies`, so neither case nor punctuation hides a copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretune.scoring.replies import Ngram, mean_over_replies, ngrams, words_of
from pretune.scoring.uncertainty import wilson_interval

SEED_SIZE = 4  # words from which a shared run counts; nearly every reply shares shorter ones with any text
COPIED_SIZE = 13  # words from which a shared run counts as copied (as in GPT-3's search, arXiv:2005.14165, appendix C)


@dataclass(frozen=True, kw_only=True)
class SharedRun:
    """The longest run of words that a reply shares with a training reply, and whether it is the whole of both."""

    num_words: int = 0
    is_whole: bool = False


def longest_shared_runs(replies: Sequence[str], training_replies: Iterable[str]) -> list[SharedRun]:
    """For each reply, the longest run of words that one of the training replies has, too; those under `SEED_SIZE` words
    count as none.

    The training replies are read once: each of their n-grams is looked up among those of the replies, and a match is
    extended to the right. That is exact, because the longest run begins with an n-gram.
    """
    words = [words_of(reply) for reply in replies]
    places: dict[Ngram, list[tuple[int, int]]] = defaultdict(list)
    for reply, each in enumerate(words):
        for start, ngram in enumerate(ngrams(each, SEED_SIZE)):
            places[ngram].append((reply, start))
    whole = {tuple(each): SharedRun(num_words=len(each), is_whole=True) for each in words if each}
    best = [SharedRun() for _ in words]
    copied: set[Ngram] = set()
    for training_reply in training_replies:
        theirs = words_of(training_reply)
        if tuple(theirs) in whole:
            copied.add(tuple(theirs))
        for place, ngram in enumerate(ngrams(theirs, SEED_SIZE)):
            for reply, start in places.get(ngram, ()):
                length = _shared_length(words[reply], start, theirs, place)
                if length > best[reply].num_words:
                    best[reply] = SharedRun(num_words=length)
    return [whole[tuple(each)] if tuple(each) in copied else found for each, found in zip(words, best, strict=True)]


def _shared_length(ours: Sequence[str], start: int, theirs: Sequence[str], place: int) -> int:
    length = SEED_SIZE
    limit = min(len(ours) - start, len(theirs) - place)
    while length < limit and ours[start + length] == theirs[place + length]:
        length += 1
    return length


def describe_copies(replies: Sequence[str], training_replies: Iterable[str]) -> dict[str, Any]:
    """What N replies share with the training replies, as JSON values, with 95 % intervals over conversations.

    A reply is copied if it shares a run of at least `COPIED_SIZE` words, or if a training reply has exactly its words.
    """
    runs = longest_shared_runs(replies, training_replies)
    copied = sum(run.is_whole or run.num_words >= COPIED_SIZE for run in runs)
    whole = sum(run.is_whole for run in runs)
    lengths = np.array([run.num_words for run in runs], dtype=np.float64)
    mean_shared, interval = mean_over_replies(lengths, (0.0, np.inf))
    count = max(len(runs), 1)
    return {
        "copied_fraction": copied / count,
        "copied_fraction_interval": list(wilson_interval(copied, len(runs))),
        "whole_copied_fraction": whole / count,
        "mean_shared_words": mean_shared,
        "mean_shared_words_interval": list(interval),
        "longest_shared_words": max((run.num_words for run in runs), default=0),
    }
