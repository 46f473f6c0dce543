import json
import random
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from pretune.errors import InputDataError, UsageError
from pretune.text.arrays.counted_words import Stretches, count_in_bytes
from pretune.text.tokenizer.tokenizer import Tokenizer, TokenizerKind
from pretune.text.tokenizer.training import train_on_counts
from pretune.text.tokenizer.word_counts import TextSize

TEXTS = [
    "The sun rises in the east.",
    "The moon doesn't rise in the west, he said.",
    "Über den Wolken: straße, naïve façade, 東京, 😀!",
    "What a film! The acting was great (really).",
] * 12
KINDS: tuple[TokenizerKind, ...] = ("bpe", "wordpiece", "words")


def count(texts: Iterable[str]) -> Stretches:
    return count_in_bytes(" ".join(texts).encode())


def train(texts: Iterable[str], *settings: Any, **more: Any) -> Tokenizer:
    return train_on_counts(count(texts), *settings, **more).tokenizer


@settings(max_examples=30)
@given(
    texts=st.lists(st.text(alphabet="ab cdé東.#", max_size=30), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    kind=st.sampled_from(KINDS),
)
def test_neither_order_nor_chance_changes_a_byte(texts: list[str], order: random.Random, kind: TokenizerKind) -> None:
    texts = texts * 10
    shuffled = order.sample(texts, len(texts))
    trained = [train(some, kind).backend.to_str() for some in (texts, shuffled, iter(texts))]
    assert trained[0] == trained[1] == trained[2]


PROGRAM = """
import hashlib, random
from pretune.text.arrays.counted_words import count_in_bytes
from pretune.text.tokenizer.training import train_on_counts
draw = random.Random(1)
parts = ["con", "ta", "min", "ré", "dis", "pre", "ing", "tion", "er", "o", "東"]
texts = [" ".join("".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(8)) for _ in range(400)]
random.shuffle(texts)
for kind in ("bpe", "wordpiece", "words"):
    tokenizer = train_on_counts(count_in_bytes(" ".join(texts).encode()), kind, 400).tokenizer
    print(hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest())
"""


def test_two_processes_learn_the_same_bytes() -> None:
    """The library's hash tables differ from process to process, and WordPiece by itself would as well."""
    found = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True).stdout for _ in range(2)]
    assert found[0] == found[1]
    assert len(set(found[0].splitlines())) == 3


def test_the_size_is_chosen_by_a_rule_that_is_reported() -> None:
    counts = count(TEXTS)
    training = train_on_counts(counts)
    assert 260 < training.tokenizer.vocab_size < 400
    assert training.size_rule == (
        "The text has 1,560 characters in 27 different words. A pair of subwords becomes a token if it occurs at least "
        f"20 times, since a rarer one could not be learned: that gives {training.tokenizer.vocab_size:,} tokens. "
        "--vocab-size N sets another size."
    )
    assert train_on_counts(counts, vocab_size=270).size_rule == "270 tokens, as --vocab-size asks."
    assert "A word becomes a token if it occurs at least 3 times" in train_on_counts(counts, "words").size_rule
    many = count(f"w{number}" for number in range(9000) for _ in range(5))
    assert "It would support more than 8,192 tokens" in train_on_counts(many, "words").size_rule
    assert training.summary.keys() == {
        "counted_characters", "counted_words", "least_count", "size_rule", "determinism"
    }  # fmt: skip


def test_the_figures_are_those_of_the_whole_text() -> None:
    training = train_on_counts(count(TEXTS), size=TextSize(num_characters=5_000_000, num_stretches=3_000_000))
    assert (training.counted_characters, training.counted_words) == (5_000_000, 3_000_000)
    assert training.size_rule.startswith("The text has 5,000,000 characters in 3,000,000 different words.")


def test_nondeterminism_is_reported() -> None:
    counts = count(TEXTS)
    assert "WordPiece trainer is not deterministic" in train_on_counts(counts, "wordpiece").determinism
    assert train_on_counts(counts, "bpe").determinism.startswith("The same words give the same tokenizer")


def test_wordpiece_equals_that_of_the_library() -> None:
    """Only the five special tokens are special; characters that the trainer numbers first are plain text again."""
    tokenizer = train(TEXTS * 3, "wordpiece")
    assert [token.content for token in tokenizer.backend.get_added_tokens_decoder().values()] == [
        "[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]",
    ]  # fmt: skip
    surfaces = tokenizer.surfaces(range(5, tokenizer.vocab_size))
    inside = [surface for surface in surfaces if surface.startswith("##") and len(surface) == 3]
    assert inside == sorted(inside)
    assert not {"##.", "##東"} & set(inside)  # they are never inside a word
    assert {"The", "the", "rises", "東", "."} <= set(surfaces)
    assert "##e" not in tokenizer.surfaces(tokenizer.encode("a ##e b"))[1:2]


