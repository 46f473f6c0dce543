"""A small language model with random weights that continues texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretune.inference.generate import TextGenerator
from pretune.inference.load import load_generator
from pretune.model.transformer import LanguageModel
from pretune.text.chat.tokens import add_chat_tokens
from pretune.text.tokenizer.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def generator(
    tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]
) -> TextGenerator:
    return load_generator(save_language_model(tmp_path_factory.mktemp("causal") / "model", "causal"))


@pytest.fixture(scope="session")
def chatty(generator: TextGenerator, tokenizer_folder: Path) -> TextGenerator:
    """One whose vocabulary has the marks of the chat template; its weights make every token matter."""
    tokenizer = add_chat_tokens(load_tokenizer(tokenizer_folder))
    config = replace(generator.model.config, vocab_size=tokenizer.vocab_size)
    model, random = LanguageModel(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=random)
    return TextGenerator(model, tokenizer)
