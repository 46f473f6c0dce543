"""A model whose training diverged: an evaluation must say so, instead of showing figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretune.model.folder import load_model_folder, save_model_folder


@pytest.fixture(scope="session")
def save_diverged(tokenizer_folder: Path, save_language_model: Callable[[Path, str], Path]) -> Callable[..., Path]:
    """A function that writes a language model of an objective whose weights are not numbers."""

    def save(folder: Path, objective: str) -> Path:
        model = load_model_folder(save_language_model(folder / "sound", objective)).model
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(math.nan)
        save_model_folder(folder / "diverged", model, tokenizer_folder)
        return folder / "diverged"

    return save
