"""The measures behind the quality rules, each a function of one text, with their sources.

Gopher is Rae et al. 2021, appendix A1.1; C4 is Raffel et al. 2020, section 2.2 (the journal's text and its published
code, which differ from the first preprint: 3 sentences, not 5); FineWeb is Penedo et al. 2024, section 3.6. Words are
separated by blanks and include their punctuation; in scripts written without blanks, two characters count as one word.
Rules about fractions of lines apply to texts of at least LINES_TO_JUDGE lines.

Left out are Gopher's limit of 100,000 words, since a book is no worse for its length; C4's rules that remove single
lines (those that end without punctuation, have fewer than 5 words or a word of more than 1,000 characters), which
FineWeb found to cost 30 % of the text and replaced by its rules about fractions of lines; and C4's list of bad words.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from pretune.text.arrays.scripts import CHARACTERS_PER_WORD, WITHOUT_BLANKS

LONG_WORDS = 50  # a text of so many words is judged like a page; Gopher drops shorter ones
FIRST_WORDS = 200  # the words that the rules about words examine
LONGEST_MEAN_WORD = 40  # characters; beyond that, a Latin text is code, a list of links or an encoded file
MIN_DISTINCT_FRACTION = 0.2  # of the first words, if there are more than WORDS_TO_JUDGE
WORDS_TO_JUDGE = 20
MAX_BROKEN_FRACTION = 0.05  # of the characters
LINES_TO_JUDGE = 4  # with fewer, fractions of them mean nothing

LOREM_IPSUM = ("orem ipsum", "OREM IPSUM")
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_BULLETS = ("\u2022", "\u2023", "\u25cf", "\u25e6", "\u2043", "\u2219", "-", "*")
_LINE_ENDS = (".", "!", "?", '"', "'", "\u201d", "\u2019", "\u3002", "\uff01", "\uff1f", "\u0964", "\u061f")

_EUROPEAN = ("LATIN ", "GREEK ", "CYRILLIC ")  # how the names of letters of these scripts begin
_ASCII_LETTERS_AND_DIGITS = bytes(byte for byte in range(128) if chr(byte).isalnum())
_NOT_WORD = re.compile(r"[\W_]")
_LETTER = re.compile(r"[^\W\d_]")
_SENTENCE_END = re.compile("[.!?\u2026][\"')\\]\u201d\u2019]*(?=\\s|$)|[\u3002\uff01\uff1f\u0964]")
_LINE_BREAK_TAG = re.compile(r"<(?:br|/?p|/?div|/?li|/?tr|/?h[1-6])\b[^<>]{0,200}>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_WRAPPED = range(45, 101)  # characters in a line of text wrapped to a page's width


@dataclass
class Sample:
    """A text to judge: clean, and as found, which still has its lines.

    The flags of the rules about repeated words are computed for many texts at once, by `prefilter.is_repetitive` and
    `repetition.break_ngram_rules`.
    """

    text: str
    found: str = ""
    is_repetitive: bool = False
    has_frequent_ngram: bool = False
    has_repeated_ngrams: bool = False

    @cached_property
    def num_words(self) -> int:
        """Words between blanks, plus those of scripts without blanks."""
        return num_words(self.text)

    @cached_property
    def num_stretches(self) -> int:
        """The number of stretches between blanks, in any script."""
        return self.text.count(" ") + 1 if self.text else 0

    @cached_property
    def is_without_blanks(self) -> bool:
        """Whether a text has more words of scripts without blanks than stretches between blanks."""
        return self.num_words > 2 * self.num_stretches

    @cached_property
    def paragraphs(self) -> list[str]:
        """The paragraphs, separated by blank lines."""
        found = _LINE_BREAK_TAG.sub("\n", self.found) if "<" in self.found else self.found or self.text
        if "\n" not in found:
            return [found.strip()]
        return [part.strip() for part in _BLANK_LINES.split(found) if not part.isspace() and part]

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank; a paragraph wrapped to a page's width is one line."""
        return [line for paragraph in self.paragraphs for line in _unwrapped(paragraph)]


def num_words(text: str) -> int:
    """Words between blanks; in scripts without blanks, CHARACTERS_PER_WORD characters are one more word."""
    between_blanks = text.count(" ") + 1 if text else 0
    if text.isascii():
        return between_blanks
    return between_blanks + len(WITHOUT_BLANKS.findall(text)) // CHARACTERS_PER_WORD


def repeats_words(sample: Sample) -> bool:
    """Whether the first words are a few distinct ones. Single characters of an alphabet such as Thai always are, so in
    scripts without blanks four in a row count as one word."""
    if not sample.is_repetitive or not sample.is_without_blanks:
        return sample.is_repetitive
    start = sample.text[:FIRST_WORDS]
    different = {start[i : i + 4] for i in range(len(start) - 3)}
    return len(different) < MIN_DISTINCT_FRACTION * (len(start) - 3)


def _unwrapped(paragraph: str) -> list[str]:
    if "\n" not in paragraph:
        return [paragraph]
    lines = [stripped for line in paragraph.split("\n") if (stripped := line.strip())]
    if all(len(line) in _WRAPPED for line in lines[:-1]) and len(lines[-1]) < _WRAPPED.stop:
        return [" ".join(lines)]
    return lines


# ---- any text