def test_an_alphabet_fills_at_most_half_of_the_vocabulary() -> None:
    texts = [" ".join(chr(0x4E00 + number) for number in range(300))] * 3
    texts += ["the sun rises in the east", "the moon sets in the west", "an old house stands alone"] * 20
    tokenizer = train(texts, "wordpiece", vocab_size=80)
    single = [surface for surface in tokenizer.surfaces(range(5, 80)) if len(surface.removeprefix("##")) == 1]
    assert len(single) <= 40
    assert {"the", "sun", "moon", "一"} <= set(tokenizer.surfaces(range(80)))
    assert tokenizer.encode(chr(0x4E00 + 299))[1:-1] == [tokenizer.unk_id]


def test_a_vocabulary_that_the_text_does_not_support_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"supports a vocabulary of [\d,]+ tokens, not the 5,000 asked for"):
        train(TEXTS, vocab_size=5000)


def test_a_large_vocabulary_is_trained_on_more_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts were always scaled to the same amount, so a large text was refused with the advice to give more."""
    scales, scaled = list[float](), Stretches.scaled
    monkeypatch.setattr("pretune.text.tokenizer.training.TRAINING_CHARACTERS", 1000)
    monkeypatch.setattr(Stretches, "scaled", lambda self, scale: scales.append(scale) or scaled(self, scale))
    counts = count(f"the house {number} is {number * 7}" for number in range(2000) for _ in range(3))
    whole = counts.num_characters / 1000
    train_on_counts(counts)
    train_on_counts(counts, vocab_size=280)
    assert scales == [whole, whole]
    scales.clear()
    assert train_on_counts(counts, vocab_size=1000).tokenizer.vocab_size == 1000
    assert scales[:2] == [whole, whole / 4]
    scales.clear()
    with pytest.raises(InputDataError, match=r"give more text, set --vocab-size to"):
        train_on_counts(counts, vocab_size=16_384)
    assert (scales[0], scales[-1]) == (whole / 2, 1)
    some = TextSize(counts.num_characters, len(counts), least_count=2)
    with pytest.raises(InputDataError, match=r"asked for; set --vocab-size to"):
        train_on_counts(counts, vocab_size=16_384, size=some)
    assert scales[-1] == 2


@pytest.mark.parametrize(("kind", "least"), [("bpe", 260), ("wordpiece", 31), ("words", 6)])
def test_a_vocabulary_without_room_is_refused(kind: TokenizerKind, least: int) -> None:
    with pytest.raises(UsageError, match=r"--vocab-size is [\d]+, too small for .*; expected at least \d+\."):
        train(TEXTS, kind, vocab_size=min(least - 1, 4))
    if kind != "wordpiece":
        assert train(TEXTS, kind, vocab_size=least).vocab_size == least


def test_scaling_changes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the {'very ' * (i % 3)}old house number {i} is {'red' if i % 2 else 'blue'}." for i in range(2000)]
    one = train(texts)
    monkeypatch.setattr("pretune.text.tokenizer.training.TRAINING_CHARACTERS", 20_000)
    scaled = train(texts)
    same = set(one.backend.get_vocab()) & set(scaled.backend.get_vocab())
    assert len(same) > 0.9 * one.vocab_size


@pytest.mark.parametrize("lowercase", [False, True])
def test_pretokens_give_the_same_tokenizer_as_the_text(lowercase: bool) -> None:
    draw = random.Random(1)
    parts = ["con", "Ta", "min", "ré", "n't", "it's", "12", "...", "er,", "\u6771", "\U0001f600", "_x"]
    texts = [" ".join("".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(8)) for _ in range(300)]
    ours = train(texts, vocab_size=400, lowercase=lowercase)
    library = tokenizers.Tokenizer(models.BPE())
    library.normalizer = normalizers.Lowercase() if lowercase else None
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=2,
        special_tokens=["[PAD]", "[BOS]", "[EOS]", "[MASK]"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=32,
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    assert json.loads(ours.backend.to_str())["model"]["merges"] == json.loads(library.to_str())["model"]["merges"]
