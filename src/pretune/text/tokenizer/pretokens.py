"""Count the pretokens, within which a byte-level tokenizer merges, from counted stretches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import tokenizers

BLANK = "\u0120"  # how byte-level tokenizers write a blank, which begins every stretch and nothing else
_STRETCHES_AT_ONCE = 5000

# Equal to GPT-2's pattern, which the library has, on printable ASCII with single blanks. Python's expressions take a
# tenth of the time.
_ASCII_PRETOKEN = re.compile("'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^ A-Za-z0-9]+")


def count_pretokens(counts: Mapping[str, int], backend: tokenizers.Tokenizer) -> Counter[str]:
    """The count of each pretoken that `backend` cuts stretches into; those of one byte, which merge with nothing, are
    left out."""
    plain = [stretch for stretch in counts if stretch.isascii() and stretch.isprintable() and stretch]
    if backend.normalizer is not None:
        plain = []
    pretokens: Counter[str] = Counter()
    _add(pretokens, (_ascii_pretokens(some) for some in _some(plain)), [counts[stretch] for stretch in plain])
    known = set(plain)
    other = [stretch for stretch in counts if stretch not in known]
    _add(
        pretokens, (_library_pretokens(some, backend) for some in _some(other)), [counts[stretch] for stretch in other]
    )
    return Counter({pretoken: count for pretoken, count in pretokens.items() if len(pretoken) > 1})


def _some(stretches: list[str]) -> Iterator[str]:
    for start in range(0, len(stretches), _STRETCHES_AT_ONCE):
        yield " ".join(stretches[start : start + _STRETCHES_AT_ONCE])


def _ascii_pretokens(text: str) -> list[str]:
    return [pretoken.replace(" ", BLANK) for pretoken in _ASCII_PRETOKEN.findall(" " + text)]


def _library_pretokens(text: str, backend: tokenizers.Tokenizer) -> list[str]:
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    return [pretoken for pretoken, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


def _add(pretokens: Counter[str], found: Iterable[list[str]], counts: list[int]) -> None:
    stretch = -1
    for some in found:
        for pretoken in some:
            stretch += pretoken[0] == BLANK
            pretokens[pretoken] += counts[stretch]
    if stretch + 1 != len(counts):
        raise RuntimeError(f"{len(counts)} stretches gave the pretokens of {stretch + 1}")