def is_broken(sample: Sample) -> bool:
    """Whether more than MAX_BROKEN_FRACTION of a text is replacement characters."""
    text = sample.text
    return "\ufffd" in text and text.count("\ufffd") > MAX_BROKEN_FRACTION * len(text)


def has_too_many_symbols(sample: Sample, max_ratio: float) -> bool:
    """Whether the fraction of symbols among the characters other than blanks is above `max_ratio`."""
    text = sample.text
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


def has_long_words(sample: Sample) -> bool:
    """Whether an ASCII text's words are too long on average; scripts without blanks are not judged."""
    start = sample.text[: 10 * FIRST_WORDS]
    return start.isascii() and len(start) > LONGEST_MEAN_WORD * (start.count(" ") + 1)


def has_lorem_ipsum(sample: Sample) -> bool:
    """C4: pages with the phrase "lorem ipsum" are removed."""
    return any(phrase in sample.text for phrase in LOREM_IPSUM)


# ---- pages: Gopher


def has_few_words(sample: Sample) -> bool:
    """Gopher: fewer than 50 words."""
    return sample.num_words < LONG_WORDS


def has_odd_word_length(sample: Sample) -> bool:
    """Gopher: a mean word length outside 3 to 10 characters.

    The lower limit is for words spelled letter by letter: a Korean word of two syllables has two characters. The upper
    limit is for ASCII text, so not for scripts without blanks.
    """
    mean = (len(sample.text) + 1) / max(1, sample.num_stretches) - 1
    return (mean < 3 and not _is_in_other_script(sample.text)) or (mean > 10 and sample.text.isascii())


def _is_in_other_script(text: str) -> bool:
    """Whether most letters among the first words are neither Latin nor Greek nor Cyrillic."""
    if text.isascii():
        return False
    letters = [character for character in text[: 10 * FIRST_WORDS] if character.isalpha()]
    others = sum(not unicodedata.name(letter, "").startswith(_EUROPEAN) for letter in letters)
    return 2 * others > len(letters)


def has_many_marks(sample: Sample) -> bool:
    """Gopher: a ratio above 0.1 of hash signs, or of ellipses, to words."""
    text = sample.text
    most = 0.1 * sample.num_words
    return text.count("#") > most or text.count("...") + text.count("\u2026") > most


def is_bullet_list(sample: Sample) -> bool:
    """Gopher: more than 90 % of the lines begin with a bullet."""
    lines = sample.lines
    return len(lines) >= LINES_TO_JUDGE and sum(line.startswith(_BULLETS) for line in lines) > 0.9 * len(lines)


def is_cut_off(sample: Sample) -> bool:
    """Gopher: more than 30 % of the lines end with an ellipsis."""
    lines = sample.lines
    return len(lines) >= LINES_TO_JUDGE and sum(line.endswith(("...", "\u2026")) for line in lines) > 0.3 * len(lines)


def has_few_words_with_letters(sample: Sample) -> bool:
    """Gopher: fewer than 80 % of the words have at least one letter."""
    words = sample.text.split(" ")
    with_letters = sum(map(str.isalpha, words))  # which most are altogether
    if with_letters < 0.8 * len(words):
        with_letters = sum(1 for word in words if _LETTER.search(word))
    return with_letters < 0.8 * len(words)


def has_few_stop_words(sample: Sample) -> bool:
    """Gopher: fewer than two distinct words out of eight frequent English ones."""
    return len(STOP_WORDS.intersection(sample.text.lower().split(" "))) < 2


# ---- pages: C4


def has_few_sentences(sample: Sample) -> bool:
    """C4: fewer than three sentences."""
    text = sample.text
    if text.count(". ") > 2:
        return False
    ends = len(_SENTENCE_END.findall(text))
    return ends < 3


def has_curly_bracket(sample: Sample) -> bool:
    """C4: a curly bracket, which is frequent in program code and rare in prose."""
    return "{" in sample.text


def asks_for_javascript(sample: Sample) -> bool:
    """At least half of the lines contain the word JavaScript. C4 removes such lines; here the whole page is dropped."""
    return "avascript" in sample.text.lower() and 2 * _count_lines(sample, ("javascript",)) >= len(sample.lines)


def is_policy(sample: Sample) -> bool:
    """At least half of the lines are about cookies or terms of use. C4 removes such lines; here the page is dropped."""
    lowered = sample.text.lower()
    is_suspect = "cookie" in lowered or "policy" in lowered or "terms of use" in lowered
    return is_suspect and 2 * _count_lines(sample, POLICY_PHRASES) >= len(sample.lines)


def _count_lines(sample: Sample, phrases: tuple[str, ...]) -> int:
    return sum(any(phrase in line.lower() for phrase in phrases) for line in sample.lines)


# ---- pages: FineWeb


def has_open_line_ends(sample: Sample) -> bool:
    """FineWeb: at most 12 % of the lines end with a terminal punctuation mark."""
    lines = sample.lines
    return len(lines) >= LINES_TO_JUDGE and sum(line.endswith(_LINE_ENDS) for line in lines) <= 0.12 * len(lines)


def has_short_lines(sample: Sample) -> bool:
    """FineWeb: at least 67 % of the lines have at most 30 characters, as datatrove counts them."""
    lines = sample.lines
    return len(lines) >= LINES_TO_JUDGE and sum(len(line) <= 30 for line in lines) >= 0.67 * len(lines)
