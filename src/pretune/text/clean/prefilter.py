"""A first, vectorised check of many texts: which are already clean, and which no rule for any length can drop.

Texts cleared here are never examined one by one in Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretune.text.arrays.word_hashes import BLOCK_BYTES, Bools, HashedWords, Int64s, UInt64s
from pretune.text.clean.rule_measures import FIRST_WORDS, LONGEST_MEAN_WORD, MIN_DISTINCT_FRACTION, WORDS_TO_JUDGE

_BITS = 20  # for each of three counts in one number; a text with a larger count is always checked
_BLANK, _LETTER, _NOT_ASCII = 1, 1 << _BITS, 1 << 2 * _BITS


def needs_look(texts: Sequence[str], *, min_words: int, max_symbol_ratio: float, most_words: int) -> Bools:
    """(texts,): whether a rule might drop each text, other than for repeating words, see `is_repetitive`.

    Texts of `most_words` words or more always need a check, for the rules about pages.
    """
    parts = [_count_bytes(block) for block in _blocks(texts)]
    if not parts:
        return np.zeros(0, dtype=bool)
    sizes, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    mask = (1 << _BITS) - 1
    blanks, letters, not_ascii = counts & mask, counts >> _BITS & mask, counts >> 2 * _BITS
    num_words = blanks + 1
    symbols = sizes - blanks - letters  # an upper bound: it includes letters beyond ASCII, at least a byte each
    return (
        (num_words < min_words)
        | (num_words >= most_words)
        | (symbols > min(max_symbol_ratio, 1.0) * (sizes - blanks - not_ascii))
        | (sizes > LONGEST_MEAN_WORD * num_words)
        | (sizes == 0)
        | (sizes > mask)
    )


def is_plain(texts: Sequence[str]) -> Bools:
    """(texts,): whether each text is clean already: printable ASCII, words between single blanks, no tag, no entity.

    `normalize.clean_text` returns such a text unchanged. An empty text and some others are not recognised.
    """
    parts = [_is_plain_block(block) for block in _blocks(texts)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def _is_plain_block(block: list[bytes]) -> Bools:
    data = np.frombuffer(b" " + b" ".join(block) + b" ", dtype=np.uint8)
    ends = np.cumsum(np.fromiter(map(len, block), dtype=np.int64, count=len(block)) + 1)  # the blank after each text
    is_blank = data == ord(" ")
    pairs = np.flatnonzero(is_blank[1:] & is_blank[:-1])  # both in the text, or one in it and one around it
    odd = np.concatenate([np.flatnonzero(_ODD[data]), pairs, pairs + 1])
    plain = np.ones(len(block), dtype=bool)
    plain[np.searchsorted(ends, odd)] = False
    return plain


def _blocks(texts: Sequence[str]) -> list[list[bytes]]:
    blocks: list[list[bytes]] = []
    size = BLOCK_BYTES
    for text in texts:
        if size >= BLOCK_BYTES:
            blocks.append([])
            size = 0
        blocks[-1].append(text.encode("utf-8", "surrogatepass"))
        size += len(blocks[-1][-1])
    return blocks


def _count_bytes(block: list[bytes]) -> tuple[Int64s, Int64s]:
    """(texts,) each: bytes; and its blanks, ASCII letters and digits, and other bytes, packed into one number."""
    sizes = np.fromiter(map(len, block), dtype=np.int64, count=len(block))
    data = np.frombuffer(b"\n".join(block) + b"\n", dtype=np.uint8)
    ends = np.cumsum(sizes + 1)
    return sizes, np.add.reduceat(_KINDS[data], ends - sizes - 1)


def is_repetitive(words: HashedWords) -> Bools:
    """(texts,): whether the first words of each text are a few distinct words, over and over."""
    counts = np.minimum(words.num_words, FIRST_WORDS)
    texts = np.flatnonzero(counts > WORDS_TO_JUDGE)
    flags = np.zeros(len(counts), dtype=bool)
    if not len(texts):
        return flags
    of_text = counts[texts]
    place = np.repeat(np.arange(len(texts), dtype=np.uint64), of_text)
    ends = np.cumsum(of_text)
    within = np.arange(ends[-1]) - np.repeat(ends - of_text, of_text)
    packed: UInt64s = (place << np.uint64(32)) | (
        words.hashes[np.repeat(words.offsets[texts], of_text) + within] >> np.uint64(32)
    )
    packed.sort()
    is_new = np.append(True, packed[1:] != packed[:-1])
    different = np.bincount((packed[is_new] >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    flags[texts] = different < MIN_DISTINCT_FRACTION * of_text
    return flags


_KINDS = np.array([_LETTER * chr(i).isalnum() if i < 128 else _NOT_ASCII for i in range(256)], dtype=np.int64)
_KINDS[ord(" ")] = _BLANK
_ODD = np.array([not chr(i).isascii() or not chr(i).isprintable() or chr(i) in "<&" for i in range(256)], dtype=bool)
