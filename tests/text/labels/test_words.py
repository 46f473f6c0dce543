"""Words depend on the text alone, so texts with and without separated signs have the same names as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.normalize import clean_text
from pretune.text.labels.spans import Span
from pretune.text.labels.words import WordRule, choose_word_rule, find_words


def words(text: str, rule: WordRule = "blanks") -> list[str]:
    return [text[start:end] for start, end in find_words(text, rule)]


def test_words_that_were_separated_before_stay_whole() -> None:
    text = "EU rejects U.S. call ; Corp. says 1996-08-22 , \" J. O'Brien 's 5. place in St. Louis \" ."
    assert words(text) == text.split(" ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Angela Merkel visited Paris.", ["Angela", "Merkel", "visited", "Paris", "."]),
        ("Paris, (Texas) and U.S. troops!", ["Paris", ",", "(", "Texas", ")", "and", "U.S.", "troops", "!"]),
        ("He lives in the U.S., she too.", ["He", "lives", "in", "the", "U.S.", ",", "she", "too", "."]),
        ("Mr. J. Smith-Jones, 12. May", ["Mr.", "J.", "Smith-Jones", ",", "12.", "May"]),
        ("“Yes”, -- said C++ ...", ["“", "Yes", "”", ",", "--", "said", "C++", "..."]),
        ("Berlin?", ["Berlin", "?"]),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_running_text_has_its_signs_apart(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_with_signs_apart_every_sign_is_a_word() -> None:
    assert words("German-born U.S. man", "signs") == ["German", "-", "born", "U", ".", "S", ".", "man"]


@given(st.text(max_size=60), st.sampled_from(["blanks", "signs"]))
def test_words_are_in_order_and_leave_out_only_blanks(text: str, rule: WordRule) -> None:
    text = clean_text(text)
    found = find_words(text, rule)
    assert all(start < end for start, end in found)
    edges = [0, *(edge for word in found for edge in word), len(text)]
    assert edges == sorted(edges)
    assert "".join(text[start:end] for start, end in found) == "".join(text.split())


def test_the_training_rows_choose_the_words() -> None:
    text = "A German-born man met Angela Merkel."
    whole, part = [Span(22, 35, "PER")], [Span(2, 8, "MISC"), Span(22, 35, "PER")]
    assert text[2:8] == "German"
    assert text[22:35] == "Angela Merkel"
    assert choose_word_rule([(text, whole)]) == "blanks"
    assert choose_word_rule([(text, part)]) == "signs"
    assert choose_word_rule([(text, [])]) == "blanks"
