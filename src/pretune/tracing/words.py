"""The tokens of a text, each with its characters, and the words that they are part of.

A word is a stretch of the clean text without a blank, with the punctuation that touches it: attributions are summed,
and masking is done, by such words. In scripts that write no blanks between words (Chinese, Japanese, Thai, Lao, Khmer,
Burmese), every token is a word by itself. Where the middle of a long text was cut out, the words end at the cut.
Found in the text one after another, the words leave nothing but blanks, and the cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.text.tokenizer.tokenizer import EncodedText, Tokenizer, cut_middle
from pretune.trace_schema import Token

_WRITES_NO_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word as the text has it, and the positions of its tokens in the row."""

    surface: str
    positions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TokenizedText:
    """The row that the model reads, and what its tokens stand for."""

    text: str
    ids: list[int]
    tokens: list[Token]
    words: list[Word]
    was_cut: bool

    @property
    def special_positions(self) -> list[int]:
        return [token.position for token in self.tokens if token.is_special]


def tokenize(
    tokenizer: Tokenizer,
    text: str,
    encoded: EncodedText,
    max_seq_len: int,
    counts: npt.NDArray[np.int64] | None = None,
) -> TokenizedText:
    """The tokens and words of an encoded clean text, cut in the middle to `max_seq_len` tokens.

    `counts` has the number of times that each token occurs in the training text.
    """
    kept = cut_middle(list(range(len(encoded.ids))), max_seq_len)
    was_cut = len(kept) < len(encoded.ids)
    cut = next((i for i in range(1, len(kept)) if kept[i] != kept[i - 1] + 1), None)
    ids = [encoded.ids[index] for index in kept]
    special = tokenizer.all_special_ids - {tokenizer.unk_id}
    spans = [None if i in special else encoded.offsets[index] for i, index in zip(ids, kept, strict=True)]
    words = find_words(text, spans, cut)
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
    return TokenizedText(text=text, ids=ids, tokens=tokens, words=words, was_cut=was_cut)


def find_words(text: str, spans: Sequence[tuple[int, int] | None], cut: int | None = None) -> list[Word]:
    """The words of a text whose tokens have these spans; None is a special token, and ends a word.

    `cut` is the position of the first token after a cut. A token of blanks alone is part of the word that follows.
    """
    groups: list[list[int]] = []
    begin = end = 0  # of the word so far
    is_open = False  # whether the next token may continue it
    for position, span in enumerate(spans):
        if span is None:
            is_open = False
        elif is_open and position != cut and _continues_word(text, begin, end, span):
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
