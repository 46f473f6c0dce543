"""Train a tokenizer from counted text, and report how large it is and why.

Every kind is trained on the counts of distinct stretches between blanks, never on the text itself, so memory is bounded
by `word_counts.MOST_STRETCHES` and the order of the documents makes no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from pretune.errors import InputDataError, UsageError
from pretune.text.arrays.counted_words import Stretches
from pretune.text.tokenizer.pretokens import count_pretokens
from pretune.text.tokenizer.tokenizer import BOS, CONTINUES, EOS, MASK, PAD, UNK, Tokenizer, TokenizerKind
from pretune.text.tokenizer.word_counts import TextSize

LIBRARY = "tokenizers"  # another library would break ties differently, so a folder records the name
MAX_VOCAB_SIZE = 8192  # if the size is chosen from the text
MIN_PAIR_COUNT = 20  # if the size is chosen from the text: a token must occur often enough to be learned
MIN_WORD_COUNT = 3  # likewise, for whole words
TRAINING_CHARACTERS = 4_000_000  # counts of more text are scaled down; larger vocabularies need more
MOST_ALPHABET = 1000  # distinct characters of WordPiece, as in BERT; words with others are unknown
LONGEST_WORD = 100  # characters; longer words are unknown to WordPiece, as in BERT

_WORD = r"\w+(?:['’\-]\w+)*|[^\w\s]"
# Characters that are words by themselves for WordPiece, as in BERT: nothing continues with them.
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F))
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_STRETCHES_AT_ONCE = 100_000
_MORE_TEXT = 4  # so many times as much text is tried if a vocabulary was too small


@dataclass(frozen=True, kw_only=True)
class Training:
    """A trained tokenizer with figures on its text, the reason for its vocabulary size, and whether training it again
    gives the same bytes."""

    tokenizer: Tokenizer
    counted_characters: int  # of the text, without blanks
    counted_words: int  # distinct stretches between blanks
    least_count: int  # occurrences that a pair of subwords, or a word, needs to become a token
    size_rule: str
    determinism: str

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the tokenizer, as JSON values."""
        return {name: value for name, value in vars(self).items() if name != "tokenizer"}


def train_on_counts(
    counts: Stretches,
    kind: TokenizerKind = "bpe",
    vocab_size: int | None = None,
    lowercase: bool = False,
    size: TextSize | None = None,
) -> Training:
    """Train on the counts of stretches between blanks in clean texts.

    Without `vocab_size`, the vocabulary has at most 8,192 tokens, and fewer if the text does not have enough frequent
    ones. `size` is that of the whole text if rare stretches were left out of the counts. Raises InputDataError if the
    text does not support the size asked for, and UsageError if that size has no room for the characters.
    """
    size = size or TextSize(counts.num_characters, len(counts))
    smallest = float(size.least_count)  # scale: below it, a stretch that stands for others would count several times
    scale = max(smallest, size.num_characters / _characters_for(vocab_size))
    normalizer = normalizers.Lowercase() if lowercase else None
    alphabet = _alphabet(counts.as_dict(), normalizer, vocab_size) if kind == "wordpiece" else []
    _check_room(kind, vocab_size, alphabet)
    while True:
        least_count = _least_count(kind, vocab_size, scale)
        trainer = _trainer(kind, vocab_size or MAX_VOCAB_SIZE, least_count, alphabet)
        backend = _untrained(kind)
        backend.normalizer = normalizer
        _train(backend, counts.scaled(scale).as_dict(), trainer)
        tokenizer = Tokenizer(_finish(backend, lowercase))
        if vocab_size is None or tokenizer.vocab_size >= vocab_size:
            break
        if scale <= smallest:
            raise InputDataError(_describe_shortage(tokenizer.vocab_size, vocab_size, can_use_more=scale <= 1))
        scale = max(smallest, scale / _MORE_TEXT)
    least_in_text = max(1, round(least_count * scale))
    return Training(
        tokenizer=tokenizer,
        counted_characters=size.num_characters,
        counted_words=size.num_stretches,
        least_count=least_in_text,
        size_rule=_size_rule(tokenizer, vocab_size, size, least_in_text),
        determinism=_DETERMINISM[kind],
    )


def _describe_shortage(found: int, asked: int, *, can_use_more: bool) -> str:
    more = "give more text, " if can_use_more else ""
    return (
        f"The text supports a vocabulary of {found:,} tokens, not the {asked:,} asked for; {more}set --vocab-size to "
        f"{found} or less, or leave it out."
    )


