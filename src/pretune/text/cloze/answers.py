"""What a cloze classifier asks, and the words that answer: part of `labels.json` in the folder of such a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretune.text.cloze.label_words import LabelWords, check_label_words
from pretune.text.cloze.pattern import Pattern, read_pattern
from pretune.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ClozeAnswers:
    """The pattern, and the words and token ids of each label in the order of the label names."""

    pattern: Pattern
    words: tuple[tuple[str, ...], ...]
    word_ids: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pattern: Pattern, words: LabelWords) -> ClozeAnswers:
        """The pattern with words that were checked."""
        return cls(pattern=pattern, words=words.words, word_ids=words.ids)

    def to_dict(self) -> dict[str, Any]:
        """JSON values for `labels.json`."""
        return {
            "pattern": self.pattern.written,
            "label_words": [list(words) for words in self.words],
            "label_word_ids": [list(ids) for ids in self.word_ids],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> ClozeAnswers:
        """What `to_dict` wrote. Raises KeyError, TypeError or ValueError for damaged values."""
        words = tuple(tuple(map(str, each)) for each in found["label_words"])
        ids = tuple(tuple(map(int, each)) for each in found["label_word_ids"])
        if not words or not all(ids) or len(words) != len(ids):
            raise ValueError("label words and their ids do not fit together")
        written = str(found["pattern"])
        return cls(pattern=read_pattern(written, has_pair="{text_pair}" in written), words=words, word_ids=ids)

    def check(self, names: tuple[str, ...], tokenizer: Tokenizer) -> None:
        """Raise ValueError if the words do not have these ids in the vocabulary of the tokenizer."""
        found = check_label_words(dict(zip(names, self.words, strict=True)), tokenizer, "")
        if found.ids != self.word_ids:
            raise ValueError(f"the label words have the ids {found.ids}, not {self.word_ids}")
