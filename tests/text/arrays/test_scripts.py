"""Words are counted in any script."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.scripts import count_words, marks_in_words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a good film", 3),
        ("नमस्ते दुनिया", 2),
        ("나는 어제 갔다", 3),
        ("茶杯", 1),
        ("好", 1),
        ("央行宣布下调", 3),
        ("ครูซ่อมถ้วย", 2),
        ("iPhone的屏幕。。", 2),
        ("。、…", 0),
    ],
)
def test_words_are_counted_in_any_script(text: str, count: int) -> None:
    assert count_words(text) == count


@given(st.text(st.characters(max_codepoint=0x0482)))
def test_words_of_latin_text_are_runs_of_letters(text: str) -> None:
    assert count_words(text) == len(re.findall(r"\w+", text))


def test_marks_of_any_script_are_not_in_words() -> None:
    assert "\u094d" in marks_in_words()
    assert not {"\ufe0f", "\u0301", "\u20e3"} & set(marks_in_words())
