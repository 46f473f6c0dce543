import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays import word_hashes
from pretune.text.arrays.word_hashes import fold_words, hash_words, ranges

TEXTS = st.lists(st.one_of(st.text(), st.text("ab \u00e4\u0130\u0e01\u4e2d.,\n", max_size=30)), max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The film, the FILM!", ["the", "film", "the", "film"]),
        ("snake_case don't 3.5", ["snake", "case", "don", "t", "3", "5"]),
        ("\u201cCaf\u00e9\u201d\u2014STRASSE, Stra\u00dfe", ["caf\u00e9", "strasse", "strasse"]),
        ("\u0915\u094d\u0937\u0947\u0924\u094d\u0930 \u0939\u093f\u0928\u094d\u0926\u0940",
         ["\u0915\u094d\u0937\u0947\u0924\u094d\u0930", "\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("\u6771\u4eac\u306f big", ["\u6771", "\u4eac", "\u306f", "big"]),
        ("*** !!! \U0001f600", []),
        ("", []),
    ],
)  # fmt: skip
def test_words(text: str, words: list[str]) -> None:
    assert fold_words(text) == words
    assert hash_words([text]).num_words.tolist() == [len(words)]


@given(TEXTS)
def test_words_have_equal_hashes_where_they_are_equal(texts: list[str]) -> None:
    words = hash_words(texts)
    expected = [fold_words(text) for text in texts]
    assert words.num_words.tolist() == list(map(len, expected))
    flat = [word for listed in expected for word in listed]
    assert len(set(zip(flat, words.hashes.tolist(), strict=True))) == len(set(flat)) == len(set(words.hashes.tolist()))


@given(TEXTS, st.integers(1, 4))
def test_ngrams_have_equal_hashes_where_they_are_equal(texts: list[str], n: int) -> None:
    words = hash_words(texts)
    positions, counts = words.ngram_positions(np.arange(len(texts)), n)
    expected = [
        tuple(listed[i : i + n]) for listed in map(fold_words, texts) for i in range(max(0, len(listed) - n + 1))
    ]
    hashes = words.ngrams(n)[positions].tolist()
    assert counts.sum() == len(expected)
    assert len(set(zip(expected, hashes, strict=True))) == len(set(expected)) == len(set(hashes))


def test_hashes_do_not_depend_on_the_other_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {i} says the word {'again ' * (i % 7)}" for i in range(50)]
    together = hash_words(texts)
    monkeypatch.setattr(word_hashes, "BLOCK_BYTES", 64)
    apart = hash_words(texts)
    assert np.array_equal(together.hashes, apart.hashes)
    assert np.array_equal(together.offsets, apart.offsets)
    assert np.array_equal(hash_words(texts[20:21]).ngrams(3)[:3], together.ngrams(3)[together.offsets[20] :][:3])


def test_nothing_in_nothing_out() -> None:
    assert len(hash_words([]).hashes) == 0
    assert hash_words(["", "."]).offsets.tolist() == [0, 0, 0]
    assert ranges(np.array([5, 9, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]


def test_some_of_the_texts() -> None:
    texts = ["a b c", "", "d e", "f"]
    words = hash_words(texts)
    assert words.only(np.ones(4, dtype=bool)) is words
    taken, some = words.only(np.array([True, True, False, True])), hash_words([texts[0], texts[1], texts[3]])
    for name in ("hashes", "lengths", "offsets"):
        assert np.array_equal(getattr(taken, name), getattr(some, name))
