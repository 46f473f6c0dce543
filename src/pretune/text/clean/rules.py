"""Named quality rules, each of which decides whether to drop a clean text, and profiles that select the rules.

Profile `short` suits samples of a sentence or two. Profile `long` has the published rules for web pages: the quality
and repetition rules of Gopher (Rae et al. 2021, appendix A1.1 and table A1), of C4 (Raffel et al. 2020, section 2.2)
and of FineWeb (Penedo et al. 2024, section 3.6), with their parameters. It would drop every short sample and, with the
stop words, every text that is not English.

Profile `auto` applies the rules of `short` to a text of fewer than 50 words, and to a longer one those of `long` that
do not presume an English web page. This is decided for each text, since with a decision for the whole corpus a few
more or fewer documents would change the result for all others, and since real corpora contain both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pretune.errors import UsageError
from pretune.text.arrays.word_hashes import HashedWords
from pretune.text.clean import repetition, rule_measures
from pretune.text.clean.prefilter import is_repetitive, needs_look
from pretune.text.clean.repetition import break_ngram_rules
from pretune.text.clean.rule_measures import LONG_WORDS, Sample
from pretune.text.reading_report import join_names

Profile = Literal["auto", "short", "long"]

NOT_SWITCHABLE = ("empty",)


@dataclass(frozen=True)
class QualityRule:
    """One reason to drop a text; `applies` is true for the texts to drop."""

    name: str
    reason: str
    applies: Callable[[Sample], bool]


class QualityRules:
    """The rules of a profile, for texts below LONG_WORDS words and for others, in the order in which they apply."""

    def __init__(
        self, short: Sequence[QualityRule], long: Sequence[QualityRule], limits: dict[str, Any] | None
    ) -> None:
        self.short, self.long = short, long
        self._limits = limits  # of the rules for any length, if short texts have no other rules

    def first_broken(self, sample: Sample) -> QualityRule | None:
        """The first rule that drops a text; only that one is counted."""
        for rule in self.short if sample.num_stretches < LONG_WORDS else self.long:
            if rule.applies(sample):
                return rule
        return None

    def judge(self, texts: Sequence[str], found: Sequence[str], words: HashedWords) -> list[QualityRule | None]:
        """`first_broken` for every clean text, given as found and with its hashed words; most pass without a check."""
        repetitive = is_repetitive(words)
        frequent, repeated = break_ngram_rules(words)
        is_wanted = np.ones(len(texts), dtype=bool)
        if self._limits is not None:
            is_wanted = needs_look(texts, most_words=LONG_WORDS, **self._limits) | repetitive
            together = "\n".join(texts)
            for mark in (*rule_measures.LOREM_IPSUM, "\ufffd"):
                if mark in together:
                    is_wanted |= np.array([mark in text for text in texts], dtype=bool)
        broken: list[QualityRule | None] = [None] * len(texts)
        for row in np.flatnonzero(is_wanted).tolist():
            flags = bool(repetitive[row]), bool(frequent[row]), bool(repeated[row])
            broken[row] = self.first_broken(Sample(texts[row], found[row], *flags))
        return broken


def quality_rules(
    profile: Profile = "auto",
    *,
    min_words: int = 1,
    max_symbol_ratio: float = 0.5,
    disabled: Sequence[str] = (),
    language: str | None = None,
) -> QualityRules:
    """The rules of a profile without the disabled ones.

    `language` is the language of the texts, if known: `auto` applies the rule on English stop words only to English.
    Raises UsageError if `disabled` names a rule that does not exist.
    """
    short = _short_rules(min_words, max_symbol_ratio)
    page = _page_rules()
    english = [rule for rule in page if rule.name in _PRESUME_ENGLISH]
    web = [rule for rule in page if rule.name in _PRESUME_WEB_PAGES]
    everywhere = [rule for rule in page if rule not in english and rule not in web]
    names = [rule.name for rule in [*short, *page] if rule.name not in NOT_SWITCHABLE]
    unknown = sorted(set(disabled) - set(names))
    if unknown:
        raise UsageError(
            f"Unknown quality rule {unknown[0]!r}; the rules that can be disabled are {join_names(names, len(names))}."
        )
    long = {
        "short": short,
        "long": [*short, *page],
        "auto": [*short, *everywhere, *(english if language == "en" else [])],
    }[profile]
    below = [*short, *page] if profile == "long" else short
    limits = None if profile == "long" else {"min_words": min_words, "max_symbol_ratio": max_symbol_ratio}
    return QualityRules(_without(below, disabled), _without(long, disabled), limits)


def _without(rules: Sequence[QualityRule], disabled: Sequence[str]) -> list[QualityRule]:
    return [rule for rule in rules if rule.name not in disabled]


def _short_rules(min_words: int, max_symbol_ratio: float) -> list[QualityRule]:
    """Rules for texts of any length."""
    return [
        QualityRule("empty", "no text is left after the repair", lambda sample: not sample.text),
        QualityRule("min_words", f"fewer than {min_words} words", lambda sample: sample.num_words < min_words),
        QualityRule(
            "broken_characters",
            f"more than {rule_measures.MAX_BROKEN_FRACTION:.0%} of the characters are lost to a wrong encoding",
            rule_measures.is_broken,
        ),
        QualityRule(
            "max_symbol_ratio",
            f"more than {max_symbol_ratio:.0%} of the characters are neither letters nor digits",
            lambda sample: rule_measures.has_too_many_symbols(sample, max_symbol_ratio),
        ),
        QualityRule(
            "long_words",
            f"words longer than {rule_measures.LONGEST_MEAN_WORD} characters on average",
            rule_measures.has_long_words,
        ),
        QualityRule(
            "repetition",
            f"fewer than {rule_measures.MIN_DISTINCT_FRACTION:.0%} of the words are distinct",
            rule_measures.repeats_words,
        ),
        QualityRule("lorem_ipsum", "contains the filler text lorem ipsum (C4)", rule_measures.has_lorem_ipsum),
    ]


def _page_rules() -> list[QualityRule]:
    """The published rules for web pages."""
    return [
        QualityRule("gopher_few_words", f"fewer than {LONG_WORDS} words (Gopher)", rule_measures.has_few_words),
        QualityRule(
            "gopher_word_length",
            "words of fewer than 3 (Latin, Greek, Cyrillic) or more than 10 (ASCII) characters on average (Gopher)",
            rule_measures.has_odd_word_length,
        ),
        QualityRule("gopher_symbols", "more than one # or ... per ten words (Gopher)", rule_measures.has_many_marks),
        QualityRule(
            "gopher_bullet_lines",
            "more than 90% of the lines begin with a bullet (Gopher)",
            rule_measures.is_bullet_list,
        ),
        QualityRule(
            "gopher_ellipsis_lines",
            "more than 30% of the lines end with an ellipsis (Gopher)",
            rule_measures.is_cut_off,
        ),
        QualityRule(
            "gopher_letters",
            "fewer than 80% of the words have a letter (Gopher)",
            rule_measures.has_few_words_with_letters,
        ),
        QualityRule(
            "gopher_stop_words",
            "fewer than 2 different words out of the, be, to, of, and, that, have, with (Gopher)",
            rule_measures.has_few_stop_words,
        ),
        QualityRule(
            "gopher_duplicate_lines",
            "more than 30% of the lines or paragraphs, or 20% of their characters, repeat another (Gopher)",
            repetition.repeats_lines,
        ),
        QualityRule(
            "gopher_top_ngram",
            "one 2-, 3- or 4-gram makes up more than 20%, 18% or 16% of the characters (Gopher)",
            lambda sample: sample.has_frequent_ngram and not sample.is_without_blanks,
        ),
        QualityRule(
            "gopher_duplicate_ngrams",
            "repeated 5- to 10-grams make up more than 15% to 10% of the characters (Gopher)",
            lambda sample: sample.has_repeated_ngrams and not sample.is_without_blanks,
        ),
        QualityRule("c4_few_sentences", "fewer than 3 sentences (C4)", rule_measures.has_few_sentences),
        QualityRule(
            "c4_curly_bracket", "contains a curly bracket, as program code does (C4)", rule_measures.has_curly_bracket
        ),
        QualityRule("c4_javascript", "half of its lines ask for JavaScript (C4)", rule_measures.asks_for_javascript),
        QualityRule("c4_policy", "half of its lines are about cookies or terms of use (C4)", rule_measures.is_policy),
        QualityRule(
            "fineweb_line_ends",
            "at most 12% of the lines end with a punctuation mark (FineWeb)",
            rule_measures.has_open_line_ends,
        ),
        QualityRule(
            "fineweb_short_lines",
            "at least 67% of the lines have at most 30 characters (FineWeb)",
            rule_measures.has_short_lines,
        ),
        QualityRule(
            "fineweb_duplicate_characters",
            "at least 10% of the characters are in lines that repeat another (FineWeb)",
            repetition.repeats_line_characters,
        ),
    ]


_PRESUME_ENGLISH = {"gopher_stop_words"}
_PRESUME_WEB_PAGES = {
    "gopher_few_words",
    "gopher_bullet_lines",
    "gopher_ellipsis_lines",
    "c4_few_sentences",
    "c4_curly_bracket",
    "c4_javascript",
    "c4_policy",
    "fineweb_line_ends",
    "fineweb_short_lines",
    "fineweb_duplicate_characters",
}
