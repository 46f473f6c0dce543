"""Clean a batch of documents as found, and mark those that the quality rules drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretune.text.arrays.word_hashes import Bools, HashedWords, hash_words
from pretune.text.clean.language import UNSURE, identify_language
from pretune.text.clean.normalize import clean_text
from pretune.text.clean.personal_data import replace_personal_data
from pretune.text.clean.prefilter import is_plain
from pretune.text.clean.rules import QualityRule, QualityRules

LANGUAGE_RULE = "language"


@dataclass(frozen=True)
class Screened:
    """The result for a batch: a clean text for each document, and the rule that drops it, if any."""

    texts: list[str]
    is_plain: Bools  # whether each text was clean as found, see `prefilter.is_plain`
    words: HashedWords
    broken: list[QualityRule | None]
    repairs: Counter[str]  # documents by kind
    personal_data: Counter[str]  # replacements by kind
    languages: Counter[str]  # documents by language, if one is requested

    def is_kept(self) -> Bools:
        """(texts,): whether each text is kept."""
        return np.array([rule is None for rule in self.broken], dtype=bool)


def clean_document(
    text: str,
    repairs: Counter[str] | None = None,
    personal_data: Counter[str] | None = None,
    *,
    is_personal_replaced: bool,
) -> str:
    """A text as the tokenizer should see it; repairs and replacements are added to the counters."""
    text = clean_text(text, repairs)
    return replace_personal_data(text, personal_data) if is_personal_replaced else text


def screen_documents(
    found: Sequence[str], rules: QualityRules, *, is_personal_replaced: bool = False, language: str | None = None
) -> Screened:
    """Repair every text and apply the rules to it; the result for a text does not depend on the others.

    With `language`, texts in another language are dropped as well; those whose language is unsure are kept.
    """
    repairs: Counter[str] = Counter()
    personal_data: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    plain = is_plain(found)
    if is_personal_replaced:
        plain[:] = False
    texts = list(found)
    for row in np.flatnonzero(~plain).tolist():
        texts[row] = clean_document(texts[row], repairs, personal_data, is_personal_replaced=is_personal_replaced)
    words = hash_words(texts)
    broken = rules.judge(texts, found, words)
    if language is not None:
        other = QualityRule(LANGUAGE_RULE, f"the language is not {language}", lambda _sample: True)
        for row, text in enumerate(texts):
            if broken[row] is None:
                identified = identify_language(text)
                languages[identified] += 1
                broken[row] = None if identified in (language, UNSURE) else other
    return Screened(texts, plain, words, broken, repairs, personal_data, languages)
