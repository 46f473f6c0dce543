"""A small language model with random weights that continues texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.inference.generate import TextGenerator
from pretune.inference.load import load_generator


@pytest.fixture(scope="session")
def generator(
    tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]
) -> TextGenerator:
    return load_generator(save_language_model(tmp_path_factory.mktemp("causal") / "model", "causal"))
