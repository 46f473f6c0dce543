"""Entities as ranges of characters: read from a cell, checked, trimmed, and turned into tags of words."""

from __future__ import annotations

import numbers
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pretune.errors import InputDataError
from pretune.text.labels.label_text import label_text
from pretune.text.labels.tags import Scheme, WordSpan, entities_of_tags, tags_of_entities

_START = ("start", "start_offset", "start_char", "begin", "from")
_END = ("end", "end_offset", "end_char", "stop", "to")
_TYPE = ("label", "type", "tag", "entity", "entity_type", "entity_group", "category", "class")


class Span(NamedTuple):
    """An entity: characters `start` to before `end` of a text, and its type."""

    start: int
    end: int
    type: str


def are_spans(items: Any) -> bool:
    """Whether a cell is a list of spans; an empty list is one."""
    return isinstance(items, list | tuple) and all(span_of(item) is not None for item in items)


def read_spans(items: Sequence[Any], text: str, where: str) -> tuple[tuple[Span, ...], int]:
    """The spans of a text in order, without blanks at their borders, and the number that were trimmed.

    An item is `[start, end, type]` or an object with such keys. `where` is the place for messages. Raises
    InputDataError for anything else, and for spans that are empty, lie outside the text or overlap.
    """
    spans: set[Span] = set()
    num_trimmed = 0
    for item in items:
        found = span_of(item)
        if found is None or not found.type:
            raise InputDataError(
                f"{where}: {item!r:.80} is not an entity; expected [start, end, type], or an object with start, end "
                "and label."
            )
        _refuse_outside(found, text, where)
        trimmed = trim_span(found, text)
        num_trimmed += trimmed != found
        if trimmed is None:
            raise InputDataError(
                f"{where}: the entity {_shown(found)} contains only blanks; expected a word: correct or remove it."
            )
        spans.add(trimmed)
    ordered = tuple(sorted(spans))
    _refuse_overlaps(ordered, where)
    return ordered, num_trimmed


def span_of(item: Any) -> Span | None:
    """An item as a span: `[start, end, type]`, an object with such keys, or one with such attributes, as predicted
    entities are; None if it is none. The type is empty if it is missing."""
    if all(hasattr(item, name) for name in Span._fields):
        start, end, type = item.start, item.end, item.type
    elif isinstance(item, Mapping):
        start, end, type = (next((item[key] for key in keys if key in item), None) for keys in (_START, _END, _TYPE))
    elif isinstance(item, list | tuple) and len(item) == 3:
        start, end, type = item
    else:
        return None
    # Programs may have integers of numpy.
    if not all(isinstance(place, numbers.Integral) and not isinstance(place, bool) for place in (start, end)):
        return None
    return None if isinstance(type, list | tuple | dict) else Span(int(start), int(end), label_text(type))


def _refuse_outside(span: Span, text: str, where: str) -> None:
    if span.start >= span.end:
        raise InputDataError(
            f"{where}: the entity {_shown(span)} ends where it begins or before; the end is the offset after its last "
            "character: correct or remove it."
        )
    if span.start < 0 or span.end > len(text):
        raise InputDataError(
            f"{where}: the entity {_shown(span)} lies outside the text, which has {len(text):,} characters; offsets "
            "count characters from 0: correct or remove it."
        )


def _refuse_overlaps(spans: Sequence[Span], where: str) -> None:
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise InputDataError(
                f"{where}: the entities {_shown(one)} and {_shown(other)} overlap; a character can be part of one "
                "entity only: remove one of them, for example keep the longer."
            )


def _shown(span: Span) -> str:
    return f"{span.start}-{span.end} {span.type!r}"


def trim_span(span: Span, text: str) -> Span | None:
    """The span without blanks at its borders; None if nothing is left."""
    start, end = span.start, span.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end, span.type) if start < end else None


def join_words(words: Iterable[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words joined by single blanks, and where each is in the text: from, to. White space around them is lost."""
    offsets, parts, position = [], [], 0
    for word in words:
        part = word.strip()
        offsets.append((position, position + len(part)))
        parts.append(part)
        position += len(part) + bool(part)
    return " ".join(filter(None, parts)), offsets


def spans_of_tags(tags: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The entities of tagged words as spans of the text; `offsets` are where its words are.

    A blank word is nowhere in the text, so an entity reaches from its first word that is not blank to its last.
    """
    found = []
    for entity in entities_of_tags(tags):
        words = [(start, end) for start, end in offsets[entity.start : entity.end] if start < end]
        if words:
            found.append(Span(words[0][0], words[-1][1], entity.type))
    return tuple(found)


def to_tags(spans: Iterable[Span], offsets: Sequence[tuple[int, int]], scheme: Scheme = "IOB2") -> list[str]:
    """A tag for every word; a word is part of an entity if they have a character in common.

    If a word has characters of two entities, it is part of the first.
    """
    entities, first_free, index = [], 0, 0
    for span in sorted(spans):
        while index < len(offsets) and offsets[index][1] <= span.start:
            index += 1
        start = end = max(index, first_free)
        while end < len(offsets) and offsets[end][0] < span.end:
            end += 1
        if start < end:
            entities.append(WordSpan(start, end, span.type))
            first_free = end
    return tags_of_entities(entities, len(offsets), scheme)


def word_offsets(text: str, *, splits_signs: bool = False) -> list[tuple[int, int]]:
    """Where the words of a text are: from, to. Words are separated by blanks.

    With `splits_signs`, every punctuation mark and symbol is a word of its own.
    """
    offsets: list[tuple[int, int]] = []
    start: int | None = None
    for index, character in enumerate(text):
        is_sign = splits_signs and unicodedata.category(character)[0] in "PS"
        if start is not None and (is_sign or character.isspace()):
            offsets.append((start, index))
            start = None
        if is_sign:
            offsets.append((index, index + 1))
        elif start is None and not character.isspace():
            start = index
    return offsets if start is None else [*offsets, (start, len(text))]


def count_unaligned(spans: Iterable[Span], offsets: Sequence[tuple[int, int]]) -> int:
    """The number of spans that begin or end inside a word."""
    starts, ends = {start for start, _ in offsets}, {end for _, end in offsets}
    return sum(span.start not in starts or span.end not in ends for span in spans)
