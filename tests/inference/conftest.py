"""Small language models with random weights that continue texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretune.inference.generate import TextGenerator
from pretune.model.config import ModelConfig
from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.text.chat.tokens import add_chat_tokens
from pretune.text.tokenizer.tokenizer import load_tokenizer

CONFIG = ModelConfig(
    vocab_size=400,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=96,
    max_seq_len=64,
    objective="causal",
)


def random_model(config: ModelConfig = CONFIG, seed: int = 0) -> LanguageModel:
    """A model whose weights are large enough that attention is far from uniform and every token matters."""
    model, rng = LanguageModel(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=rng)
    return model.eval()


@pytest.fixture(scope="session")
def generator(tokenizer_folder: Path) -> TextGenerator:
    tokenizer = load_tokenizer(tokenizer_folder)
    return TextGenerator(random_model(replace(CONFIG, vocab_size=tokenizer.vocab_size)), tokenizer)


@pytest.fixture(scope="session")
def chatty(tokenizer_folder: Path) -> TextGenerator:
    """One whose vocabulary has the marks of the chat template."""
    tokenizer = add_chat_tokens(load_tokenizer(tokenizer_folder))
    return TextGenerator(random_model(replace(CONFIG, vocab_size=tokenizer.vocab_size)), tokenizer)


@pytest.fixture(scope="session")
def save_language_model(tokenizer_folder: Path) -> Callable[[Path, str], Path]:
    """A function that writes a model folder of an objective: masked, causal or hybrid."""

    def save(folder: Path, objective: str) -> Path:
        vocab_size = load_tokenizer(tokenizer_folder).vocab_size
        config = replace(CONFIG, vocab_size=vocab_size, objective=objective)  # type: ignore[arg-type]
        save_model_folder(folder, random_model(config), tokenizer_folder)
        return folder

    return save
