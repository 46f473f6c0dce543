"""Words are the stretches between blanks, whatever the tokenizer does with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.prediction_checks import _rebuild_text_error
from pretune.text.clean.normalize import clean_text
from pretune.text.cloze.pattern import PatternEncoder, read_pattern
from pretune.text.tokenizer.rows import encode_rows
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.tracing.words import TokenizedText, find_words, tokenize, tokenize_pair


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def read(tokenizer: Tokenizer, text: str, max_seq_len: int = 512) -> TokenizedText:
    return tokenize(tokenizer, text, tokenizer.encode_with_offsets(text), max_seq_len)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The soup was not bad.", ["The", "soup", "was", "not", "bad."]),
        ("x", ["x"]),
        ("🙂 👩‍👩‍👧, great", ["🙂", "👩‍👩‍👧,", "great"]),
        ("لا أحب هذا الفيلم", ["لا", "أحب", "هذا", "الفيلم"]),
        ("a [MASK] b", ["a", "[MASK]", "b"]),
    ],
)
def test_words_are_what_stands_between_blanks(tokenizer: Tokenizer, text: str, words: list[str]) -> None:
    assert [word.surface for word in read(tokenizer, text).words] == words


@given(st.text(alphabet="ab, .é🙂لا\u0301x'-", min_size=1, max_size=40))
def test_the_words_rebuild_the_text(tokenizer: Tokenizer, text: str) -> None:
    text = clean_text(text)
    if text:
        assert " ".join(word.surface for word in read(tokenizer, text).words) == text


@given(st.text(min_size=1, max_size=40))
def test_words_and_blanks_are_all_there_is(tokenizer: Tokenizer, text: str) -> None:
    text = clean_text(text)
    if not text:
        return
    found, place = read(tokenizer, text), 0
    for word in found.words:
        start = text.index(word.surface, place)
        assert not text[place:start].strip()
        place = start + len(word.surface)
    assert not text[place:].strip()
    positions = [position for word in found.words for position in word.positions]
    assert positions == [token.position for token in found.tokens if not token.is_special]
    assert [token.word is None for token in found.tokens] == [token.is_special for token in found.tokens]


def test_a_script_without_blanks_has_a_word_for_each_token(tokenizer: Tokenizer) -> None:
    assert [word.surface for word in read(tokenizer, "電話は good").words] == ["電", "話", "は", "good"]


def test_a_word_ends_at_the_cut(tokenizer: Tokenizer) -> None:
    found = read(tokenizer, "x" * 100, 20)
    assert found.was_cut and len(found.tokens) == 20
    assert len(found.words) == 2
    assert len("".join(word.surface for word in found.words)) < 100


def test_a_word_ends_at_each_cut_of_a_cloze_about_a_pair(tokenizer: Tokenizer) -> None:
    pattern = read_pattern("{text} was [MASK], {text_pair}", has_pair=True)
    sentence, encoded, kept = PatternEncoder(tokenizer, pattern, 30).encode_with_offsets("x" * 100, "y" * 100)
    found = tokenize(tokenizer, sentence, encoded, 30, kept=kept)
    assert found.was_cut and len(found.tokens) == 30
    for letter in "xy":
        assert sum(set(word.surface) == {letter} for word in found.words) == 2


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("room", [9, 14, 20])
def test_a_long_pair_is_cut_as_for_a_prediction(public_model: Callable[..., Path], kind: str, room: int) -> None:
    """With a foreign tokenizer, the trace could show another token than the model had read."""
    tokenizer = load_tokenizer(public_model(kind))
    long = "The waiter was rude and the hotel was cold. " * 3
    for texts in ((long, long), ("the hotel", long), (long, "it was")):
        found = tokenize_pair(tokenizer, texts, tokenizer.encode_pair_with_offsets(*texts), room)
        [row] = encode_rows(tokenizer, [texts], room)
        assert (found.ids, found.was_cut) == (row, True)


def test_a_special_token_ends_a_word() -> None:
    assert [word.positions for word in find_words("abc", [(0, 1), None, (2, 3)])] == [(0,), (2,)]


def test_counts_are_those_of_the_ids(tokenizer: Tokenizer) -> None:
    text = "The film"
    counts = np.arange(tokenizer.vocab_size) * 10
    found = tokenize(tokenizer, text, tokenizer.encode_with_offsets(text), 512, counts)
    assert [token.count for token in found.tokens[1:-1]] == [10 * token.id for token in found.tokens[1:-1]]
    assert found.tokens[0].count is None


REMOVED = [
    ("the food \u2764\ufe0f was good", ["the", "food", "\u2764\ufe0f", "was", "good"]),
    ("the food was \u2764\ufe0f", ["the", "food", "was", "\u2764\ufe0f"]),
    ("\u0915\u093f was good\u0323, \u0323the food", ["\u0915\u093f", "was", "good\u0323,", "\u0323the", "food"]),
    ("\ufe0fthe food", ["\ufe0fthe", "food"]),
    ("the \ufe0f food \ufe0f", ["the", "\ufe0f food \ufe0f"]),
]


@pytest.mark.parametrize(("text", "words"), REMOVED)
def test_characters_that_a_foreign_tokenizer_removes_are_part_of_a_word(
    public_model: Callable[..., Path], text: str, words: list[str]
) -> None:
    uncased = load_tokenizer(public_model("bert"))
    found = read(uncased, text)
    assert [word.surface for word in found.words] == words
    assert all(token.surface == text[token.start : token.end] for token in found.tokens if not token.is_special)
    assert _rebuild_text_error(text, found.tokens, 0) == 0
    encoded = uncased.encode_pair_with_offsets(text, text)
    pair = tokenize_pair(uncased, (text, text), encoded, 512)
    assert [word.surface for word in pair.words] == words * 2


def test_a_cut_is_not_covered(public_model: Callable[..., Path]) -> None:
    uncased = load_tokenizer(public_model("bert"))
    text = "\u2764\ufe0f the food was good \u2764\ufe0f " * 20
    found = read(uncased, text.strip(), 30)
    assert found.was_cut
    assert max(len(word.surface) for word in found.words) < 10
    assert _rebuild_text_error(text.strip(), found.tokens, 1) == 0
