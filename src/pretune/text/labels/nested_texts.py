"""Texts that are part of others, word for word, such as the phrases of SST-2: which they are, and how they are split.

A model that was trained on a part of a held-out text has been told most of the answer, so a validation or test row that
has parts among the training rows says little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from sys import intern

from pretune.text.splits import MIN_VALIDATION_TEXTS, Split

LONGEST = 60  # words; longer texts are not searched for parts, and count as one word
SHORTEST_PART = 3  # words of a part that counts in a text that contains it: every text has some word of another
_SAMPLE = 2000  # texts that are searched for parts, to see whether it is the way of the whole file
_MANY = 0.2  # of them
_LEAST_LEFT = 0.5  # of the training rows of every class
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


def split_with_wholes(texts: Sequence[str], splits: Sequence[Split], strata: Sequence[str]) -> list[Split]:
    """The same splits, but that a text of three words or more goes where a text goes that contains it, if many texts
    contain others.

    A text that no other contains keeps its split. Its parts are held out with it, for the test rather than for
    validation, so no held-out whole contains a training row of three words or more. Nothing changes if fewer than one
    text in five contains another, or if a class (`strata`) would lose half of its training rows, or validation rows
    that it needs: its short texts are then answers of their own rather than parts.
    """
    words = [words_of(text) for text in texts]
    known = Parts(words)
    if not _contain_parts(words, known):
        return list(splits)
    parts = {part for whole in known.texts for part in known.inside(whole)}
    split_of = dict(zip(words, splits, strict=True))
    moved: dict[Words, Split] = dict.fromkeys(parts, "train")
    held_out = [whole for whole in known.texts - parts if split_of[whole] != "train"]
    for whole in sorted(held_out, key=lambda each: _RANK[split_of[each]]):  # those of the test last
        moved |= dict.fromkeys(known.inside(whole), split_of[whole])
    found = [moved.get(own, split) for own, split in zip(words, splits, strict=True)]
    return found if _keeps_classes(strata, splits, found) else list(splits)


def split_with_test(
    texts: Sequence[str], splits: Sequence[Split], strata: Sequence[str], test_texts: Sequence[str]
) -> list[Split]:
    """The same splits, but that a training text of three words or more belongs to the test if a test text contains it.

    Nothing changes if fewer than one test text in five contains another text, or if a class would lose half of its
    training rows, as in `split_with_wholes`. Texts for validation stay: nothing is learned from them.
    """
    words, wholes = [words_of(text) for text in texts], [words_of(text) for text in test_texts]
    known = Parts(words)
    if not _contain_parts(wholes, known):
        return list(splits)
    parts = {part for whole in wholes for part in known.inside(whole)}
    pairs = zip(words, splits, strict=True)
    found: list[Split] = ["test" if split == "train" and own in parts else split for own, split in pairs]
    return found if _keeps_classes(strata, splits, found) else list(splits)


class Parts:
    """Texts (three words or more) that may be inside others; found by their first words, so the time does not grow
    with the square of a text's length."""

    def __init__(self, words: Iterable[Words]) -> None:
        self.texts = {each for each in words if len(each) >= SHORTEST_PART}
        self._lengths: dict[Words, set[int]] = {}
        for each in self.texts:
            self._lengths.setdefault(each[:SHORTEST_PART], set()).add(len(each))

    def inside(self, whole: Words) -> Iterator[Words]:
        """The texts that are part of a whole, which is longer."""
        for start in range(len(whole) - SHORTEST_PART + 1):
            for length in self._lengths.get(whole[start : start + SHORTEST_PART], ()):
                part = whole[start : start + length]
                if length < len(whole) and part in self.texts:
                    yield part


def _contain_parts(wholes: Sequence[Words], known: Parts) -> bool:
    """Whether many of the texts contain one of the others."""
    sample = wholes[:: max(1, len(wholes) // _SAMPLE)]
    return bool(sample) and sum(any(known.inside(each)) for each in sample) >= _MANY * len(sample)


def _keeps_classes(strata: Sequence[str], before: Sequence[Split], after: Sequence[Split]) -> bool:
    """Whether every class keeps half of its training rows, and the validation rows that `assign_splits` asks for."""
    had, has = (Counter(zip(strata, splits, strict=True)) for splits in (before, after))
    return all(
        has[name, "train"] >= _LEAST_LEFT * had[name, "train"]
        and has[name, "validation"] >= min(had[name, "validation"], MIN_VALIDATION_TEXTS)
        for name in set(strata)
    )
