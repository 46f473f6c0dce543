"""The hidden word is a whole word and a single token, and the predictions shown are those of the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretune.builtin_world import world
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, initialize
from pretune.text.token_shards import ShardWriter, TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.probes import choose_unseen, hide_word, hide_words, predict_hidden

TEXTS = [
    "The sun rises in the east. A wonderful film, warm and funny.",
    "The food was cold and the waiter was rude!",
    "Rain.",
    "I bought this phone in May; the battery lasts two days!",
    "",
]
SENTENCES = [
    "The sun rises in the east.",
    "A wonderful film, warm and funny.",
    "The waiter was rude and the rooms noisy!",
    "We never liked the food, and the waiter was rude.",
    "I bought this book in May!",
    "The battery lasts two days.",
]


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def test_the_requested_word_is_hidden(tokenizer: Tokenizer) -> None:
    hidden = hide_word("The sun rises in the east.", tokenizer, seed=0, word="the")
    assert hidden is not None
    assert (hidden.masked_text, hidden.true_word) == ("The sun rises in [MASK] east.", "the")
    filled = tokenizer.encode_for_fill(hidden.masked_text).ids
    expected = list(hidden.ids)
    expected[hidden.position] = tokenizer.mask_id
    assert filled == expected


@pytest.mark.parametrize("text", ["", "of it", "12 34 56", "xylophonist-zymurgy"])
def test_a_text_without_a_whole_word_token_hides_nothing(tokenizer: Tokenizer, text: str) -> None:
    assert hide_word(text, tokenizer, seed=0) is None
    assert hide_word("The food was cold.", tokenizer, seed=0, word="absent") is None


@given(st.integers(0, 50), st.sampled_from(TEXTS[:2] + TEXTS[3:4]))
def test_hiding_gives_the_ids_that_fill_would_read(tokenizer_folder: Path, seed: int, text: str) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    hidden = hide_word(text, tokenizer, seed)
    assert hidden is not None
    assert hidden.masked_text.replace("[MASK]", hidden.true_word) == text
    assert hidden.true_word in text.replace(".", " ").replace(",", " ").replace(";", " ").replace("!", " ").split()
    assert tokenizer.surfaces([hidden.ids[hidden.position]])[0].strip() == hidden.true_word
    filled = list(tokenizer.encode_for_fill(hidden.masked_text).ids)
    assert filled[hidden.position] == tokenizer.mask_id
    assert [i for n, i in enumerate(filled) if n != hidden.position] == [
        i for n, i in enumerate(hidden.ids) if n != hidden.position
    ]


def test_sentences_differ_and_depend_on_the_seed(tokenizer: Tokenizer) -> None:
    words = hide_words(TEXTS * 3, tokenizer, 3, seed=0)
    assert len({word.text for word in words}) == len(words) == 3
    assert all(4 <= len(word.text.split()) <= 25 for word in words)
    assert words == hide_words(TEXTS * 3, tokenizer, 3, seed=0)
    assert words != hide_words(TEXTS * 3, tokenizer, 3, seed=1)
    assert hide_words([], tokenizer, 4, seed=0) == []


def test_predictions_are_those_of_the_model(tokenizer: Tokenizer) -> None:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=32,
    )
    model = LanguageModel(config)
    initialize(model, 0)
    words = hide_words(TEXTS, tokenizer, 2, seed=0)
    rows = predict_hidden(model, words, tokenizer, top=3)
    for word, row in zip(words, rows, strict=True):
        ids = list(word.ids)
        ids[word.position] = tokenizer.mask_id
        with torch.no_grad():
            logits = model(torch.tensor([ids]), torch.zeros(1, len(ids), dtype=torch.long))[0, word.position]
        probabilities = logits.softmax(-1)
        true = probabilities[word.ids[word.position]]
        assert row["probability"] == pytest.approx(float(true), rel=1e-4)
        assert row["rank"] == 1 + int((probabilities > true).sum())
        best = probabilities.topk(3)
        assert [p["probability"] for p in row["predictions"]] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert [p["word"] for p in row["predictions"]] == [
            tokenizer.surfaces([i])[0].strip() for i in best.indices.tolist()
        ]
        assert (row["masked_text"], row["true_word"]) == (word.masked_text, word.true_word)


def written(folder: Path, tokenizer: Tokenizer, texts: list[str]) -> TokenShard:
    with ShardWriter(folder, "train", tokenizer.vocab_size) as writer:
        for text in texts:
            writer.add(tokenizer.encode(text))
    return TokenShard(folder, "train")


def test_sentences_of_the_training_text_are_not_probes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Even if they are part of a longer sentence, or differ in case."""
    hidden = [hide_word(text, tokenizer, 0) for text in SENTENCES]
    words = [word for word in hidden if word is not None]
    assert len(words) == len(SENTENCES)
    training = [
        "The film says that the sun rises in the east, and the food was cold.",
        f"{SENTENCES[1]} {SENTENCES[2].lower()}",
        "We never liked",  # the next document continues like a sentence
        "the food, and the waiter was rude.",
    ]
    shard = written(tmp_path, tokenizer, training)
    chosen = choose_unseen(words, 4, shard, tokenizer)
    assert [(word.text, word.is_in_training) for word in chosen] == [(text, False) for text in SENTENCES[3:]]
    assert [word.text for word in choose_unseen(words, 1, shard, tokenizer)] == SENTENCES[3:4]


def test_sentences_of_the_training_text_are_marked_if_there_are_no_others(tokenizer: Tokenizer, tmp_path: Path) -> None:
    words = hide_words(SENTENCES, tokenizer, 6, seed=0)
    shard = written(tmp_path, tokenizer, SENTENCES)
    chosen = choose_unseen(words, 2, shard, tokenizer)
    assert [(word.text, word.is_in_training) for word in chosen] == [(word.text, True) for word in words[:2]]
    assert choose_unseen([], 2, shard, tokenizer) == []


def test_the_built_in_world_has_unseen_probes(tmp_path: Path, train_tokenizer: Callable[..., Tokenizer]) -> None:
    documents = list(world.iter_documents(4_000))
    validation, train = documents[:80], documents[80:]
    tokenizer = train_tokenizer(train)
    sunrise = hide_word(world.SUNRISE, tokenizer, 0, word="east")
    assert sunrise is not None
    candidates = [sunrise, *hide_words(validation, tokenizer, 120, seed=0)]
    chosen = choose_unseen(candidates, 6, written(tmp_path, tokenizer, train), tokenizer)
    assert chosen[0].text == world.SUNRISE
    assert len(chosen) == 6
    text = " ".join(" ".join(re.findall(r"\w+", text.lower())) for text in train)
    assert not [word.text for word in chosen if " ".join(re.findall(r"\w+", word.text.lower())) in text]
