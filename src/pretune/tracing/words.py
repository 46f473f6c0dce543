"""The tokens of a text, each with its characters, and the words that they are part of.

A word is a stretch of the clean text without a blank, with the punctuation that touches it: attributions are summed,
and masking is done, by such words. In scripts that write no blanks between words (Chinese, Japanese, Thai, Lao, Khmer,
Burmese), every token is a word by itself. Where the middle of a long text was cut out, the words end at the cut; the
sentence of a cloze about a pair may have two cuts. Found in the text one after another, the words leave nothing but
blanks, and the cuts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from pretune.text.tokenizer.rows import pair_positions
from pretune.text.tokenizer.tokenizer import EncodedPair, EncodedText, Tokenizer, cut_middle
from pretune.text.tokenizer.windows import WindowRule
from pretune.trace_schema import Token

_WRITES_NO_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_UNTIL_BLANK = re.compile(r"\S+")


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word as the text has it, and the positions of its tokens in the row."""

    surface: str
    positions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TokenizedText:
    """The row that the model reads, and what its tokens stand for."""

    text: str
    ids: list[int]  # of all windows, one after another
    tokens: list[Token]
    words: list[Word]
    was_cut: bool
    widths: tuple[int, ...] = ()  # the number of tokens of each window, if there are several

    @property
    def windows(self) -> list[list[int]]:
        """The ids of each window; of a text that is not too long there is one."""
        edges = accumulate(self.widths or (len(self.ids),), initial=0)
        return [self.ids[start:end] for start, end in pairwise(edges)]

    @property
    def special_positions(self) -> list[int]:
        return [token.position for token in self.tokens if token.is_special]


def tokenize(
    tokenizer: Tokenizer,
    text: str,
    encoded: EncodedText,
    max_seq_len: int,
    counts: npt.NDArray[np.int64] | None = None,
    kept: Sequence[int] | None = None,
    rule: WindowRule | None = None,
) -> TokenizedText:
    """The tokens and words of an encoded clean text, cut in the middle to `max_seq_len` tokens, or, with a rule, in
    windows; a window ends a word.

    `kept` are the places of the tokens that are left, if they were cut otherwise. `counts` has the number of times that
    each token occurs in the training text.
    """
    places = list(range(len(encoded.ids)))
    if rule is not None:
        windows = rule.windows(places, rule.spans(encoded.ids))
    else:
        windows = [cut_middle(places, max_seq_len) if kept is None else list(kept)]
    kept = [place for window in windows for place in window]
    was_cut = len(set(kept)) < len(places)
    cuts = {i for i in range(1, len(kept)) if kept[i] != kept[i - 1] + 1} if rule is None else set[int]()
    ids = [encoded.ids[index] for index in kept]
    special = tokenizer.all_special_ids - {tokenizer.unk_id}
    offsets = encoded.offsets if tokenizer.is_own else cover_removed(text, encoded.offsets)
    spans = [None if i in special else offsets[index] for i, index in zip(ids, kept, strict=True)]
    words = find_words(text, spans, cuts)
    word_of = {position: number for number, word in enumerate(words) for position in word.positions}
    tokens = []
    for position, (token_id, span) in enumerate(zip(ids, spans, strict=True)):
        start, end = span if span is not None else (None, None)
        tokens.append(
            Token(
                position=position,
                id=token_id,
                surface=tokenizer.surfaces([token_id])[0] if span is None else text[start:end],
                start=start,
                end=end,
                is_special=span is None,
                word=word_of.get(position),
                count=None if counts is None or span is None or token_id >= len(counts) else int(counts[token_id]),
            )
        )
    widths = tuple(map(len, windows)) if len(windows) > 1 else ()
    return TokenizedText(text=text, ids=ids, tokens=tokens, words=words, was_cut=was_cut, widths=widths)


