"""Map: a batch of documents as they were found becomes clean text, and what the quality rules drop is set apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretune.text.filters import QualityRule, QualityRules
from pretune.text.hashed_words import HashedWords, hash_words
from pretune.text.normalize import clean_text
from pretune.text.quality import Sample
from pretune.text.repetition import break_ngram_rules


@dataclass(frozen=True)
class Screened:
    """What became of a batch: a clean text for each document, and the rule that drops it, if any."""

    texts: list[str]
    words: HashedWords
    broken: list[QualityRule | None]
    repairs: Counter[str]

    def kept(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The rows of the texts that are not dropped."""
        return np.flatnonzero([rule is None for rule in self.broken])


def screen_documents(found: Sequence[str], rules: QualityRules) -> Screened:
    """Repair every text and ask it the rules; the outcome for a text does not depend on the others."""
    repairs: Counter[str] = Counter()
    texts = [clean_text(text, repairs) for text in found]
    words = hash_words(texts)
    frequent, repeated = (flags.tolist() for flags in break_ngram_rules(words))
    broken = [rules.first_broken(Sample(*each)) for each in zip(texts, found, frequent, repeated, strict=True)]
    return Screened(texts, words, broken, repairs)
