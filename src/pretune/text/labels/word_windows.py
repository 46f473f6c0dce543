"""A text of words that get a label each, as rows of token ids that a model can read: one row, or several windows.

Windows are cut before a word that follows a blank, so that the tokens of a window are those of the whole text. Each
word gets its label from the window in which it has most context.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pretune.text.labels.checks import LabeledRow
from pretune.text.labels.spans import Span
from pretune.text.labels.words import WordRule, find_words
from pretune.text.tokenizer.tokenizer import EncodedText, Tokenizer

IntArray = npt.NDArray[np.int64]
CONTEXT_FRACTION = 0.125  # of a row, on each side, for words that another window labels


@dataclass(frozen=True, kw_only=True)
class Window:
    """Characters `start` to before `end` of a text, and the words `first` to before `last` that are labelled there."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class ReadRows:
    """Rows of token ids for some texts, and where the labels of their words are.

    `rows` are the windows of all texts in order; `positions` are, for each window, the first tokens of the words that
    are labelled there. `words` has the offsets of the words of each text, in the same order. `spans` are, for each
    window, the characters of its text.
    """

    rows: list[list[int]]
    positions: list[IntArray]
    words: list[list[tuple[int, int]]]
    spans: list[tuple[int, int]]


def read_words(
    tokenizer: Tokenizer, texts: Sequence[str], rule: WordRule, max_seq_len: int, *, context: float = CONTEXT_FRACTION
) -> ReadRows:
    """All words of clean texts, in windows of at most `max_seq_len` tokens if a text is longer."""
    found = ReadRows(rows=[], positions=[], words=[], spans=[])
    around = tokenizer.num_around
    after = around[1]
    for text, encoded in zip(texts, tokenizer.encode_batch_with_offsets(texts), strict=True):
        words = find_words(text, rule)
        found.words.append(words)
        if len(encoded.ids) <= max_seq_len:
            found.rows.append(encoded.ids)
            found.positions.append(first_tokens(text, encoded, words, around))
            found.spans.append((0, len(text)))
            continue
        windows = cut_windows(text, encoded, words, max_seq_len, around, context)
        contents = [text[window.start : window.end] for window in windows]
        found.spans.extend((window.start, window.end) for window in windows)
        encodings = tokenizer.encode_batch_with_offsets(contents)
        for window, content, part in zip(windows, contents, encodings, strict=True):
            own = [(start - window.start, end - window.start) for start, end in words[window.first : window.last]]
            # Too long only if it has a stretch without blanks that is nearly as long as a row.
            ids, is_cut = part.ids, len(part.ids) > max_seq_len
            found.rows.append([*ids[: max_seq_len - after], *ids[len(ids) - after :]] if is_cut else ids)
            found.positions.append(np.minimum(first_tokens(content, part, own, around), max_seq_len - 1 - after))
    return found


def cut_long_rows(
    tokenizer: Tokenizer, rows: Sequence[LabeledRow], rule: WordRule, max_seq_len: int
) -> tuple[list[LabeledRow], int]:
    """Rows of entities, where each text of more than `max_seq_len` tokens is cut into several rows, between entities if
    it can be; and the number of rows that were cut."""
    found: list[LabeledRow] = []
    num_cut = 0
    for row, encoded in zip(rows, tokenizer.encode_batch_with_offsets([row.text for row in rows]), strict=True):
        if len(encoded.ids) <= max_seq_len:
            found.append(row)
            continue
        num_cut += 1
        words = find_words(row.text, rule)
        windows = cut_windows(row.text, encoded, words, max_seq_len, tokenizer.num_around, spans=row.label)
        found += [_part_of(row, part, window) for part, window in enumerate(windows)]
    return found, num_cut


def _part_of(row: LabeledRow, part: int, window: Window) -> LabeledRow:
    text = row.text[window.start : window.end]
    inside = [
        Span(max(start, window.start) - window.start, min(end, window.end) - window.start, kind)
        for start, end, kind in row.label
        if start < window.end and end > window.start
    ]
    label = tuple(inside)
    cut = LabeledRow.of_text(row=row.row, line=row.line, text=text, raw=text, label=label, slice=row.slice)
    return replace(cut, part=part)


def first_tokens(
    text: str, encoded: EncodedText, words: Sequence[tuple[int, int]], around: tuple[int, int]
) -> IntArray:
    """The place of the first token of each word among the ids: sometimes the blank before it, if that is a token.

    `around` are the numbers of special tokens before and after the text.
    """
    before, after = around
    ends = np.array([end for _, end in encoded.offsets[before : len(encoded.offsets) - after]], dtype=np.int64)
    starts = np.array([start for start, _ in words], dtype=np.int64)
    if not len(ends):
        return starts
    places = np.searchsorted(np.maximum.accumulate(ends), starts, side="right")
    follows = np.array([start > 0 and text[start - 1].isspace() for start, _ in words], dtype=np.bool_)
    return before + places - (follows & (ends[places - 1] == starts))


def cut_windows(
    text: str,
    encoded: EncodedText,
    words: Sequence[tuple[int, int]],
    max_seq_len: int,
    around: tuple[int, int],
    context: float = 0.0,
    spans: Sequence[Span] = (),
) -> list[Window]:
    """Windows of about equal length for a text of more than `max_seq_len` tokens.

    Each has at most `context` of a row on each side for words that its neighbours label. No window begins inside one of
    the `spans` if it can begin elsewhere. `around` are the numbers of special tokens before and after a text.
    """
    room = max_seq_len - sum(around)
    aside = int(room * context)
    tokens = (first_tokens(text, encoded, words, around) - around[0]).tolist()  # of the words before
    total = len(encoded.ids) - sum(around)
    covered = {place for span in spans for place in range(span.start + 1, span.end)}
    places = [w for w, (start, _) in enumerate(words) if w and text[start - 1].isspace() and start not in covered]
    edges = _edges(tokens, total, places, room - 2 * aside)
    bounds = [*tokens, total]
    windows = []
    for first, last in pairwise(edges):
        before = _reach(places, bounds, first, bounds[first] - aside, is_end=False)
        after = _reach(places, bounds, last, bounds[last] + aside, is_end=True)
        if bounds[after] - bounds[before] > room:
            before, after = first, last
        start, end = words[before][0], words[after - 1][1]
        windows.append(Window(start=start, end=end, first=first, last=last))
    return windows


def _edges(tokens: Sequence[int], total: int, places: Sequence[int], room: int) -> list[int]:
    """The words at which windows begin, and the number of words; `places` are the words that follow a blank."""
    number = -(-total // room)
    edges = [0]
    while True:
        begun = tokens[edges[-1]]
        if total - begun <= room:
            return [*edges, len(tokens)]
        last = bisect_left(tokens, begun + room + 1) - 1  # the last word that begins in time
        possible = places[bisect_left(places, edges[-1] + 1) : bisect_left(places, last + 1)]
        even = total * len(edges) // number
        in_time = [word for word in possible if tokens[word] <= even]
        edge = in_time[-1] if in_time else possible[0] if possible else max(last, edges[-1] + 1)
        if edge >= len(tokens):
            return [*edges, len(tokens)]
        edges.append(edge)


def _reach(places: Sequence[int], bounds: Sequence[int], word: int, limit: int, *, is_end: bool) -> int:
    """The furthest edge before or after a word that is within a limit of tokens and at a blank; else the word."""
    edges = [0, *places, len(bounds) - 1]
    if is_end:
        return max(word, edges[bisect_right(edges, limit, key=bounds.__getitem__) - 1])
    return min(word, edges[bisect_left(edges, limit, key=bounds.__getitem__)])
