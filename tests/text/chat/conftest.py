"""Tokenizers of each kind with the marks of the chat template, ours and foreign ones, as folders on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from pretune.text.chat.template import template_of
from pretune.text.chat.tokens import save_chat_tokenizer
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

TEXTS = [
    "What is the matter with you, user? I have a cough.",
    "The doctor said: drink water, and rest 12 days.\n\n- sleep\n- tea",
    "system assistant user\nÜber den Wolken, 東京 😀 isn't it?",
] * 30
KINDS = ["bpe", "wordpiece", "words", "byte level", "sentencepiece"]


@pytest.fixture(scope="session")
def foreign_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that writes a foreign tokenizer: `byte level` as in SmolLM2, `sentencepiece` as in Llama 2."""

    def write(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("foreign")
        if kind == "byte level":
            backend, bos = _byte_level(), None
        else:
            backend, bos = _sentencepiece(), "<s>"
        backend.save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | ({"bos_token": bos} if bos else {})))
        return folder

    return write


def _byte_level() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def _sentencepiece() -> tokenizers.Tokenizer:
    """Blanks are ▁, the first word of a text gets one, and unknown characters are bytes."""
    backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
        max_token_length=12,
    )
    backend.train_from_iterator(TEXTS, trainer)
    fields = json.loads(backend.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]  # bytes are ordinary tokens
    backend = tokenizers.Tokenizer.from_str(json.dumps(fields))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return backend


@pytest.fixture(scope="session")
def chat_folder(
    tmp_path_factory: pytest.TempPathFactory,
    foreign_folder: Callable[[str], Path],
    train_tokenizer: Callable[..., Tokenizer],
) -> Callable[[str], Path]:
    """A function that gives the folder of a tokenizer of some kind, with the marks and the template."""
    known: dict[str, Path] = {}

    def write(kind: str) -> Path:
        if kind not in known:
            if kind in ("bpe", "wordpiece", "words"):
                base = tmp_path_factory.mktemp("own")
                train_tokenizer(TEXTS, kind).save(base)
            else:
                base = foreign_folder(kind)
            known[kind] = tmp_path_factory.mktemp("chat")
            save_chat_tokenizer(base, known[kind], template_of(load_tokenizer(base)))
        return known[kind]

    return write


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(kind: str, chat_folder: Callable[[str], Path]) -> Tokenizer:
    return load_tokenizer(chat_folder(kind))
