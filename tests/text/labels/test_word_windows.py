"""Every word is labelled once, in a row that the model can read, at the token that begins the word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import LabeledRow
from pretune.text.labels.spans import Span
from pretune.text.labels.word_windows import cut_long_rows, read_words
from pretune.text.labels.words import WordRule
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

LIMIT = 16
WORDS = ["film", "Zürich", "U.S.", "good,", "a", "(1996)", "日本", "unbelievable-word"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=40), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.sampled_from(["blanks", "signs"]), st.sampled_from([0.0, 0.125, 0.3]))
def test_every_word_has_one_place(tokenizer: Tokenizer, texts: list[list[str]], rule: WordRule, context: float) -> None:
    every = [" ".join(words) for words in texts]
    read = read_words(tokenizer, every, rule, LIMIT, context=context)
    assert len(read.words) == len(every)
    assert sum(map(len, read.positions)) == sum(map(len, read.words))
    assert all(len(row) <= LIMIT for row in read.rows)
    for row, places in zip(read.rows, read.positions, strict=True):
        assert all(0 < place < len(row) - 1 for place in places)
        assert sorted(places) == list(places)


def test_the_place_of_a_word_is_its_first_token(tokenizer: Tokenizer) -> None:
    text = "Zürich is a good, unbelievable place in the U.S. " * 6
    text = text.strip()
    read = read_words(tokenizer, [text], "blanks", 24)
    assert len(read.rows) > 2
    words = iter(read.words[0])
    for row, places in zip(read.rows, read.positions, strict=True):
        for place in places:
            start, end = next(words)
            token = tokenizer.decode([row[place]]).strip().replace("\ufffd", "")
            assert text[start:end].startswith(token)
    assert next(words, None) is None


def test_a_short_text_is_one_row_of_its_own_tokens(tokenizer: Tokenizer) -> None:
    read = read_words(tokenizer, ["a good film", ""], "blanks", LIMIT)
    assert read.rows == [tokenizer.encode("a good film"), tokenizer.encode("")]
    assert [len(places) for places in read.positions] == [3, 0]


def test_windows_overlap_so_that_words_at_their_edges_have_context(tokenizer: Tokenizer) -> None:
    text = "the film was a good film and we like it " * 20
    text = text.strip()
    lone, wide = (read_words(tokenizer, [text], "blanks", 64, context=c) for c in (0.0, 0.125))
    assert sum(map(len, lone.rows)) == len(tokenizer.encode(text)) + 2 * (len(lone.rows) - 1)
    assert all(places[0] == 1 for places in lone.positions)
    assert all(places[0] > 1 for places in wide.positions[1:])
    assert all(len(row) - places[-1] > 3 for row, places in zip(wide.rows[:-1], wide.positions[:-1], strict=True))


def row_of(text: str, *entities: str) -> LabeledRow:
    spans = tuple(Span(text.index(each), text.index(each) + len(each), "X") for each in entities)
    assert clean_text(text) == text
    return LabeledRow.of_text(row=7, line=8, text=text, raw=text, label=spans, slice="s")


def test_long_rows_are_cut_between_entities(tokenizer: Tokenizer) -> None:
    filler = "the film was good and we like it"
    text = f"{filler} Ada of Lovelace Hall {filler} the Hague {filler} Berlin"
    entities = ["Ada of Lovelace Hall", "the Hague", "Berlin"]
    short = row_of("a film", "film")
    for limit in range(24, 60):  # from 19 tokens of the longest entity on
        parts, num_cut = cut_long_rows(tokenizer, [short, row_of(text, *entities)], "blanks", limit)
        assert num_cut == 1
        assert parts[0] is short
        assert [row.part for row in parts[1:]] == list(range(len(parts) - 1))
        assert {(row.row, row.line, row.slice) for row in parts} == {(7, 8, "s")}
        assert " ".join(row.text for row in parts[1:]) == text
        assert [row.text[s.start : s.end] for row in parts[1:] for s in row.label] == entities
        assert all(len(tokenizer.encode(row.text)) <= limit for row in parts)


def test_an_entity_longer_than_a_row_is_cut(tokenizer: Tokenizer) -> None:
    text = " ".join(f"name{number}" for number in range(30))
    parts, _ = cut_long_rows(tokenizer, [row_of(text, text)], "blanks", LIMIT)
    assert len(parts) > 1
    assert all(row.label == (Span(0, len(row.text), "X"),) for row in parts)


def test_words_are_found_without_special_tokens_around_a_text(endless_model: Path) -> None:
    tokenizer = load_tokenizer(endless_model)
    assert tokenizer.num_around == (0, 0)
    long = "the waiter was rude and the hotel was cold " * 12
    texts = ["the", "the hotel", "the hotel was cold", long.strip()]
    read = read_words(tokenizer, texts, "blanks", 24)
    assert read.rows[:3] == [tokenizer.encode(text) for text in texts[:3]]
    assert len(read.rows) > 6 and all(len(row) <= 24 for row in read.rows)
    words = [text[start:end] for text, own in zip(texts, read.words, strict=True) for start, end in own]
    tokens = [
        tokenizer.decode([row[place]]).strip()
        for row, places in zip(read.rows, read.positions, strict=True)
        for place in places.tolist()
    ]
    assert len(tokens) == len(words)
    assert all(token and word.startswith(token) for word, token in zip(words, tokens, strict=True))
    parts, _ = cut_long_rows(tokenizer, [row_of(texts[-1])], "blanks", 24)
    assert " ".join(row.text for row in parts) == texts[-1]
    assert all(len(tokenizer.encode(row.text)) <= 24 for row in parts)


def test_a_word_longer_than_a_row_is_cut_without_special_tokens(endless_model: Path) -> None:
    tokenizer = load_tokenizer(endless_model)
    read = read_words(tokenizer, ["the hotel " + "waiter" * 30], "blanks", 16)
    assert sum(map(len, read.positions)) == 3
    assert all(len(row) <= 16 for row in read.rows)
    assert all(0 <= place < len(row) for row, places in zip(read.rows, read.positions, strict=True) for place in places)
