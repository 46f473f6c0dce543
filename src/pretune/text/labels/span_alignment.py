"""Where the spans of a text are after cleaning: an alignment of the characters of both texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from pretune.text.clean.normalize import clean_text
from pretune.text.labels.spans import Span, trim_span

Region = tuple[int, int, int, int]  # from, to in the text as found; from, to in the clean text
_WORD = re.compile(r"\S+")
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


def _align(raw: str, clean: str) -> tuple[list[int], list[int]]:
    """For every character of `raw`, the range of `clean` that it became; from and to are equal if it is gone."""
    first, last = [0] * len(raw), [0] * len(raw)
    for tag, (start, end, clean_start, clean_end) in _regions(raw, clean):
        for index in range(start, end):
            if tag == "equal":
                first[index] = clean_start + index - start
                last[index] = first[index] + 1
            else:
                first[index], last[index] = clean_start, clean_end
    return first, last


def _regions(raw: str, clean: str) -> Iterator[tuple[str, Region]]:
    """Regions of equal words, word by word, and the regions between them, character by character."""
    words, clean_words = ([match.span() for match in _WORD.finditer(text)] for text in (raw, clean))
    texts, clean_texts = ([text[a:b] for a, b in found] for text, found in ((raw, words), (clean, clean_words)))
    for tag, i, i_end, j, j_end in _compare(texts, clean_texts):
        if tag == "equal":
            for (start, end), (clean_start, clean_end) in zip(words[i:i_end], clean_words[j:j_end], strict=True):
                yield "equal", (start, end, clean_start, clean_end)
        elif i < i_end and j < j_end:
            changed = (words[i][0], words[i_end - 1][1], clean_words[j][0], clean_words[j_end - 1][1])
            yield from _regions_by_character(raw, clean, changed)


def _regions_by_character(raw: str, clean: str, region: Region) -> Iterator[tuple[str, Region]]:
    start, end, clean_start, clean_end = region
    if (end - start) * (clean_end - clean_start) > MOST_CELLS:
        yield "replace", region
        return
    for tag, i, i_end, j, j_end in _compare(raw[start:end], clean[clean_start:clean_end]):
        yield tag, (start + i, start + i_end, clean_start + j, clean_start + j_end)


def _compare(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """The operations that turn one sequence into the other; equal ends are found without the slow comparison."""
    shortest = min(len(one), len(other))
    head = next((index for index in range(shortest) if one[index] != other[index]), shortest)
    rest = shortest - head
    tail = next((index for index in range(rest) if one[-1 - index] != other[-1 - index]), rest)
    ends = len(one) - tail, len(other) - tail
    yield "equal", 0, head, 0, head
    matcher = SequenceMatcher(None, one[head : ends[0]], other[head : ends[1]], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        yield tag, head + i, head + i_end, head + j, head + j_end
    yield "equal", ends[0], len(one), ends[1], len(other)
