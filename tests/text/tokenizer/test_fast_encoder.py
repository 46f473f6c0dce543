import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer import fast_encoder
from pretune.text.tokenizer.fast_encoder import CleanTextEncoding, can_encode
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

TEXTS = [
    "The sun rises.",
    "",
    "naïve 日本語 🙂 don't",
    "[MASK] typed, [PAD] too",
    "x" * 90,
    "1234567 a_b __",
    "a\u200db",
]


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def encoded(encoder: CleanTextEncoding, texts: list[str]) -> list[list[int]]:
    ids, lengths = encoder.encode(texts)
    ends = lengths.cumsum()
    return [ids[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]


@pytest.fixture
def gigatoken() -> Iterator[None]:
    pytest.importorskip("gigatoken", reason="gigatoken is not installed: pip install 'pretune[fast]'")
    yield


@pytest.mark.usefixtures("gigatoken")
def test_the_library_gives_the_ids_of_the_tokenizer(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_encoder, "TEXTS_TO_CHECK", 2)
    encoder = CleanTextEncoding(tokenizer)
    assert encoded(encoder, TEXTS) == tokenizer.encode_batch(TEXTS)
    assert encoded(encoder, []) == []
    assert encoded(encoder, TEXTS[::-1]) == tokenizer.encode_batch(TEXTS[::-1])
    assert (encoder.encoder, encoder.is_refused, encoder.is_exact) == ("gigatoken", False, True)


@pytest.mark.usefixtures("gigatoken")
@given(texts=st.lists(st.text(max_size=30), max_size=5))
def test_any_clean_text_has_the_same_ids(tokenizer: Tokenizer, texts: list[str]) -> None:
    clean = [clean_text(text) for text in texts]
    encoder = CleanTextEncoding(tokenizer)
    encoder._num_checked = fast_encoder.TEXTS_TO_CHECK
    assert encoded(encoder, clean) == tokenizer.encode_batch(clean)
    assert encoder.encoder == "gigatoken"


class Wrong:
    """A library that gives every text one id too few."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Any:
        ids, lengths = fast_encoder.CleanTextEncoder(self.tokenizer).encode(texts)
        return ids[:-1], lengths


class Different(Wrong):
    """A library that has another id in every text."""

    def encode(self, texts: list[str]) -> Any:
        ids, lengths = fast_encoder.CleanTextEncoder(self.tokenizer).encode(texts)
        return ids + 1, lengths


class Unloadable(Wrong):
    def __init__(self, tokenizer: Tokenizer) -> None:
        raise ImportError(f"something that it needs for {tokenizer} is missing")


class Failing(Wrong):
    def encode(self, texts: list[str]) -> Any:
        raise RuntimeError(f"a bug of somebody else, after {len(texts)} texts")


@pytest.mark.parametrize("library", [Wrong, Different, Failing, Unloadable])
def test_a_library_that_differs_is_not_asked_again(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, library: type
) -> None:
    monkeypatch.setattr(fast_encoder, "can_encode", lambda tokenizer: True)
    monkeypatch.setattr(fast_encoder, "_Gigatoken", library)
    encoder = CleanTextEncoding(tokenizer)
    assert encoded(encoder, TEXTS) == tokenizer.encode_batch(TEXTS)
    assert (encoder.encoder, encoder.is_refused) == ("tokenizers", True)


def test_a_library_that_fails_after_the_check_is_not_asked_again(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingLate(Wrong):
        def encode(self, texts: list[str]) -> Any:
            if "late" in texts:
                raise RuntimeError("a bug of somebody else")
            return fast_encoder.CleanTextEncoder(self.tokenizer).encode(texts)

    monkeypatch.setattr(fast_encoder, "can_encode", lambda tokenizer: True)
    monkeypatch.setattr(fast_encoder, "_Gigatoken", FailingLate)
    monkeypatch.setattr(fast_encoder, "TEXTS_TO_CHECK", 2)
    encoder = CleanTextEncoding(tokenizer)
    assert encoded(encoder, TEXTS) == tokenizer.encode_batch(TEXTS)
    assert encoder.encoder == "gigatoken"
    assert encoded(encoder, ["late", *TEXTS]) == tokenizer.encode_batch(["late", *TEXTS])
    assert (encoder.encoder, encoder.is_refused) == ("tokenizers", True)


def test_other_kinds_and_a_missing_library_do_not_fail(
    tokenizer: Tokenizer, train_tokenizer: Callable[..., Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in (train_tokenizer(TEXTS, "words"), train_tokenizer(TEXTS * 20, vocab_size=280, lowercase=True)):
        assert not can_encode(other)
        encoder = CleanTextEncoding(other)
        assert encoded(encoder, TEXTS) == other.encode_batch(TEXTS)
        assert (encoder.encoder, encoder.is_refused) == ("tokenizers", False)
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert CleanTextEncoding(tokenizer).encoder == "tokenizers"
