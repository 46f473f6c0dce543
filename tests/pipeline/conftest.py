"""Commands given by several processes at once, or in processes that end at chosen places."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_script(name: str, plan: list[dict[str, Any]], *, seconds: float) -> list[list[tuple[Any, ...]]]:
    """Give the commands of a plan by a script, and return what became of each of their processes."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name))],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[tuple(process) for process in command] for command in json.loads(done.stdout)]


@pytest.fixture(scope="session")
def run_together() -> Callable[[list[dict[str, Any]]], list[list[tuple[int, str]]]]:
    """Give each command of a plan (see together.py), one after the other: exit status and stderr of each process."""
    return partial(run_script, "together.py", seconds=250)


@pytest.fixture(scope="session")
def run_attempts() -> Callable[..., list[list[tuple[int, float, str]]]]:
    """Give each command of a plan (see attempts.py), one after the other: exit status, seconds and stderr of each
    attempt. The plan may take so many `seconds`."""
    return partial(run_script, "attempts.py")


@pytest.fixture(scope="session")
def chat_folders(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> tuple[Path, Path]:
    """A causal model with random weights, 2 layers of 64, and conversations that were prepared for it."""
    import torch

    from pretune.model.config import ModelConfig
    from pretune.model.folder import save_model_folder
    from pretune.model.transformer import LanguageModel
    from pretune.settings import PrepareConfig, SplitConfig
    from pretune.stages.prepare_chat import prepare_chat
    from pretune.text.tokenizer.tokenizer import load_tokenizer

    folder, words = tmp_path_factory.mktemp("chat"), ("sun", "film", "hotel", "soup", "book", "phone")
    config = ModelConfig(
        vocab_size=load_tokenizer(tokenizer_folder).vocab_size,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
        objective="causal",
    )
    model, rng = LanguageModel(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.1, generator=rng)
    save_model_folder(folder / "base", model, tokenizer_folder)
    rows = [
        {"question": f"What of the {one} and the {two}, number {n}?", "answer": f"The {one} was warm, the {two} cold."}
        for n in range(6)
        for one in words
        for two in words
    ]
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare_chat(
        folder / "talks.jsonl",
        folder / "prepared",
        PrepareConfig(),
        base=folder / "base",
        split=SplitConfig(task="chat"),
    )
    return folder / "base", folder / "prepared"
