"""Named quality rules: each says of a clean text whether to drop it; the profile suits short samples."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pretune.errors import UsageError
from pretune.text.findings import join_names

FIRST_WORDS = 200  # what the rules about words look at
LONGEST_MEAN_WORD = 40  # characters: beyond that a Latin text is code, a link list or an encoded file
MIN_DISTINCT_SHARE = 0.2  # of the first words, where there are enough of them to judge
WORDS_TO_JUDGE = 20
MAX_BROKEN_SHARE = 0.05  # of the characters

_ASCII_LETTERS_AND_DIGITS = bytes(byte for byte in range(128) if chr(byte).isalnum())
_NOT_WORD = re.compile(r"[\W_]")


@dataclass(frozen=True)
class QualityRule:
    """One reason to drop a text; `applies` is true for the texts to drop."""

    name: str
    reason: str
    applies: Callable[[str], bool]


def quality_rules(*, min_words: int, max_symbol_ratio: float, disabled: Sequence[str] = ()) -> list[QualityRule]:
    """The rules, in the order in which they are asked; the first that applies is the one that is counted.

    The usual rules for web pages (at least 50 words, five sentences, stop words) would delete a corpus of short
    samples: none of them is here. Raises UsageError where `disabled` names a rule that does not exist.
    """
    rules = [
        QualityRule("empty", "no text is left after the repair", lambda text: not text),
        QualityRule("min_words", f"fewer than {min_words} words", lambda text: text.count(" ") + 1 < min_words),
        QualityRule(
            "broken_characters",
            f"more than {MAX_BROKEN_SHARE:.0%} of the characters are lost to a wrong encoding",
            lambda text: "\ufffd" in text and text.count("\ufffd") > MAX_BROKEN_SHARE * len(text),
        ),
        QualityRule(
            "max_symbol_ratio",
            f"more than {max_symbol_ratio:.0%} of the characters are neither letters nor digits",
            lambda text: has_too_many_symbols(text, max_symbol_ratio),
        ),
        QualityRule("long_words", f"words of more than {LONGEST_MEAN_WORD} characters on average", has_long_words),
        QualityRule("repetition", f"less than {MIN_DISTINCT_SHARE:.0%} of the words are different ones", is_repetitive),
    ]
    names = [rule.name for rule in rules if rule.name != "empty"]
    unknown = sorted(set(disabled) - set(names))
    if unknown:
        raise UsageError(f"There is no quality rule {unknown[0]!r} to switch off; the rules are {join_names(names)}.")
    return [rule for rule in rules if rule.name not in disabled]


def has_too_many_symbols(text: str, max_ratio: float) -> bool:
    """Whether the share of symbols among the characters, blanks apart, is above `max_ratio`."""
    characters = len(text) - text.count(" ")
    if text.isascii():
        symbols = len(text.encode().translate(None, _ASCII_LETTERS_AND_DIGITS)) - text.count(" ")
        return symbols > max_ratio * characters
    symbols = len(_NOT_WORD.findall(text)) - text.count(" ")
    if symbols <= max_ratio * characters:
        return False
    # Vowel signs of Indic and other scripts are marks, which belong to letters.
    marks = sum(unicodedata.category(character).startswith("M") for character in text)
    return symbols - marks > max_ratio * characters


def has_long_words(text: str) -> bool:
    """Whether an ASCII text's words are too long on average; scripts without blanks are not judged."""
    start = text[: 10 * FIRST_WORDS]
    return start.isascii() and len(start) > LONGEST_MEAN_WORD * (start.count(" ") + 1)


def is_repetitive(text: str) -> bool:
    """Whether the first words are few different ones, over and over."""
    if text.count(" ") < WORDS_TO_JUDGE:
        return False
    words = text.split(" ", FIRST_WORDS)[:FIRST_WORDS]
    return len(set(words)) < MIN_DISTINCT_SHARE * len(words)
