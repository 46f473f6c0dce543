"""The model object takes texts from files and from columns of any kind, as `pretune predict` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pretune.api import load_model, load_pretrained_model
from pretune.errors import InputDataError


def test_second_texts_are_refused_by_a_model_of_single_texts(run_folder: Path, tmp_path: Path) -> None:
    """The name of their column was ignored, and the first texts were labelled alone."""
    (tmp_path / "rows.csv").write_text("text,reply\nA film,It was warm\n", encoding="utf-8")
    with pytest.raises(InputDataError, match=r"names 'reply', but the model in .* reads one text a row"):
        load_model(run_folder).predict(tmp_path / "rows.csv", text_pair_column="reply")


def test_how_a_file_was_read_is_logged(run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "A film.\nA d\u00e9j\u00e0 vu of a film, which nobody had asked for.\n".encode()
    (tmp_path / "rows.txt").write_bytes(text * 3 + b"A caf\xe9.\n")
    assert len(load_model(run_folder).predict(tmp_path / "rows.txt")) == 7
    assert "1 byte is invalid in its encoding" in caplog.text


PROMPTS = ["The film was", "Our food was"]


@pytest.mark.parametrize(
    "make",
    [
        iter,
        tuple,
        np.array,
        pd.Series,
        pl.Series,
        pa.array,
        lambda texts: {"prompt": texts},
        lambda texts: pd.DataFrame({"p": texts}),
    ],
)
def test_prompts_come_in_any_kind_of_column(
    save_language_model: Callable[[Path, str], Path], tmp_path: Path, make: Callable[[list[str]], Any]
) -> None:
    """The names of a table's columns were continued, and nothing after a generator."""
    model = load_pretrained_model(save_language_model(tmp_path / "causal", "causal"))
    settings = {"max_tokens": 3, "temperature": 0}
    assert model.generate(make(PROMPTS), **settings) == model.generate(PROMPTS, **settings)


@pytest.mark.parametrize("prompt", [None, 5, {"a": PROMPTS, "b": PROMPTS}, ["A", 5], b"bytes"], ids=str)
def test_what_is_no_prompt_is_refused(run_folder: Path, prompt: object) -> None:
    with pytest.raises(InputDataError, match="expected a"):
        load_pretrained_model(run_folder).generate(prompt)
