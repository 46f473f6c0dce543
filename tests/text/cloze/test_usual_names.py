"""Usual names of labels have words and a pattern, of one kind for all labels."""

from __future__ import annotations

import pytest

from pretune.text.cloze import usual_names
from pretune.text.cloze.pattern import read_pattern
from pretune.text.cloze.usual_names import suggest_pattern, usual_words_of


@pytest.mark.parametrize(
    ("names", "first_words"),
    [
        (("Positive", "NEG"), ("great", "terrible")),
        (("entailment", "neutral", "contradiction"), ("Yes", "Maybe", "No")),
        (("positive", "neutral", "negative"), ("great", "okay", "terrible")),
        (("World", "Sports", "Business", "Sci/Tech"), ("world", "sports", "business", "technology")),
    ],
)
def test_words_of_usual_names(names: tuple[str, ...], first_words: tuple[str, ...]) -> None:
    found = usual_words_of(names)
    assert found is not None
    assert tuple(found) == names
    assert tuple(words[0] for words in found.values()) == first_words


@pytest.mark.parametrize("names", [("0", "1"), ("positive", "sports"), ("card_arrival",)])
def test_other_names_have_none(names: tuple[str, ...]) -> None:
    assert usual_words_of(names) is None


@pytest.mark.parametrize(
    ("names", "has_pair", "expected"),
    [
        (("pos", "neg"), False, usual_names.SENTIMENT_PATTERN),
        (("yes", "no"), False, usual_names.ANSWER_PATTERN),
        (("sports", "rain"), False, usual_names.TOPIC_PATTERN),
        (("yes", "no"), True, usual_names.PAIR_PATTERN),
    ],
)
def test_the_pattern_suits_the_names(names: tuple[str, ...], has_pair: bool, expected: str) -> None:
    found = suggest_pattern(names, has_pair=has_pair)
    assert found == expected
    assert read_pattern(found, has_pair=has_pair).written == found
