import numpy as np
import pytest

from pretune.text import glance
from pretune.text.glance import is_repetitive, needs_look
from pretune.text.hashed_words import hash_words


def looked_at(*texts: str, min_words: int = 1, max_symbol_ratio: float = 0.5, most_words: int = 50) -> list[bool]:
    found = needs_look(list(texts), min_words=min_words, max_symbol_ratio=max_symbol_ratio, most_words=most_words)
    return found.tolist()


def test_what_needs_a_look() -> None:
    assert looked_at("a good film", "", "...", "a--", "a-b", "a" * 41, "a" * 40) == [
        False, True, True, True, False, True, False,
    ]  # fmt: skip
    assert looked_at("two words", "three short words", min_words=3) == [True, False]
    assert looked_at("w " * 48 + "w", "w " * 49 + "w") == [False, True]
    assert looked_at("Das ist schön", "Ünï ßö") == [False, True]
    assert looked_at() == []


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a good film", "", "...", "b", "!" * 30] * 9
    whole = looked_at(*texts)
    monkeypatch.setattr(glance, "BLOCK_BYTES", 20)
    assert looked_at(*texts) == whole


def test_repeated_words_at_their_limit() -> None:
    texts = ["a b c d e " * 4 + "a", "a b c d " * 5 + "a", "Buy now! " * 20, "a b", "", "a " * 20]
    assert is_repetitive(hash_words(texts)).tolist() == [False, True, True, False, False, False]
    long = " ".join(f"w{i}" for i in range(200))
    assert np.flatnonzero(is_repetitive(hash_words([long + " w" * 2000, "w " * 2000 + long]))).tolist() == [1]
