"""A small causal base and a folder of prepared conversations about sums, which a model learns in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.model.config import ModelConfig
from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.runtime.stage_folder import open_stage
from pretune.text.chat.chat_lines import spans_of
from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.template import encode_all, template_of
from pretune.text.chat.tokens import save_chat_tokenizer
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.tokenizer import load_tokenizer

Prepare = Callable[..., Path]

_WORDS = ("sun", "film", "hotel", "soup", "book", "phone", "waiter", "food")


def talk(number: int) -> Conversation:
    """A question about a word, and a reply that says it again."""
    word, other = _WORDS[number % 8], _WORDS[number // 8 % 8]
    question = f"I like the {word}, and the {other}. What?"
    return Conversation((Message("user", question), Message("assistant", f"The {word} was warm."[: 12 + number % 5])))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A causal model with random weights, 2 layers of 64, and a vocabulary without the marks of a chat."""
    folder = tmp_path_factory.mktemp("base") / "model"
    save_model_folder(folder, random_model(tokenizer_folder, objective="causal"), tokenizer_folder)
    return folder


def random_model(tokenizer_folder: Path, **settings: Any) -> LanguageModel:
    config = ModelConfig(
        vocab_size=load_tokenizer(tokenizer_folder).vocab_size,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
        **settings,
    )
    model, rng = LanguageModel(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.1, generator=rng)
    return model


@pytest.fixture(scope="session")
def prepare_talks(tokenizer_folder: Path) -> Prepare:
    """A function: writes the folder that `prepare --task chat` would, with `train`, `validation` and `test` talks."""

    def prepare(
        folder: Path,
        train: int = 120,
        validation: int = 12,
        test: int = 12,
        base: Path = tokenizer_folder,
        **facts: Any,
    ) -> Path:
        stage = open_stage(folder, "prepare", config={}, inputs={})
        tokenizer = save_chat_tokenizer(base, folder, template_of(load_tokenizer(base)))
        first = 0
        for split, count in (("train", train), ("validation", validation), ("test", test)):
            write_split(folder, split, [talk(number) for number in range(first, first + count)], tokenizer)
            first += count
        stage.finish(task="chat", files=["talks.jsonl"], **facts)
        stage.close()
        return folder

    return prepare


def write_split(folder: Path, split: str, talks: Sequence[Conversation], tokenizer: Any) -> None:
    rows = [row for row in encode_all(talks, tokenizer, 128) if row is not None]
    with ShardWriter(folder, split, tokenizer.vocab_size) as writer:
        for row in rows:
            writer.add(row.ids)
    lines = [
        {"messages": chat.to_json(), "supervised": spans_of(row.is_supervised)}
        for chat, row in zip(talks, rows, strict=True)
    ]
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory, prepare_talks: Prepare) -> Path:
    """Conversations that were prepared for the base, with a notice."""
    return prepare_talks(tmp_path_factory.mktemp("prepared") / "chat", notice="This is no medical advice.")