_DETERMINISM: dict[TokenizerKind, str] = {
    "bpe": "The same words give the same tokenizer, byte for byte, in any order.",
    "wordpiece": (
        "The library's WordPiece trainer is not deterministic: it numbers the characters inside words in the order of "
        "a hash table that differs from run to run, and breaks ties by these numbers. pretune numbers "
        "them beforehand by code point; with that, the same words have given the same tokenizer, byte for byte, "
        "in every test, but the library does not guarantee it."
    ),
    "words": "The same words give the same tokenizer, byte for byte, in any order.",
}


def _size_rule(tokenizer: Tokenizer, asked: int | None, text: TextSize, least_count: int) -> str:
    """The reason for the vocabulary size: what the text has, what was chosen, and how to choose another size."""
    size, what = tokenizer.vocab_size, "word" if tokenizer.kind == "words" else "pair of subwords"
    if asked is not None:
        return f"{size:,} tokens, as --vocab-size asks."
    seen = f"The text has {text.num_characters:,} characters in {text.num_stretches:,} different words."
    if size >= MAX_VOCAB_SIZE:
        return (
            f"{seen} It would support more than {MAX_VOCAB_SIZE:,} tokens, the largest size chosen by "
            "default: beyond that, a small model is mostly vocabulary. --vocab-size N sets another size."
        )
    return (
        f"{seen} A {what} becomes a token if it occurs at least {least_count:,} times, since a rarer one could not "
        f"be learned: that gives {size:,} tokens. --vocab-size N sets another size."
    )


def _characters_for(vocab_size: int | None) -> float:
    """The characters to train on: a large vocabulary has rare tokens, which must occur at least twice."""
    return TRAINING_CHARACTERS * max(1.0, (vocab_size or 0) / MAX_VOCAB_SIZE)


def _train(backend: tokenizers.Tokenizer, counts: Mapping[str, int], trainer: Any) -> None:
    """Train on every stretch as often as it was counted."""
    if not isinstance(backend.model, models.BPE):
        backend.train_from_iterator(_repeat(counts), trainer)
        return
    # The library would cut every repetition of a stretch again, so each is cut once and it gets the pretokens.
    pretokens = count_pretokens(counts, backend)
    pre_tokenizer, backend.pre_tokenizer = backend.pre_tokenizer, pre_tokenizers.CharDelimiterSplit(" ")
    normalizer, backend.normalizer = backend.normalizer, None
    backend.train_from_iterator(_repeat(pretokens), trainer)
    backend.pre_tokenizer, backend.normalizer = pre_tokenizer, normalizer


