import itertools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pretune.text.arrays.word_hashes import UInt64s, fold_words
from pretune.text.dedup.minhash import (
    SHINGLE_WORDS,
    Signatures,
    band_keys,
    read_signatures,
    sign_texts,
    write_signatures,
)

TEXTS = ["", "one", *(" ".join(f"w{i}" for i in range(n)) for n in (9, 10, 11, 12, 24, 25, 29, 30, 50, 60, 61)), "!"]


def equal(a: Signatures, b: Signatures) -> bool:
    return all(np.array_equal(getattr(a, item.name), getattr(b, item.name)) for item in fields(Signatures))


def keys(signed: Signatures) -> UInt64s:
    return band_keys(signed.shingles, signed.offsets, signed.n)


def shingle_words(num_words: int) -> int:
    """The words in a shingle of a text of that length."""
    return next(n for first, n in reversed(SHINGLE_WORDS) if num_words >= first)


def test_a_text_is_signed_for_its_length_and_for_the_shorter_texts_it_may_resemble() -> None:
    signed = sign_texts(TEXTS, threshold=0.8)
    sizes: dict[int, list[int]] = {}
    for text, n, is_own in zip(signed.text, signed.n, signed.is_own, strict=True):
        num_words = len(fold_words(TEXTS[text]))
        assert is_own == (n == shingle_words(num_words))
        sizes.setdefault(num_words, []).append(int(n))
    assert sizes == {
        1: [1], 9: [1], 10: [1, 2], 11: [1, 2], 12: [2], 24: [2], 25: [2, 3], 29: [2, 3], 30: [3], 50: [3, 5],
        60: [3, 5], 61: [5],
    }  # fmt: skip


def test_shingles_are_the_different_ngrams() -> None:
    text = "so it goes so it goes so it goes on"
    signed = sign_texts([text], threshold=0.8)
    words = fold_words(text)
    counts = np.diff(signed.offsets).tolist()
    assert counts == [len(set(words)), len(set(itertools.pairwise(words)))]
    for first, last in zip(signed.offsets, signed.offsets[1:], strict=False):
        assert np.all(np.diff(signed.shingles[first:last].astype(np.int64)) > 0)


def test_a_signature_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"w{i * j % 41}" for i in range(1, 3 + j)) for j in range(70)]
    together = sign_texts(texts, 0.8)
    monkeypatch.setattr("pretune.text.dedup.minhash._SHINGLES_AT_ONCE", 50)
    parts = [sign_texts(texts[i : i + 9], 0.8) for i in range(0, len(texts), 9)]
    assert np.array_equal(keys(together), np.concatenate([keys(part) for part in parts], axis=1))
    assert np.array_equal(together.shingles, np.concatenate([part.shingles for part in parts]))
    assert np.array_equal(together.n, np.concatenate([part.n for part in parts]))


def test_the_share_of_equal_minima_is_the_similarity() -> None:
    """A band's key is equal with probability J to the power of ROWS."""
    rng = np.random.default_rng(0)
    a, b = [], []
    for _ in range(600):
        words = [f"w{i}" for i in rng.choice(10_000, 10, replace=False)]
        a.append(" ".join(words[:9]))
        b.append(" ".join(words[1:]))  # 8 of 10 words are shared
    left, right = sign_texts(a, 0.8), sign_texts(b, 0.8)
    assert abs((keys(left) == keys(right)).mean() - 0.8**5) < 0.02


def test_keys_are_sorted_and_have_the_number_of_their_entry() -> None:
    signed = sign_texts(TEXTS, 0.8)
    mask = np.uint64((1 << signed.entry_bits) - 1)
    for sorted_keys, of_entries in zip(signed.keys, keys(signed), strict=True):
        assert (np.diff(sorted_keys.astype(object)) > 0).all()
        entries = (sorted_keys & mask).astype(np.int64)
        assert sorted(entries.tolist()) == list(range(len(signed.text)))
        assert np.array_equal(sorted_keys & ~mask, of_entries[entries] & ~mask)


def test_signatures_survive_the_disk(tmp_path: Path) -> None:
    for texts in (TEXTS, ["", "?"], []):
        signed = sign_texts(texts, 0.8)
        write_signatures(tmp_path / "a", signed)
        assert equal(read_signatures(tmp_path / "a"), signed)
