"""Counts and probes come from the run that a model is part of, once, and only if they fit the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier, load_filler
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.tracing import run_context
from pretune.tracing.run_context import NO_CONTEXT, fill_counts, read_run_context, run_of


@pytest.fixture
def whole_run(run_folder: Path, preprocessed_folder: Path, prepared_folder: Path, tmp_path: Path) -> Path:
    """A copy of the models with a preprocess and a prepare folder of the same tokenizer."""
    for name in ("pretrain", "finetune"):
        shutil.copytree(run_folder / name, tmp_path / name)
    shutil.copytree(preprocessed_folder, tmp_path / "preprocess")
    shutil.copytree(prepared_folder, tmp_path / "prepare")
    return tmp_path


def test_a_model_on_its_own_has_no_context(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder / "finetune" / "checkpoint", tmp_path / "model")
    assert run_of(tmp_path / "model") is None
    assert read_run_context(load_classifier(tmp_path / "model")) == NO_CONTEXT


def test_counts_are_those_of_the_training_text(whole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_context, "_TOKENS_AT_A_TIME", 1000)
    classifier = load_classifier(whole_run)
    counts = read_run_context(classifier).counts
    assert counts is not None
    tokens = TokenShard(whole_run / "preprocess", "train").tokens
    assert counts.sum() == len(tokens)
    assert [counts[i] for i in range(0, 400, 37)] == [np.count_nonzero(tokens == i) for i in range(0, 400, 37)]
    np.testing.assert_array_equal(fill_counts(load_filler(whole_run)), counts)


def test_the_context_of_a_model_is_read_once(whole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = load_classifier(whole_run)
    first = read_run_context(classifier)
    monkeypatch.setattr(run_context, "token_counts", None)
    assert read_run_context(load_classifier(whole_run)) is first


def test_probes_need_the_labels_of_the_model(whole_run: Path) -> None:
    """The rows have two labels and the model three, so the accuracies would not be those of its task."""
    assert read_run_context(load_classifier(whole_run)).probes is None


def test_probes_are_read_for_the_labels_of_the_model(whole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("prepare", "finetune/checkpoint"):
        (whole_run / folder / "labels.json").write_text('{"names": ["negative", "neutral", "positive"]}')
    (whole_run / "finetune" / "checkpoint" / "manifest.json").unlink()
    probes = read_run_context(load_classifier(whole_run)).probes
    assert probes is not None and len(probes) == 3
    # They were fitted for a cloze, on texts that were not cut to its pattern, and not used.
    monkeypatch.setattr(run_context, "_contexts", {})
    monkeypatch.setattr(Classifier, "pattern_encoder", "the encoder of a cloze")
    assert read_run_context(load_classifier(whole_run)).probes is None


def test_counts_of_another_tokenizer_do_not_count(whole_run: Path, train_tokenizer: Callable[..., Tokenizer]) -> None:
    train_tokenizer(["Entirely different words, of course."] * 30).save(whole_run / "preprocess")
    assert read_run_context(load_classifier(whole_run)).counts is None


@pytest.mark.parametrize("damaged", ["preprocess/train.tokens", "prepare/labels.json", "prepare/train.jsonl"])
def test_a_damaged_file_costs_its_own_part_only(whole_run: Path, damaged: str) -> None:
    (whole_run / damaged).write_bytes(b"\x00\x01\x02")
    context = read_run_context(load_classifier(whole_run))
    assert (context.counts is None) == damaged.startswith("preprocess")
    assert context.probes is None
