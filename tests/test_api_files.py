"""The model object takes texts from files and from columns of any kind, as `pretune predict` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pretune
from pretune.api import load_model, load_pretrained_model
from pretune.errors import InputDataError, ModelError, UsageError


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


ROWS = [
    (f"The {thing} {n} was {word}.", word) for n in range(8) for thing in ("film", "meal") for word in ("good", "bad")
]
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


def test_of_a_table_of_prompts_one_column_is_to_be_chosen(run_folder: Path) -> None:
    """It was to be named with text_column=..., which generate refuses."""
    with pytest.raises(InputDataError, match=r"the columns p, q; expected a list of texts, or one of the columns: "):
        load_pretrained_model(run_folder).generate(pd.DataFrame({"p": PROMPTS, "q": PROMPTS}))


def test_settings_may_be_numbers_of_numpy(
    run_folder: Path, save_language_model: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    """They were refused as what they are: "epochs is 3; expected a whole number"."""
    settings = {"epochs": np.int64(1), "seeds": np.int32(1), "learning_rates": np.array([1e-3]), "quiet": True}
    model = load_pretrained_model(run_folder)
    model.train(ROWS, tmp_path / "out", mask_augment=np.float32(0.0), **settings)
    generator = load_pretrained_model(save_language_model(tmp_path / "causal", "causal"))
    assert generator.generate("A", max_tokens=np.int64(2), temperature=np.float64(0)) == generator.generate(
        "A", max_tokens=2, temperature=0
    )


@pytest.mark.parametrize("stream", [None, SimpleNamespace(write=len, flush=int)], ids=["none", "only write and flush"])
def test_training_and_printing_do_without_a_full_stream(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: Any
) -> None:
    """Task queues and programs without a console put such things in the place of stdout and stderr."""
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    model = load_pretrained_model(run_folder)
    history = model.train(ROWS, tmp_path / "out", epochs=1, seeds=1, learning_rates=[1e-3])
    assert "loss" in str(history)
    assert "label" in str(model.predict(["A film."]))


def test_a_model_is_taken_where_its_path_is(run_folder: Path, tmp_path: Path) -> None:
    model = load_model(run_folder)
    (tmp_path / "rows.csv").write_text("text,label\nA film,positive\nA hotel,negative\n", encoding="utf-8")
    assert pretune.predict(model, ["A film"]) == pretune.predict(run_folder, ["A film"])
    assert pretune.evaluate(model, tmp_path / "rows.csv") == pretune.evaluate(run_folder, tmp_path / "rows.csv")
    assert pretune.predict_file(model, tmp_path / "rows.csv", tmp_path / "predicted.csv").rows == 2
    assert pretune.trace(model, "A film").decision == pretune.trace(run_folder, "A film").decision
    assert pretune.fill(model, "A [MASK].") == pretune.fill(run_folder, "A [MASK].")
    with pytest.raises(ModelError, match="has a language model"):
        pretune.predict(load_pretrained_model(run_folder), ["A film"])


def test_a_number_of_threads_is_that_of_one_training(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [4]
    monkeypatch.setattr("pretune.compute.device.num_cores", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: counts[-1])
    monkeypatch.setattr("torch.set_num_threads", counts.append)
    settings = {"epochs": 1, "seeds": 1, "learning_rates": [1e-3], "quiet": True}
    load_pretrained_model(run_folder).train(ROWS, tmp_path / "out", threads=1, **settings)
    assert 1 in counts and counts[-1] == 4


@pytest.mark.parametrize("name", ["text_column", "label_column", "text_pair_column"])
def test_a_column_of_what_is_no_table_is_refused(run_folder: Path, name: str) -> None:
    """It was ignored: a list had no accuracy, whatever label_column was."""
    model = load_model(run_folder)
    with pytest.raises(UsageError, match=f"{name} names a column of a table or file, and the data is neither"):
        model.predict(["A film."], **{name: "x"})