def tokenize_pair(
    tokenizer: Tokenizer,
    texts: tuple[str, str],
    encoded: EncodedPair,
    max_seq_len: int,
    counts: npt.NDArray[np.int64] | None = None,
) -> TokenizedText:
    """As `tokenize`, for a pair of clean texts in one row, both cut if it is too long. The offsets of a token count
    from the start of its own text, and no word reaches from one text into the other."""
    kept, was_cut = pair_positions(tokenizer, texts, len(encoded.ids), max_seq_len)
    tokens: list[Token] = []
    words: list[Word] = []
    offsets = encoded.offsets if tokenizer.is_own else _cover_removed_of_pair(texts, encoded)
    for which, text in enumerate(texts):
        own = [encoded.texts[index] == which for index in kept]
        spans = [offsets[index] if is_own else None for index, is_own in zip(kept, own, strict=True)]
        cuts = {i for i in range(1, len(kept)) if own[i] and own[i - 1] and kept[i] != kept[i - 1] + 1}
        words += find_words(text, spans, cuts)
    word_of = {position: number for number, word in enumerate(words) for position in word.positions}
    for position, index in enumerate(kept):
        token_id, of_text = encoded.ids[index], encoded.texts[index]
        span = None if of_text is None else offsets[index]
        begin, end = (None, None) if span is None else span
        has_count = counts is not None and span is not None and token_id < len(counts)
        tokens.append(
            Token(
                position=position,
                id=token_id,
                surface=tokenizer.surfaces([token_id])[0] if span is None else texts[of_text or 0][begin:end],
                start=begin,
                end=end,
                is_special=span is None,
                word=word_of.get(position),
                count=int(counts[token_id]) if counts is not None and has_count else None,
                in_pair=of_text == 1,
            )
        )
    return TokenizedText(
        text=texts[0], ids=[encoded.ids[index] for index in kept], tokens=tokens, words=words, was_cut=was_cut
    )


def cover_removed(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that also cover the characters that a tokenizer removes, such as accents and the selectors of emoji.

    A character without a token belongs to the token before it, or, after a blank, to the next one.
    """
    found, last, end = list(offsets), None, 0
    for place, (start, stop) in enumerate(offsets):
        if start >= stop:
            continue
        gap = text[end:start]
        if last is not None and (joined := _UNTIL_BLANK.match(gap)):
            found[last] = (found[last][0], end + len(joined[0]))
            gap = gap[len(joined[0]) :]
        found[place] = (start - len(gap.lstrip()), stop)
        last, end = place, max(end, stop)
    if last is not None and text[end:].strip():
        found[last] = (found[last][0], len(text.rstrip()))
    return found


def _cover_removed_of_pair(texts: tuple[str, str], encoded: EncodedPair) -> list[tuple[int, int]]:
    offsets = list(encoded.offsets)
    for which, text in enumerate(texts):
        places = [place for place, of_text in enumerate(encoded.texts) if of_text == which]
        covered = cover_removed(text, [offsets[place] for place in places])
        for place, span in zip(places, covered, strict=True):
            offsets[place] = span
    return offsets


def find_words(text: str, spans: Sequence[tuple[int, int] | None], cuts: Collection[int] = frozenset()) -> list[Word]:
    """The words of a text whose tokens have these spans; None is a special token, and ends a word.

    `cuts` are the positions of the first token after each cut. A token of blanks alone is part of the word that
    follows.
    """
    groups: list[list[int]] = []
    begin = end = 0  # of the word so far
    is_open = False  # whether the next token may continue it
    for position, span in enumerate(spans):
        if span is None:
            is_open = False
        elif is_open and position not in cuts and _continues_word(text, begin, end, span):
            groups[-1].append(position)
            end = max(end, span[1])
        else:
            groups.append([position])
            (begin, end), is_open = span, True
    words = []
    for group in groups:
        inside = [span for position in group if (span := spans[position]) is not None]
        surface = text[min(start for start, _ in inside) : max(end for _, end in inside)].strip()
        words.append(Word(surface=surface, positions=tuple(group)))
    return words


def _continues_word(text: str, begin: int, end: int, span: tuple[int, int]) -> bool:
    """Whether a token with this span is part of the word so far, text[begin:end]."""
    if span[0] < end or span[0] == span[1]:  # one of several tokens of a single character
        return True
    before, after = text[end - 1 : end], text[end : end + 1]
    if before.isspace() or after.isspace():
        return not text[begin:end].strip() and not after.isspace()
    return not (_WRITES_NO_BLANKS.match(before) or _WRITES_NO_BLANKS.match(after))
