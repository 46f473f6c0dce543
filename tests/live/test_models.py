"""Both models of a run, loaded at the first text and again when they are replaced."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pretune.errors import ModelNotFoundError, UsageError
from pretune.live.models import ModelsOfRun
from pretune.runtime.manifest import MANIFEST_NAME


def test_texts_are_traced(run_folder: Path) -> None:
    models = ModelsOfRun(run_folder)
    assert models.predict("The hotel was dreadful.").why == "typed"
    assert len(models.fill("The [MASK] rises in the east.").predictions) == 5


def test_a_model_is_loaded_once_and_again_if_it_is_replaced(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    models = ModelsOfRun(tmp_path / "run")
    loaded = []

    def load(folder: Path) -> int:
        loaded.append(folder)
        return len(loaded)

    assert models._load("finetune", load) == models._load("finetune", load) == 1
    manifest = tmp_path / "run" / "finetune" / "checkpoint" / MANIFEST_NAME
    text = manifest.read_text()
    manifest.unlink()
    manifest.write_text(text)
    assert models._load("finetune", load) == 2
    assert models._load("pretrain", load) == 3


def test_a_run_without_a_model_yet_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "collect").mkdir()
    with pytest.raises(ModelNotFoundError, match="no fine-tuned model"):
        ModelsOfRun(tmp_path).predict("A text.")


def test_a_blank_text_is_a_sentence(run_folder: Path) -> None:
    models = ModelsOfRun(run_folder)
    with pytest.raises(UsageError, match="no text to trace"):
        models.predict(" \n")
    with pytest.raises(UsageError, match=r"\[MASK\]"):
        models.fill("No mask.")


def test_watching_needs_no_torch() -> None:
    program = "import sys, pretune.live.child; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
