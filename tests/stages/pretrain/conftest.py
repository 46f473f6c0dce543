"""Finished trainings, which several files of tests read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pretune.settings import PretrainConfig
from pretune.stages.pretrain.stage import pretrain


@pytest.fixture(scope="session")
def pretrained(preprocessed_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[PretrainConfig], Path]:
    """A function that pre-trains with some settings, once for all tests that give the same ones; to read only."""

    @cache
    def train(config: PretrainConfig) -> Path:
        folder = tmp_path_factory.mktemp("pretrained") / "pretrain"
        pretrain(preprocessed_folder, folder, config)
        return folder

    return train
