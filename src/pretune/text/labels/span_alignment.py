"""Where the spans of a text are after cleaning: an alignment of the characters of both texts.

Cleaning works on a word, a tag or an entity of HTML at a time, nearly always. So the text as found is walked part by
part; what each becomes is known by cleaning it alone, and only the characters of changed words are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

from pretune.text.clean.normalize import clean_text
from pretune.text.labels.spans import Span, trim_span

_PART = re.compile(r"<[^<>]*>|&#?\w{1,31};|[^\s<&]+|\s+|.")
MOST_PARTS = 50  # that are cleaned together: mojibake with a blank in it, the content of a script
MOST_CELLS = 4_000_000  # of the table of a comparison by character; larger regions are replaced as a whole


def clean_spans(raw: str, spans: Iterable[Span]) -> tuple[str, tuple[Span, ...], int]:
    """The clean text, its spans, and the number of spans of which cleaning has left nothing."""
    text = clean_text(raw)
    listed = tuple(spans)
    if text == raw or not listed:
        return text, listed, 0
    moved = move_spans(raw, text, listed)
    return text, moved, len(listed) - len(moved)


def move_spans(raw: str, clean: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans of `raw` in `clean`; those of which nothing is left are left out.

    Exact wherever the characters of a word stay as they are. A word that changed is compared character by character;
    if a border is between characters that were replaced together, the span has all of their replacement.
    """
    first, last = _align(raw, clean)
    moved: list[Span] = []
    for span in sorted(spans):
        kept = [index for index in range(span.start, span.end) if first[index] < last[index]]
        if not kept:
            continue
        start = max(first[kept[0]], moved[-1].end if moved else 0)
        found = trim_span(Span(start, max(start, last[kept[-1]]), span.type), clean)
        if found is not None:
            moved.append(found)
    return tuple(moved)


def restore_spans(raw: str, clean: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans of the clean text in the text as found: the reverse of `move_spans`, with the same exactness.

    A span has all characters of `raw` that became one of its characters.
    """
    listed = tuple(spans)
    if raw == clean or not listed:
        return listed
    first, last = _align(raw, clean)
    starts, ends = [0] * len(clean), [0] * len(clean)
    for index in range(len(raw) - 1, -1, -1):
        starts[first[index] : last[index]] = [index] * (last[index] - first[index])
    for index in range(len(raw)):
        ends[first[index] : last[index]] = [index + 1] * (last[index] - first[index])
    found = []
    for span in listed:
        places = [place for place in range(span.start, span.end) if starts[place] < ends[place]]
        if places:
            found.append(Span(starts[places[0]], ends[places[-1]], span.type))
        else:  # cleaning made these characters from nothing
            found.append(Span(0, 0, span.type))
    return tuple(found)


def _align(raw: str, clean: str) -> tuple[list[int], list[int]]:
    """For every character of `raw`, the range of `clean` that it became; from and to are equal if it is gone."""
    first, last = [0] * len(raw), [0] * len(raw)
    for is_equal, start, end, clean_start, clean_end in _regions(raw, clean):
        for index in range(start, end):
            first[index] = clean_start + (index - start if is_equal else 0)
            last[index] = first[index] + 1 if is_equal else clean_end
    return first, last


# Whether a region is equal in both texts, from and to in the text as found, from and to in the clean text.
_Region = tuple[bool, int, int, int, int]


def _regions(raw: str, clean: str) -> Iterator[_Region]:
    """What each part of the text became; white space, and what is gone, has no region."""
    parts = [match.span() for match in _PART.finditer(raw)]
    index = position = 0
    while index < len(parts):
        start, end = parts[index]
        if raw[start:end].isspace():
            index += 1
            continue
        position += clean.startswith(" ", position)
        if clean.startswith(raw[start:end], position):
            yield True, start, end, position, position + end - start
            position += end - start
            index += 1
            continue
        found = _clean_together(raw, parts[index : index + MOST_PARTS], clean, position)
        if found is None:
            yield from _compare(raw, clean, start, len(raw), position, len(clean))
            return
        num_parts, length = found
        end = parts[index + num_parts - 1][1]
        yield from _compare(raw, clean, start, end, position, position + length)
        index, position = index + num_parts, position + length


def _clean_together(raw: str, parts: list[tuple[int, int]], clean: str, position: int) -> tuple[int, int] | None:
    """How many parts must be cleaned together to become what is at a position of the clean text, and its length."""
    for count, (_, end) in enumerate(parts, 1):
        cleaned = clean_text(raw[parts[0][0] : end])
        if clean.startswith(cleaned, position):
            return count, len(cleaned)
    return None


def _compare(raw: str, clean: str, start: int, end: int, clean_start: int, clean_end: int) -> Iterator[_Region]:
    """The regions of a part that changed, by its characters; nothing if it is gone."""
    if (end - start) * (clean_end - clean_start) > MOST_CELLS:
        yield False, start, end, clean_start, clean_end
        return
    matcher = SequenceMatcher(None, raw[start:end], clean[clean_start:clean_end], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        yield tag == "equal", start + i, start + i_end, clean_start + j, clean_start + j_end
