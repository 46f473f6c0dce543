"""From a pattern such as "{text} It was [MASK]." and a text to token ids with one mask token.

The model then answers by predicting the missing word (pattern-exploiting training, arXiv:2001.07676).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretune.errors import UsageError
from pretune.text.tokenizer.rows import share_out
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import MASK, EncodedText, Tokenizer, cut_middle

TEXT, TEXT_PAIR = "{text}", "{text_pair}"
LEAST_TEXT_TOKENS = 4  # for each text; with fewer, nothing of it is left
_PLACES = re.compile(re.escape(TEXT_PAIR) + "|" + re.escape(TEXT) + "|" + re.escape(MASK))


@dataclass(frozen=True)
class Pattern:
    """A pattern that was checked: `parts` are its places ("{text}", "{text_pair}", "[MASK]") and the words between."""

    parts: tuple[str, ...]

    @property
    def written(self) -> str:
        """The pattern as one string, from which `read_pattern` reads it again."""
        return "".join(self.parts)

    @property
    def has_pair(self) -> bool:
        """Whether there is a place for a second text."""
        return TEXT_PAIR in self.parts

    def fill_in(self, text: str, text_pair: str | None = None) -> str:
        """The sentence that the model reads, still with [MASK]."""
        values = {TEXT: text, TEXT_PAIR: text_pair or ""}
        return "".join(values.get(part, part) for part in self.parts)


def read_pattern(written: str, *, has_pair: bool = False) -> Pattern:
    """Read and check a pattern; `has_pair` says that each row has a second text.

    A pattern without "{text}" follows the text, and the second text if there is one. A blank is added before a text
    that lacks one, since a text begins a word. Raises UsageError if there is not exactly one [MASK], if a place occurs
    twice, or if the places do not fit the rows.
    """
    counts = {place: _PLACES.findall(written).count(place) for place in (MASK, TEXT, TEXT_PAIR)}
    shown = f"The pattern {written!r:.120}"
    if counts[MASK] != 1:
        found = "has no [MASK]" if counts[MASK] == 0 else f"has {counts[MASK]} times [MASK]"
        raise UsageError(f'{shown} {found}; put one in place of the answer, as in "{TEXT} It was {MASK}."')
    for place in (TEXT, TEXT_PAIR):
        if counts[place] > 1:
            raise UsageError(f"{shown} has {counts[place]} times {place}; expected it once.")
    if counts[TEXT_PAIR] and not has_pair:
        raise UsageError(f"{shown} has {TEXT_PAIR}, and the rows have a single text; leave it out.")
    if not counts[TEXT] and not counts[TEXT_PAIR]:
        written = " ".join([TEXT, *([TEXT_PAIR] if has_pair else []), written.strip()])
    elif not counts[TEXT] or (has_pair and not counts[TEXT_PAIR]):
        missing = TEXT_PAIR if counts[TEXT] else TEXT
        raise UsageError(f"{shown} has no {missing}, and the rows have two texts; add a place for it.")
    written = re.sub(r"(?<=\S)(?=\{text(?:_pair)?\})", " ", " ".join(written.split()))
    return Pattern(tuple(part for part in re.split(f"({_PLACES.pattern})", written) if part))


class PatternEncoder:
    """Encodes texts inside a pattern; special tokens that are typed in a text are plain text.

    If a row is too long, the middle of its texts is cut out, never the pattern. Raises UsageError if the pattern itself
    leaves no room for a text.
    """

    def __init__(self, tokenizer: Tokenizer, pattern: Pattern, max_seq_len: int) -> None:
        self.tokenizer, self.pattern, self.max_seq_len = tokenizer, pattern, max_seq_len
        self._first, self._last = ([] if token == NONE else [token] for token in (tokenizer.bos_id, tokenizer.eos_id))
        self._ids = {place: _ids_between(tokenizer, pattern.parts, place) for place in range(len(pattern.parts))}
        self._room = max_seq_len - sum(tokenizer.num_around) - sum(map(len, self._ids.values()))
        if self._room < LEAST_TEXT_TOKENS * (1 + pattern.has_pair):
            raise UsageError(
                f"The pattern {pattern.written!r:.120} leaves {max(0, self._room)} of {max_seq_len} tokens for the "
                "text; give a shorter one."
            )

    def encode(self, text: str, text_pair: str | None = None) -> list[int]:
        """The ids of one row of clean texts: one [MASK], between the special tokens that the tokenizer adds."""
        return self.encode_batch([text], None if text_pair is None else [text_pair])[0]

    def encode_batch(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[list[int]]:
        """The ids of many rows; a pattern with two places needs `text_pairs`."""
        firsts = self._encode_plain(texts)
        seconds = self._encode_plain(text_pairs or [""] * len(texts)) if self.pattern.has_pair else [[]] * len(texts)
        return [self._put_together(a, b) for a, b in zip(firsts, seconds, strict=True)]

    def encode_with_offsets(self, text: str, text_pair: str | None = None) -> tuple[str, EncodedText, list[int]]:
        """The whole sentence, its ids with the span of each in it, and the places of the ids that are not cut out."""
        values, inside = {TEXT: text, TEXT_PAIR: text_pair or ""}, self.tokenizer.inside
        ids, spans = list(self._first), [(0, 0)] * len(self._first)
        lengths: dict[str, int] = {}
        start = 0
        for place, part in enumerate(self.pattern.parts):
            if part in values:
                encoded = self.tokenizer.encode_with_offsets(values[part])
                own, own_spans = inside(encoded.ids), inside(encoded.offsets)
                lengths[part] = len(own)
            else:
                own, own_spans = self._ids[place], self._spans_between(place)
            ids += own
            spans += [(start + first, start + last) for first, last in own_spans]
            start += len(values.get(part, part))
        encoded = EncodedText(ids=ids + self._last, offsets=spans + [(0, 0)] * len(self._last))
        return self.pattern.fill_in(text, text_pair), encoded, self._kept_places(lengths)

    def _spans_between(self, place: int) -> list[tuple[int, int]]:
        """The spans of the ids of a part that is the same in all rows, in that part."""
        part = self.pattern.parts[place]
        if part == MASK:
            return [(0, len(MASK))]
        prefix = "" if place == 0 else MASK
        encoded = self.tokenizer.encode_for_fill(prefix + part.rstrip())
        shift, spans = len(prefix), self.tokenizer.inside(encoded.offsets)
        return [(max(0, first - shift), last - shift) for first, last in spans[bool(prefix) :]]

    def _kept_places(self, lengths: Mapping[str, int]) -> list[int]:
        room = dict(
            zip(
                (TEXT, TEXT_PAIR),
                share_out(self._room, lengths.get(TEXT, 0), lengths.get(TEXT_PAIR, 0)),
                strict=True,
            )
        )
        start = len(self._first)
        kept = list(range(start))
        for place, part in enumerate(self.pattern.parts):
            count = lengths[part] if part in lengths else len(self._ids[place])
            own = list(range(start, start + count))
            kept += cut_middle(own, room[part]) if part in lengths else own
            start += count
        return [*kept, *range(start, start + len(self._last))]

    def _encode_plain(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.tokenizer.inside(ids) for ids in self.tokenizer.encode_batch(texts)]

    def _put_together(self, first: list[int], second: list[int]) -> list[int]:
        room = share_out(self._room, len(first), len(second))
        texts = {TEXT: cut_middle(first, room[0]), TEXT_PAIR: cut_middle(second, room[1])}
        inside = (texts.get(part, self._ids[place]) for place, part in enumerate(self.pattern.parts))
        return [*self._first, *(token for ids in inside for token in ids), *self._last]


def _ids_between(tokenizer: Tokenizer, parts: Sequence[str], place: int) -> list[int]:
    """The ids of a part that is the same in all rows, as the tokenizer gives them inside the whole sentence."""
    part = parts[place]
    if part in (TEXT, TEXT_PAIR):
        return []
    if part == MASK:
        return [tokenizer.mask_id]
    is_first = place == 0
    # After another part no blank is added before it; the mask token stands for that part.
    ids = tokenizer.inside(tokenizer.encode_for_fill(part.rstrip() if is_first else MASK + part.rstrip()).ids)
    return ids if is_first else ids[1:]
