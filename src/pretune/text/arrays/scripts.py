"""Scripts that are written without blanks between words, and how many of their characters count as a word."""

from __future__ import annotations

import re
from collections.abc import Iterable

ALPHABETS_WITHOUT_BLANKS = (  # a character is a letter, or a mark of one
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
)
SCRIPTS_WITHOUT_BLANKS = (
    *ALPHABETS_WITHOUT_BLANKS,
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
CHARACTERS_PER_WORD = 2  # in scripts without blanks: about the mean of Chinese; Thai words are longer
LETTERS_PER_WORD = 4  # in alphabets without blanks: about the mean of Thai, Khmer, Lao and Burmese, with marks


def _inside_brackets(ranges: Iterable[tuple[int, int]]) -> str:
    """The ranges as a class of a regular expression has them."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


WITHOUT_BLANKS = re.compile(f"[{_inside_brackets(SCRIPTS_WITHOUT_BLANKS)}]")
LETTER_WITHOUT_BLANKS = re.compile(f"[{_inside_brackets(ALPHABETS_WITHOUT_BLANKS)}]")