def _repeat(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Text in which every word occurs as often as counted, since the library trains on text, not on counts."""
    batch: list[str] = []
    for word in sorted(counts):
        for start in range(0, counts[word], 1000):
            batch.append(" ".join([word] * min(1000, counts[word] - start)))
        if len(batch) >= 1000:
            yield batch
            batch = []
    yield batch


def _untrained(kind: TokenizerKind) -> tokenizers.Tokenizer:
    if kind == "bpe":
        backend = tokenizers.Tokenizer(models.BPE())
        # The first word gets a blank too, so that a word is the same token at any position.
        first_blank = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([first_blank, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    elif kind == "wordpiece":
        model = models.WordPiece(unk_token=UNK, max_input_chars_per_word=LONGEST_WORD)
        backend = tokenizers.Tokenizer(model)
        ideographs = "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _IDEOGRAPHS) + "]"
        alone = pre_tokenizers.Split(tokenizers.Regex(ideographs), behavior="isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), alone])
        backend.decoder = decoders.WordPiece(prefix=CONTINUES, cleanup=False)
    else:
        backend = tokenizers.Tokenizer(models.WordLevel(unk_token=UNK))
        backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True)
    return backend


def _least_count(kind: TokenizerKind, vocab_size: int | None, scale: float) -> int:
    """How often a pair of subwords, or a word, must occur in the scaled text to become a token."""
    if kind == "words":
        return max(1, round(MIN_WORD_COUNT / scale)) if vocab_size is None else 1
    return max(2, round(MIN_PAIR_COUNT / scale)) if vocab_size is None else 2


def _special_tokens(kind: TokenizerKind) -> list[str]:
    return [PAD, BOS, EOS, MASK] if kind == "bpe" else [PAD, BOS, EOS, MASK, UNK]


def _check_room(kind: TokenizerKind, vocab_size: int | None, alphabet: list[str]) -> None:
    """Raise UsageError if a vocabulary is too small for the special tokens and the characters."""
    characters = sum(1 if _is_word(character) else 2 for character in alphabet)
    least = len(_special_tokens(kind)) + {"bpe": 256, "wordpiece": characters, "words": 1}[kind]
    if vocab_size is not None and vocab_size < least:
        what = {"bpe": "the 256 bytes", "wordpiece": f"{len(alphabet):,} characters", "words": "a word"}[kind]
        raise UsageError(
            f"--vocab-size is {vocab_size:,}, too small for the special tokens and {what}; expected at least {least:,}."
        )


def _trainer(kind: TokenizerKind, vocab_size: int, least_count: int, alphabet: list[str]) -> Any:
    special_tokens = _special_tokens(kind)
    if kind == "bpe":
        return trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=least_count,
            special_tokens=special_tokens,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            max_token_length=32,
            show_progress=False,
        )
    if kind == "wordpiece":
        # As special tokens, the characters inside words are numbered first, in this order; see `_DETERMINISM`.
        inside = [CONTINUES + character for character in alphabet if not _is_word(character)]
        return trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=least_count,
            special_tokens=special_tokens + inside,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            continuing_subword_prefix=CONTINUES,
            show_progress=False,
        )
    return trainers.WordLevelTrainer(
        vocab_size=vocab_size, min_frequency=least_count, special_tokens=special_tokens, show_progress=False
    )


def _alphabet(counts: Mapping[str, int], normalizer: Any, vocab_size: int | None) -> list[str]:
    """The most frequent characters of the text, in the order of their code points.

    They are at most a thousand and fill at most half of the vocabulary: each needs a token for the beginning of a word
    and, if words can continue with it, another one for the inside.
    """
    total = np.zeros(0x110000, dtype=np.int64)
    stretches = sorted(counts)
    for start in range(0, len(stretches), _STRETCHES_AT_ONCE):
        some = stretches[start : start + _STRETCHES_AT_ONCE]
        texts = some if normalizer is None else [normalizer.normalize_str(stretch) for stretch in some]
        repeats = np.repeat([counts[stretch] for stretch in some], [len(text) for text in texts])
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
        total += np.bincount(codes, weights=repeats, minlength=len(total)).astype(np.int64)
    codes = np.argsort(-total, kind="stable")[:MOST_ALPHABET]
    frequent = [chr(code) for code in codes[total[codes] > 0].tolist()]
    tokens = np.cumsum([1 if _is_word(character) else 2 for character in frequent])
    return sorted(frequent[: int((tokens <= (vocab_size or MAX_VOCAB_SIZE) // 2).sum())])


def _is_word(character: str) -> bool:
    """Whether a character is a word by itself for WordPiece, so that no word continues with it."""
    code = ord(character)
    return character in _ASCII_PUNCTUATION or any(first <= code <= last for first, last in _IDEOGRAPHS)


def _finish(backend: tokenizers.Tokenizer, lowercase: bool) -> tokenizers.Tokenizer:
    """The trained tokenizer as saved, with everything it needs to be used on its own."""
    backend = _without_inner_characters(backend)
    backend.normalizer = _normalizer(lowercase)
    # The blank before [MASK] belongs to it, so that "in the [MASK]." gives the same subwords as hiding a word.
    backend.add_special_tokens([tokenizers.AddedToken(**_mask_token_fields())])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        pair=f"{BOS} $A {EOS} $B {EOS}",
        special_tokens=[(name, backend.token_to_id(name)) for name in (BOS, EOS)],
    )
    return backend


def _without_inner_characters(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer without the special tokens that `_trainer` made of the characters inside words."""
    if not isinstance(backend.model, models.WordPiece):
        return backend
    plain = json.loads(backend.to_str())
    special = set(_special_tokens("wordpiece"))
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] in special]
    return tokenizers.Tokenizer.from_str(json.dumps(plain))


def _normalizer(lowercase: bool) -> Any:
    """Normalization that clean text already has, so that the tokenizer gives the same ids when used on its own: one
    blank for any white space, none at the end, HTML line breaks as blanks, Unicode NFC."""
    steps = [
        normalizers.NFC(),
        normalizers.Replace(tokenizers.Regex(r"(?:\s|<br\s*/?>)+"), " "),
        normalizers.Replace(tokenizers.Regex(r"\s+$"), ""),
    ]
    return normalizers.Sequence([*steps, normalizers.Lowercase()] if lowercase else steps)


def _mask_token_fields() -> dict[str, Any]:
    return {
        "content": MASK,
        "lstrip": True,
        "rstrip": False,
        "single_word": False,
        "special": True,
        "normalized": False,
    }
