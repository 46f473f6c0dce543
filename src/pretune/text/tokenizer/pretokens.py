"""The pieces within which a byte-level tokenizer merges, and how often each occurs in counted stretches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import tokenizers

BLANK = "\u0120"  # how byte-level tokenizers write a blank, which begins every stretch and nothing else
_STRETCHES_AT_ONCE = 5000

# What GPT-2's pattern, which the library has, makes of printable ASCII with single blanks. Python's expressions do it
# in a tenth of the time.
_ASCII_PIECE = re.compile("'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^ A-Za-z0-9]+")


def count_pieces(counts: Mapping[str, int], backend: tokenizers.Tokenizer) -> Counter[str]:
    """How often each piece occurs that `backend` cuts stretches into; those of a single byte, which nothing merges,
    are left out."""
    plain = [stretch for stretch in counts if stretch.isascii() and stretch.isprintable() and stretch]
    if backend.normalizer is not None:
        plain = []
    pieces: Counter[str] = Counter()
    _add(pieces, (_ascii_pieces(some) for some in _some(plain)), [counts[stretch] for stretch in plain])
    known = set(plain)
    other = [stretch for stretch in counts if stretch not in known]
    _add(pieces, (_library_pieces(some, backend) for some in _some(other)), [counts[stretch] for stretch in other])
    return Counter({piece: count for piece, count in pieces.items() if len(piece) > 1})


def _some(stretches: list[str]) -> Iterator[str]:
    for start in range(0, len(stretches), _STRETCHES_AT_ONCE):
        yield " ".join(stretches[start : start + _STRETCHES_AT_ONCE])


def _ascii_pieces(text: str) -> list[str]:
    return [piece.replace(" ", BLANK) for piece in _ASCII_PIECE.findall(" " + text)]


def _library_pieces(text: str, backend: tokenizers.Tokenizer) -> list[str]:
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


def _add(pieces: Counter[str], found: Iterable[list[str]], counts: list[int]) -> None:
    stretch = -1
    for some in found:
        for piece in some:
            stretch += piece[0] == BLANK
            pieces[piece] += counts[stretch]
    if stretch + 1 != len(counts):
        raise RuntimeError(f"{len(counts)} stretches were cut into pieces of {stretch + 1}")
