"""Texts that are part of others, word for word, such as the phrases of SST-2: which they are, and how they are split.

A model that was trained on a part of a held-out text has been told most of the answer, so a validation row that has
parts among the training rows says little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import intern

from pretune.text.splits import Split

LONGEST = 60  # words; longer texts are not searched for parts, and count as one word
SHORTEST_PART = 3  # words of a part that counts in a text that contains it: every text has some word of another
_SAMPLE = 2000  # texts that are searched for parts, to see whether it is the way of the whole file
_MANY = 0.2  # of them
_RANK: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """The words of a text in lower case; equal ones share their memory, since there may be millions."""
    words = text.lower().split()
    return tuple(map(intern, words)) if len(words) <= LONGEST else (" ".join(words),)


def windows(text: Words, lengths: set[int]) -> Iterator[Words]:
    """All parts of a text with one of these lengths, itself included."""
    for length in lengths:
        for start in range(len(text) - length + 1):
            yield text[start : start + length]


def split_with_wholes(texts: Sequence[str], splits: Sequence[Split]) -> list[Split]:
    """The same splits, but that a text goes where a text goes that contains it, if many texts contain others.

    A text that no other contains keeps its split. Its parts are held out with it, for the test rather than for
    validation: so no training row lies in a held-out whole. Texts of a file in which fewer than one in five contains
    another, and empty ones, keep theirs, and so do all if nothing would be left to train on or to validate with.
    """
    words = [words_of(text) for text in texts]
    known = set(words) - {()}
    lengths = {len(each) for each in known}
    if not _are_nested(words, known, lengths):
        return list(splits)
    split_of = dict(zip(words, splits, strict=True))
    parts = {part for whole in known for part in windows(whole, lengths - {len(whole)}) if part in known}
    held_out = sorted((each for each in known - parts if split_of[each] != "train"), key=lambda w: _RANK[split_of[w]])
    found: dict[Words, Split] = {part: "train" for part in parts}
    for whole in held_out:  # those of the test last
        found |= {part: split_of[whole] for part in windows(whole, lengths) if part in parts}
    moved = [found.get(own, split) for own, split in zip(words, splits, strict=True)]
    return moved if {"train", "validation"} <= set(moved) else list(splits)


def _are_nested(words: Sequence[Words], known: set[Words], lengths: set[int]) -> bool:
    sample = words[:: max(1, len(words) // _SAMPLE)]
    long_enough = {length for length in lengths if length >= SHORTEST_PART}
    count = sum(
        any(part in known for part in windows(each, {length for length in long_enough if length < len(each)}))
        for each in sample
    )
    return count >= _MANY * len(sample) > 0
