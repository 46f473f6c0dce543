"""Which words of a text are labelled: those between blanks, or finer ones, as the entities of the training rows need.

Words come from the text alone, so that a new text has the same words as a training text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from pretune.text.labels.spans import Span, count_unaligned, word_offsets

# blanks: words between blanks, without the signs at their ends where the text has signs written onto words;
# signs: every punctuation mark and symbol is a word of its own.
WordRule = Literal["blanks", "signs"]

_OPENING = '"(\\[{“„«‘'
_CLOSING = '"),;:!?\\]}”“»’'
# Signs written onto words, as in running text. Words that were separated before, as in CoNLL files, have a blank there;
# a full stop counts at the end of the text only, because of abbreviations.
_RUNNING = re.compile(rf"(?:^|\s)[{_OPENING}]+\w|\w[{_CLOSING}]+(?:\s|$)|\w\w\.[{_CLOSING}]*$")
_ABBREVIATION = re.compile(r"(?:\w\.)+|\d+[.,]?|[A-Z]\w{0,2}\.")  # U.S., J., 12., Mr., Dr., Jan.


def find_words(text: str, rule: WordRule) -> list[tuple[int, int]]:
    """Where the words of a clean text are: from, to."""
    if rule == "signs":
        return word_offsets(text, splits_signs=True)
    offsets = word_offsets(text)
    if _RUNNING.search(text) is None:
        return offsets
    return [part for start, end in offsets for part in _without_signs(text, start, end, end == len(text))]


def choose_word_rule(rows: Iterable[tuple[str, Sequence[Span]]]) -> WordRule:
    """The rule with which fewer entities of the training rows begin or end inside a word; if it is equal, "blanks"."""
    counts: dict[WordRule, int] = {"blanks": 0, "signs": 0}
    for text, spans in rows:
        if spans:
            for rule in counts:
                counts[rule] += count_unaligned(spans, find_words(text, rule))
    return min(counts, key=lambda rule: counts[rule])


def _without_signs(text: str, start: int, end: int, is_last: bool) -> list[tuple[int, int]]:
    """A stretch between blanks, with each sign before and after its word as a word of its own."""
    first, last = start, end
    while first < last and _is_sign(text[first]):
        first += 1
    while last > first and _is_sign(text[last - 1]):
        last -= 1
    if first == last:
        return [(index, index + 1) for index in range(start, end)] if end - start <= 1 else [(start, end)]
    is_abbreviated = text[last : last + 1] == "." and _ABBREVIATION.fullmatch(text[first : last + 1]) is not None
    if is_abbreviated and not (is_last and last + 1 == end and "." not in text[first:last]):
        last += 1
    signs_before = [(index, index + 1) for index in range(start, first)]
    return [*signs_before, (first, last), *((index, index + 1) for index in range(last, end))]


def _is_sign(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"
