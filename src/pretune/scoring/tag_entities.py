"""From the tags of words to entities, and how many of them are right.

With X entity types there are 2 X + 1 tags (IOB2): 0 is O, 1 + 2 x is B-x and 2 + 2 x is I-x, for x from 0 to X - 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Entity = tuple[int, int, int]  # first word, word after the last one, type

OUTSIDE = 0


@dataclass(frozen=True, kw_only=True)
class TaggedRows:
    """Rows of words, each with one tag per word; a row may be empty."""

    words: Sequence[Sequence[str]]
    tags: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class TagBaseline:
    """A trained baseline: a tag for each word of the test rows, and the settings that validation chose."""

    name: str
    kind: str
    tags: list[IntArray]
    chosen: dict[str, float | str]


def first_tag(entity_type: int) -> int:
    """The tag B-x of a type."""
    return 1 + 2 * entity_type


def entities_of(tags: Sequence[int] | IntArray) -> list[Entity]:
    """The entities of a row in order; an I-x that continues nothing of type x begins an entity, as in seqeval."""
    entities: list[Entity] = []
    start, current = 0, -1  # the type of the open entity, or -1
    for place, tag in enumerate((*tags, OUTSIDE)):
        entity_type, is_inside = (tag - 1) // 2, tag > OUTSIDE and tag % 2 == 0
        if is_inside and entity_type == current:
            continue
        if current >= 0:
            entities.append((start, place, current))
        start, current = place, entity_type if tag > OUTSIDE else -1
    return entities


def entity_f1(
    true_tags: Iterable[Sequence[int] | IntArray], predicted_tags: Iterable[Sequence[int] | IntArray]
) -> float:
    """Micro-averaged F1 over whole entities: first word, last word and type must be right (CoNLL-2003)."""
    hits = total = 0
    for true, predicted in zip(true_tags, predicted_tags, strict=True):
        expected, found = set(entities_of(true)), set(entities_of(predicted))
        hits += len(expected & found)
        total += len(expected) + len(found)
    return 2 * hits / total if total else 0.0
