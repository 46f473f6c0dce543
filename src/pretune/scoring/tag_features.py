"""From rows of words to the features of each word that a linear tagger weighs: its form, and its neighbours.

Shapes: T words of all rows together, S slots. Each slot (such as "suffix of three letters" or "shape of the word
before") has one value per word, so a word has exactly S features, and all are numbers of rows in one table of weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from pretune.scoring.ngram_model import pack_words, unpack_words
from pretune.scoring.partners import Tensors

IntArray = npt.NDArray[np.int64]
IdArray = npt.NDArray[np.int32]

_UNKNOWN = 0  # a value that did not occur in training, or too rarely; its weights stay zero
_BOUNDARY = 1  # the value of every attribute before the first word and after the last one
_REACH = 2  # neighbours on each side
_WORDS_AT_ONCE = 20_000  # have their features looked up together
_BOUNDARY_WORD = 0  # its index among the distinct words

_AFFIX_LENGTHS = (1, 2, 3, 4)
_AFFIXES = tuple(f"{end}{n}" for n in _AFFIX_LENGTHS for end in ("prefix", "suffix"))
_ATTRIBUTES = ("word", "lower", "shape", "outline", *_AFFIXES)
# Each slot joins attributes of the words at these distances; several of them count as one value.
_Slot = tuple[tuple[str, int], ...]
_SLOTS: tuple[_Slot, ...] = (
    *(((attribute, 0),) for attribute in _ATTRIBUTES),
    *(((attribute, distance),) for attribute in ("lower", "shape") for distance in (-2, -1, 1, 2)),
    *(((attribute, distance),) for attribute in ("suffix3", "outline") for distance in (-1, 1)),
    (("lower", -1), ("lower", 0)),
    (("lower", 0), ("lower", 1)),
    (("outline", -1), ("lower", 0)),
    (("lower", 0), ("outline", 1)),
    (("lower", -1), ("outline", 0)),
    (("outline", 0), ("lower", 1)),
    (("lower", -2), ("lower", -1)),
    (("lower", 1), ("lower", 2)),
    (("outline", -1), ("outline", 0), ("outline", 1)),
)
_WHERE = {-2: "two before: ", -1: "before: ", 0: "", 1: "after: ", 2: "two after: "}


def word_shape(word: str) -> str:
    """The word with X for a capital, x for any other letter and d for a digit: "McKay-7" has the shape "XxXxx-d"."""
    return "".join("d" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word)


def word_outline(word: str) -> str:
    """The shape with repeated signs once: "McKay-77" has the outline "XxXx-d"."""
    return "".join(sign for sign, _ in groupby(word_shape(word)))


class TagFeatures:
    """The features that occur in training rows, and their numbers.

    `min_count`: features that fewer training words have are unknown. `num_features` includes the unknown one, 0.
    """

    def __init__(self, values: dict[str, dict[str, int]], known: list[IntArray], counts: list[IntArray]) -> None:
        self._values = values  # by attribute, the number of each value
        self._known = known  # by slot, the sorted codes of its values
        self._counts = counts  # by slot, how often each occurs in training; empty if nothing is to be dropped

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[str]]) -> TagFeatures:
        """All features of these rows of words."""
        found = cls({attribute: {} for attribute in _ATTRIBUTES}, [], [])
        attributes = found._attributes_of_words(rows, is_training=True)
        for slot in _SLOTS:
            codes, counts = np.unique(found._codes(slot, attributes), return_counts=True)
            found._known.append(codes)
            found._counts.append(counts)
        return found

    def limit(self, num_features: int) -> int:
        """Drop the rarest values until at most this many are left; returns how often each of those left occurs."""
        min_count = 1
        while self.num_features > num_features:
            min_count += 1
            kept = [counts >= min_count for counts in self._counts]
            self._known = [codes[keep] for codes, keep in zip(self._known, kept, strict=True)]
            self._counts = [counts[keep] for counts, keep in zip(self._counts, kept, strict=True)]
            self.__dict__.pop("num_features", None)
        return min_count

    def keep(self, is_kept: npt.NDArray[np.bool_]) -> TagFeatures:
        """The same with the features for which `is_kept` (V,) says so; the unknown one, 0, stays."""
        edges = np.cumsum([len(known) for known in self._known])[:-1]
        known = [codes[own] for codes, own in zip(self._known, np.split(is_kept[1:], edges), strict=True)]
        return TagFeatures(self._values, known, [])

    @cached_property
    def num_features(self) -> int:
        return 1 + sum(map(len, self._known))

    def iter_rows(self, rows: Sequence[Sequence[str]]) -> Iterator[IdArray]:
        """The features (T, S) of each row; some rows are encoded at a time, since a word takes 600 bytes meanwhile."""
        first = 0
        while first < len(rows):
            last, num_words = first + 1, len(rows[first])
            while last < len(rows) and num_words + len(rows[last]) <= _WORDS_AT_ONCE:
                num_words += len(rows[last])
                last += 1
            encoded, start = self.encode(rows[first:last]), 0
            for row in rows[first:last]:
                yield encoded[start : start + len(row)]
                start += len(row)
            first = last

    def describe(self, words: Sequence[str], place: int) -> list[str]:
        """The name of each of the S features of a word, such as `suffix3 "ton"` or `before: lower "in"`."""
        found: dict[int, dict[str, str]] = {}
        for distance in range(-_REACH, _REACH + 1):
            other = place + distance
            word = [words[other]] if 0 <= other < len(words) else []
            found[distance] = {name: f'"{values[0]}"' if values else "none" for name, values in _iter_attributes(word)}
        return [
            " and ".join(f"{_WHERE[distance]}{name} {found[distance][name]}" for name, distance in slot)
            for slot in _SLOTS
        ]

    def to_tensors(self) -> Tensors:
        """The arrays of a file."""
        strings: Tensors = {f"values.{name}": pack_words(list(known)) for name, known in self._values.items()}
        return {**strings, **{f"known.{slot}": codes for slot, codes in enumerate(self._known)}}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> TagFeatures:
        """What `to_tensors` wrote. Raises KeyError for missing arrays."""
        first = _BOUNDARY + 1
        values = {
            name: {string: first + place for place, string in enumerate(unpack_words(tensors[f"values.{name}"]))}
            for name in _ATTRIBUTES
        }
        return cls(values, [tensors[f"known.{slot}"] for slot in range(len(_SLOTS))], [])

    def encode(self, rows: Sequence[Sequence[str]]) -> IdArray:
        """The features (T, S) of each word."""
        attributes = self._attributes_of_words(rows, is_training=False)
        features = np.zeros((sum(map(len, rows)), len(_SLOTS)), dtype=np.int32)
        offset = 1
        for column, (slot, known) in enumerate(zip(_SLOTS, self._known, strict=True)):
            codes = self._codes(slot, attributes)
            places = np.searchsorted(known, codes)
            is_known = np.take(known, places, mode="clip") == codes if len(known) else np.zeros(len(codes), dtype=bool)
            features[:, column] = np.where(is_known, places + offset, _UNKNOWN)
            offset += len(known)
        return features

    def _attributes_of_words(
        self, rows: Sequence[Sequence[str]], *, is_training: bool
    ) -> dict[tuple[str, int], IntArray]:
        """The values (T,) of each attribute at each distance from each word."""
        numbers: dict[str, int] = {}
        places = [numbers.setdefault(word, len(numbers) + 1) for row in rows for word in row]
        words = np.fromiter(places, dtype=np.int64, count=len(places))
        padded, centres = _pad(words, [len(row) for row in rows])
        found = {}
        for attribute, strings in _iter_attributes(numbers):
            known = self._values[attribute]
            if is_training:
                values = [known.setdefault(string, len(known) + _BOUNDARY + 1) for string in strings]
            else:
                values = [known.get(string, _UNKNOWN) for string in strings]
            of_word = np.array([_BOUNDARY, *values], dtype=np.int64)
            for distance in range(-_REACH, _REACH + 1):
                found[attribute, distance] = of_word[padded[centres + distance]]
        return found

    def _codes(self, slot: _Slot, attributes: dict[tuple[str, int], IntArray]) -> IntArray:
        """One number (T,) per value of a slot; 0 if one of its attributes is unknown."""
        codes = np.zeros_like(attributes[slot[0]])
        is_known = np.ones(len(codes), dtype=bool)
        for attribute, distance in slot:
            values = attributes[attribute, distance]
            codes = codes * (len(self._values[attribute]) + _BOUNDARY + 1) + values
            is_known &= values != _UNKNOWN
        return np.where(is_known, codes, -1)


def _pad(words: IntArray, lengths: Sequence[int]) -> tuple[IntArray, IntArray]:
    """The rows with boundary words between them, and the places (T,) of the words among these."""
    row_of_word = np.repeat(np.arange(len(lengths)), lengths)
    centres = np.arange(len(words)) + _REACH * (row_of_word + 1)
    padded = np.full(len(words) + _REACH * (len(lengths) + 1), _BOUNDARY_WORD, dtype=np.int64)
    padded[centres] = words
    return padded, centres


def _iter_attributes(words: Iterable[str]) -> Iterable[tuple[str, list[str]]]:
    words = list(words)
    lowered = [word.lower() for word in words]
    yield "word", words
    yield "lower", lowered
    yield "shape", [word_shape(word) for word in words]
    yield "outline", [word_outline(word) for word in words]
    for n in _AFFIX_LENGTHS:
        yield f"prefix{n}", [word[:n] for word in lowered]
        yield f"suffix{n}", [word[-n:] for word in lowered]
