import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.word_hashes import hash_words
from pretune.text.clean import prefilter
from pretune.text.clean.normalize import clean_text
from pretune.text.clean.prefilter import is_plain, is_repetitive, needs_look


def looked_at(*texts: str, min_words: int = 1, max_symbol_ratio: float = 0.5, most_words: int = 50) -> list[bool]:
    found = needs_look(list(texts), min_words=min_words, max_symbol_ratio=max_symbol_ratio, most_words=most_words)
    return found.tolist()


def test_texts_that_need_a_check() -> None:
    assert looked_at("a good film", "", "...", "a--", "a-b", "a" * 41, "a" * 40) == [
        False, True, True, True, False, True, False,
    ]  # fmt: skip
    assert looked_at("two words", "three short words", min_words=3) == [True, False]
    assert looked_at("w " * 48 + "w", "w " * 49 + "w") == [False, True]
    assert looked_at("Das ist schön", "Ünï ßö") == [False, True]
    assert looked_at() == []


def test_a_ratio_without_end_is_compared_without_a_warning() -> None:
    assert looked_at("a good film", "", "öö", max_symbol_ratio=math.inf)[0] is False


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a good film", "", "...", "b", "!" * 30] * 9
    whole = looked_at(*texts)
    monkeypatch.setattr(prefilter, "BLOCK_BYTES", 20)
    assert looked_at(*texts) == whole


def test_repeated_words_at_their_limit() -> None:
    texts = ["a b c d e " * 4 + "a", "a b c d " * 5 + "a", "Buy now! " * 20, "a b", "", "a " * 20]
    assert is_repetitive(hash_words(texts)).tolist() == [False, True, True, False, False, False]
    long = " ".join(f"w{i}" for i in range(200))
    assert np.flatnonzero(is_repetitive(hash_words([long + " w" * 2000, "w " * 2000 + long]))).tolist() == [1]


def test_plain_texts_are_recognised() -> None:
    plain = [
        "a good film, isn't it?",
        "one",
        "two  blanks",
        " before",
        "after ",
        "tab\t",
        "x < y",
        "&amp;",
        "caf\u00e9",
        "",
    ]
    assert is_plain(plain).tolist() == [True, True] + [False] * 8
    assert is_plain([]).tolist() == []


@given(st.lists(st.text(st.sampled_from("aB1.  <&\t\n\x00\x1c\x7f\u00a0\u00e9\ud800"), max_size=6), max_size=8))
def test_a_plain_text_is_clean(texts: list[str]) -> None:
    for text, plain in zip(texts, is_plain(texts).tolist(), strict=True):
        repairs: Counter[str] = Counter()
        assert not plain or (clean_text(text, repairs) == text and not repairs)
