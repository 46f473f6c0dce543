"""From the probabilities of tags to the most probable valid tags, and to entities with their probabilities.

Tags are numbers (IOB2, see `tag_entities`). Shapes: M words of R rows together, K tags.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pretune.scoring.tag_entities import IntArray, entities_of, first_tag

FloatArray = npt.NDArray[np.float64]


class FoundEntity(NamedTuple):
    """An entity: the first word, the word after the last one, the number of its type, and its probability."""

    first: int
    last: int
    type: int
    probability: float


def decode_tags(log_probabilities: FloatArray, offsets: IntArray) -> IntArray:
    """The tags (M,) with the highest sum of log-probabilities (M, K) in each row, where I-x follows only B-x or I-x.

    The words of row i are those from `offsets[i]` to `offsets[i + 1]`. Viterbi's algorithm, for the words of all rows
    at one distance from the start together; of equally good tags, the one with the smaller number.
    """
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")  # the longest rows first: those that still have words are in front
    num_tags = log_probabilities.shape[1]
    inside = np.arange(2, num_tags, 2)
    before = np.zeros((len(log_probabilities), num_tags), dtype=np.int64)  # the best tag of the word before
    best = np.empty((len(order), num_tags))
    ends = -np.sort(-lengths)
    for place in range(int(ends[0]) if len(ends) else 0):
        count = int(np.searchsorted(-ends, -place, side="left"))
        words = offsets[order[:count]] + place
        scores = log_probabilities[words]
        if place == 0:
            best[:count] = scores
            best[:count, inside] = -np.inf
            continue
        so_far = best[:count]
        before[words] = so_far.argmax(axis=1)[:, None]
        from_begin = so_far[:, inside - 1] >= so_far[:, inside]
        before[words[:, None], inside[None]] = np.where(from_begin, inside - 1, inside)
        best[:count] = np.take_along_axis(so_far, before[words], axis=1) + scores
    return _trace_back(best, before, offsets, order, ends)


def _trace_back(best: FloatArray, before: IntArray, offsets: IntArray, order: IntArray, ends: IntArray) -> IntArray:
    tags = np.zeros(len(before), dtype=np.int64)
    for place in range(int(ends[0]) - 1 if len(ends) else -1, -1, -1):
        count = int(np.searchsorted(-ends, -place, side="left"))
        words = offsets[order[:count]] + place
        is_last = ends[:count] == place + 1
        following = np.minimum(words + 1, len(tags) - 1)
        tags[words] = np.where(is_last, best[:count].argmax(axis=1), before[following, tags[following]])
    return tags


def find_entities(log_probabilities: FloatArray, tags: IntArray, offsets: IntArray) -> list[list[FoundEntity]]:
    """The entities of each row, their words counted from the start of the row.

    The probability of an entity is that its words have just these tags and the word after it does not continue it, if
    the tags of words are independent given the text.
    """
    found = []
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        row = log_probabilities[start:end]
        found.append(
            [
                FoundEntity(first, last, kind, _probability(row, first, last, kind))
                for first, last, kind in entities_of(tags[start:end].tolist())
            ]
        )
    return found


def _probability(row: FloatArray, first: int, last: int, entity_type: int) -> float:
    begin = first_tag(entity_type)
    total = row[first, begin] + row[first + 1 : last, begin + 1].sum()
    ends = 1.0 - float(np.exp(row[last, begin + 1])) if last < len(row) else 1.0
    return float(np.exp(total)) * max(ends, 0.0)
