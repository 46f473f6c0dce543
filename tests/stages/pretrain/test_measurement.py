"""Bytes of the predicted text, and what an evaluation of each objective says."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.compute.ranks import ALONE
from pretune.data.causal_rows import CausalRows
from pretune.data.packing import build_rows
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.data.special_ids import special_ids
from pretune.inference.generate import TextGenerator
from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest
from pretune.settings import PretrainConfig, Sampling
from pretune.stages.pretrain.measurement import Measurement, Samples, _figures, choose_prompts, count_text_bytes
from pretune.stages.pretrain.stage import pretrain
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.loop import Evaluation
from pretune.training.objective import TokenObjective
from pretune.training.parallel import Parallel

TEXTS = [
    "Das Buch ist großartig, aber der Schluss enttäuscht, und nicht nur er, wie wir fanden.",
    "The sun rises in the east.",
    "A film, warm and funny.",
]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "words"])
@pytest.mark.parametrize("row_tokens", [16, 64])
def test_the_bytes_are_those_of_the_text(train_tokenizer: Callable[..., Tokenizer], kind: str, row_tokens: int) -> None:
    tokenizer = train_tokenizer(TEXTS * 40, kind)
    documents = [tokenizer.encode(text) for text in TEXTS]
    tokens = np.concatenate(documents).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in documents])]).astype(np.int64)
    table = build_rows(offsets, row_tokens, np.zeros(len(tokens), dtype=np.bool_))
    special = special_ids(tokenizer)
    rows = CausalRows(tokens, table, special, rows_per_batch=len(table), seed=0)
    whole = sum(len(text.encode()) for text in TEXTS)
    found = count_text_bytes([rows.batch(0)], tokenizer)
    # A chunk that continues a text has a first token without a label, which is not counted.
    starts = [int(tokens[start]) for start in table.starts if tokens[start] >= special.first_ordinary]
    blanks = 0 if kind == "bpe" else sum(tokenizer.surfaces([token])[0][:1].isalnum() for token in starts)
    assert found == whole - blanks - sum(len(tokenizer.token_bytes[token]) for token in starts)
    assert bool(starts) is (row_tokens == 16)


def test_the_prompts_are_the_sunrise_and_of_other_text_a_beginning() -> None:
    texts = ["Too short.", "one two three four five six seven eight nine ten eleven twelve thirteen", "x " * 20]
    assert choose_prompts(iter(texts), is_synthetic=True) == ["The sun rises in the"]
    assert choose_prompts(iter(texts), is_synthetic=False) == ["The sun rises in the", "one two three four five six"]
    assert choose_prompts(iter(texts[:1]), is_synthetic=False) == ["The sun rises in the"]


def run(source: Path, out: Path, **settings: Any) -> list[dict[str, Any]]:
    usual: dict[str, Any] = {"size": "tiny", "tokens": 2700, "row_tokens": 16, "tokens_per_step": 128, "compile": "off"}
    usual |= {"evaluations": 2, "long_row_tokens": 16, "optimizer": "adamw", "initial_embedding": "random"}
    pretrain(source, out, PretrainConfig(**usual, **settings))
    return [event for event in read_events(out) if event["event"] == "evaluation"]


def test_a_causal_model_is_measured_by_its_next_tokens(preprocessed_folder: Path, tmp_path: Path) -> None:
    rows = run(preprocessed_folder, tmp_path / "out", objective="causal")
    assert [row["step"] for row in rows] == [0, 11, 22]
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    for row in rows:
        assert "sentences" not in row
        assert next(each["prompt"] for each in row["continuations"]) == "The sun rises in the"
        bytes_per_nat = row["bits_per_byte"] * math.log(2) / row["loss"]
        assert bytes_per_nat == pytest.approx(rows[0]["bits_per_byte"] * math.log(2) / rows[0]["loss"])
    summary = read_manifest(tmp_path / "out").summary
    assert (summary["loss"], summary["bits_per_byte"]) == (rows[-1]["loss"], rows[-1]["bits_per_byte"])
    assert summary["model"]["objective"] == "causal"


def test_prompts_are_continued_only_if_they_fit_the_context(
    run_folder: Path, preprocessed_folder: Path, tokenizer_folder: Path
) -> None:
    model = load_model_folder(run_folder / "pretrain" / "checkpoint").model
    assert isinstance(model, LanguageModel)
    tokenizer = load_tokenizer(tokenizer_folder)
    settings = RowSettings(
        row_tokens=16,
        long_row_tokens=16,
        tokens_per_step=128,
        mask_prob=0.2,
        validation_tokens=64,
        seed=0,
        objective="causal",
    )
    corpus = Corpus(preprocessed_folder, settings, special_ids(tokenizer), tokenizer.is_sentence_end)
    objective = TokenObjective(model, torch.float32, compiled=False)
    samples = Samples(prompts=["The sun rises in the", "sun " * model.config.max_seq_len])
    measure = Measurement(model, objective, corpus, tokenizer, samples, Parallel(model, ALONE))
    [found] = measure._of_next_tokens()["continuations"]
    assert found["prompt"] == "The sun rises in the"
    [expected] = TextGenerator(model, tokenizer).generate([found["prompt"]], Sampling(max_tokens=12, temperature=0))
    assert found["text"] == expected.text


def test_the_interval_of_the_accuracy_is_over_rows() -> None:
    """Two kinds of rows, each with many tokens: rows vary more than tokens of one row do."""
    hits, counts = np.array([90, 10] * 10), np.full(20, 100)
    found = Evaluation(
        loss=1.0, accuracy=0.5, count=2000, row_losses=counts * 1.0, row_corrects=hits, row_counts=counts
    )
    low, high = _figures(found)["accuracy_interval"]
    assert low < 0.35 < 0.65 < high


@pytest.mark.slow
def test_a_hybrid_model_is_measured_by_both(preprocessed_folder: Path, tmp_path: Path) -> None:
    rows = run(preprocessed_folder, tmp_path / "out", objective="hybrid", causal_share=0.4)
    for row in rows:
        mean = 0.6 * row["loss"] + 0.4 * row["causal"]["loss"]
        assert row["weighted_loss"] == pytest.approx(mean)
        assert (row["train_loss"], row["train_accuracy"]) == (None, None)
        assert row["sentences"]
        assert row["continuations"]
        assert row["causal"]["n"] > row["n"] > 50
        assert 0 < row["causal"]["loss_error"] < 1
    assert all(0 < row["causal"]["loss_change_error"] < 1 for row in rows[1:])
    assert all(abs(row["weighted_train_loss"] - row["weighted_loss"]) < 1.5 for row in rows[1:])
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["causal"]["loss"] < rows[0]["causal"]["loss"]
