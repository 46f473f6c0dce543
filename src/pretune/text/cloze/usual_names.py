"""Usual names of labels, with words that stand for them at a [MASK], and the pattern that suits them."""

from __future__ import annotations

from collections.abc import Sequence

# Each group is a kind of task: the names that its labels have, and the words for each, best first.
_SENTIMENT: dict[str, tuple[str, ...]] = {
    "positive": ("great", "good", "excellent", "wonderful"),
    "negative": ("terrible", "bad", "awful", "horrible"),
    "neutral": ("okay", "fine", "average"),
}
_ANSWERS: dict[str, tuple[str, ...]] = {"yes": ("Yes", "yes"), "no": ("No", "no"), "maybe": ("Maybe", "maybe")}
_TOPICS: dict[str, tuple[str, ...]] = {
    "world": ("world", "international", "politics"),
    "politics": ("politics", "political"),
    "sports": ("sports", "sport", "football"),
    "business": ("business", "economy", "money"),
    "technology": ("technology", "science", "computer"),
    "science": ("science", "scientific"),
    "health": ("health", "medical"),
    "entertainment": ("entertainment", "music", "film"),
}
_SAME_NAME = {
    "pos": "positive", "good": "positive", "neg": "negative", "bad": "negative", "neu": "neutral",
    "true": "yes", "entailment": "yes", "equivalent": "yes", "paraphrase": "yes", "duplicate": "yes",
    "false": "no", "contradiction": "no", "not_equivalent": "no", "not_duplicate": "no", "not_paraphrase": "no",
    "not_entailment": "no", "unknown": "maybe",
    "sport": "sports", "tech": "technology", "sci/tech": "technology", "science/technology": "technology",
    "science and technology": "technology", "political": "politics", "finance": "business", "economy": "business",
    "international": "world",
}  # fmt: skip

# On SST-2, a [MASK] before the text gave better answers without labels than one after it (docs/experiments.md).
SENTIMENT_PATTERN = "It was [MASK]. {text}"
ANSWER_PATTERN = "{text} Is it true? [MASK]."
TOPIC_PATTERN = "This is about [MASK]. {text}"
PAIR_PATTERN = "{text} ? [MASK], {text_pair}"  # of LM-BFF, arXiv:2012.15723


def usual_words_of(names: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """The words for labels of these names, all of one kind; None if one is not a usual name."""
    usual = [_usual_name(name) for name in names]
    if "no" in usual or "yes" in usual:  # of entailment, neutral and contradiction
        usual = ["maybe" if name == "neutral" else name for name in usual]
    for words in (_SENTIMENT, _ANSWERS, _TOPICS):
        if all(name in words for name in usual):
            return {name: words[known] for name, known in zip(names, usual, strict=True)}
    return None


def suggest_pattern(names: Sequence[str], *, has_pair: bool = False) -> str:
    """The pattern that suits labels of these names."""
    if has_pair:
        return PAIR_PATTERN
    usual = {_usual_name(name) for name in names}
    if usual <= _SENTIMENT.keys():
        return SENTIMENT_PATTERN
    return ANSWER_PATTERN if usual <= _ANSWERS.keys() else TOPIC_PATTERN


def _usual_name(name: str) -> str:
    key = name.strip().casefold()
    return _SAME_NAME.get(key, key)
