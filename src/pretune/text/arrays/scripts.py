"""Words in any script: which scripts have no blanks between them, and which marks belong to a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

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
_MARKS = range(0x0483, 0x1E950)  # from those of Cyrillic on; those before are for any script
_MARKS_OF_ANY_SCRIPT = (
    range(0x1AB0, 0x1B00),
    range(0x1DC0, 0x1E00),
    range(0x20D0, 0x2100),  # for symbols
    range(0xFE00, 0xFE30),  # after emoji, among others
)
CHARACTERS_PER_WORD = 2  # in scripts without blanks: about the mean of Chinese; Thai words are longer
LETTERS_PER_WORD = 4  # in alphabets without blanks: about the mean of Thai, Khmer, Lao and Burmese, with marks


def _inside_brackets(ranges: Iterable[tuple[int, int]]) -> str:
    """The ranges as a class of a regular expression has them."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


WITHOUT_BLANKS = re.compile(f"[{_inside_brackets(SCRIPTS_WITHOUT_BLANKS)}]")
LETTER_WITHOUT_BLANKS = re.compile(f"[{_inside_brackets(ALPHABETS_WITHOUT_BLANKS)}]")
_PLAIN_WORD = re.compile(r"\w+")


@cache
def marks_in_words() -> str:
    """The marks that belong to a script, such as the vowels of Hindi, as a class of a regular expression has them.

    Python's `\\w` has no marks, so it cuts such words apart. Marks for any script are left out: most of them follow
    emoji, and the letters of Latin that usually have one are one character with it.
    """
    codes = [code for code in _MARKS if unicodedata.category(chr(code)).startswith("M")]
    return "".join(chr(code) for code in codes if not any(code in each for each in _MARKS_OF_ANY_SCRIPT))


def word_expression() -> str:
    """A regular expression for a word: letters, digits, underscores, and marks after the first of them; in scripts
    without blanks, a character with its marks."""
    return f"{_word_between_blanks()}|{WITHOUT_BLANKS.pattern}[{marks_in_words()}]*"


def count_words(text: str) -> int:
    """The words of a text. In scripts without blanks, CHARACTERS_PER_WORD characters are one, in alphabets
    LETTERS_PER_WORD, but a stretch of them is at least one."""
    if text.isascii():
        return len(_PLAIN_WORD.findall(text))
    return sum(map(_count_in_stretch, _stretch_pattern().findall(text)))


def _count_in_stretch(stretch: str) -> int:
    if not WITHOUT_BLANKS.match(stretch):
        return 1
    return max(1, len(stretch) // (LETTERS_PER_WORD if LETTER_WITHOUT_BLANKS.match(stretch) else CHARACTERS_PER_WORD))


def _word_between_blanks() -> str:
    letter, marks = f"[^\\W{_inside_brackets(SCRIPTS_WITHOUT_BLANKS)}]", f"[{marks_in_words()}]"
    return f"{letter}+(?:{marks}+{letter}*)*"


@cache
def _stretch_pattern() -> re.Pattern[str]:
    """A word, or a stretch of a script without blanks."""
    return re.compile(f"{_word_between_blanks()}|(?:(?=\\w){WITHOUT_BLANKS.pattern}[{marks_in_words()}]*)+")
