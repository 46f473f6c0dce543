"""A run, a stage folder or a checkpoint folder gives a model; anything else gives a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretune.api import load_model, load_pretrained_model
from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import find_model_folder, load_classifier, load_filler, load_scorer
from pretune.inference.model_files import ModelFiles
from pretune.inference.predict import predict, predict_file
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel, SequenceClassifier


@pytest.mark.parametrize("inner", ["", "finetune", "finetune/checkpoint"])
def test_classifier_of_a_run_a_stage_and_a_checkpoint(run_folder: Path, inner: str) -> None:
    classifier = load_classifier(run_folder / inner)
    assert classifier.path == run_folder / "finetune" / "checkpoint"
    assert classifier.label_names == ("negative", "neutral", "positive")


@pytest.mark.parametrize("inner", ["", "pretrain", "pretrain/checkpoint"])
def test_filler_of_a_run_a_stage_and_a_checkpoint(run_folder: Path, inner: str) -> None:
    assert load_filler(str(run_folder / inner)).path == run_folder / "pretrain" / "checkpoint"


def test_predictions_and_evaluations_use_the_device_at_hand(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[object] = []
    move = SequenceClassifier.to
    monkeypatch.setattr(SequenceClassifier, "to", lambda model, device: moves.append(device) or move(model, "cpu"))
    monkeypatch.setattr("pretune.inference.load.device_at_hand", lambda: "cuda")
    load_classifier(run_folder)
    assert moves == []  # a trace needs it on the CPU
    predict(run_folder, ["A film."])
    (tmp_path / "rows.csv").write_text("text,label\nA film.,positive\nA hotel.,negative\n")
    predict_file(run_folder, tmp_path / "rows.csv", tmp_path / "out.csv", text_column="text")
    evaluate(run_folder, tmp_path / "rows.csv")
    ModelFiles.read(run_folder / "finetune" / "checkpoint").classifier.predict(["A film."])
    assert moves == ["cuda"] * 4


@pytest.mark.parametrize("load", [load_classifier, load_filler, load_scorer, load_model, load_pretrained_model])
def test_a_model_keeps_to_the_threads_of_its_container(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[Path], object]
) -> None:
    """Only training did: predictions had as many threads as the machine has cores."""
    chosen = list[int]()
    monkeypatch.setattr("pretune.compute.device.num_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    load(run_folder)
    assert chosen == [2]


def test_wrong_kind_of_model_is_named(run_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has a language model, which fills in words and does.*; fine-tune it first"):
        load_classifier(run_folder / "pretrain")
    with pytest.raises(ModelError, match=r"has a classifier, which does not fill in words"):
        load_filler(run_folder / "finetune")


def test_a_causal_model_is_not_asked_to_fill_and_a_hybrid_one_is(run_folder: Path, tmp_path: Path) -> None:
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    assert isinstance(loaded.model, LanguageModel)
    for objective in ("causal", "hybrid"):
        loaded.model.config = replace(loaded.config, objective=objective)
        save_model_folder(tmp_path / objective, loaded.model, loaded.tokenizer_path)
    with pytest.raises(ModelError, match=r"predict the next token only, so it does not fill .* --objective hybrid"):
        load_filler(tmp_path / "causal")
    assert load_filler(tmp_path / "hybrid").model.config.can_generate
    for objective, does in {"causal": "writes text", "hybrid": "fills in words and writes text"}.items():
        with pytest.raises(ModelError, match=rf"which {does} and does not classify; `pretune chat` or `pretune gen"):
            load_classifier(tmp_path / objective)


def test_absence_is_described(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nothing does not exist; expected a run"):
        find_model_folder(tmp_path / "nothing", "finetune")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelNotFoundError, match="file is a file"):
        find_model_folder(tmp_path / "file", "finetune")
    with pytest.raises(ModelNotFoundError, match="has no model; expected a run, a stage folder"):
        find_model_folder(tmp_path, "finetune")
    (tmp_path / "collect").mkdir()
    (tmp_path / "pretrain").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"its finetune stage is missing \(found: collect, pretrain\)"):
        find_model_folder(tmp_path, "finetune")
    with pytest.raises(ModelNotFoundError, match="its pretrain stage is not finished"):
        find_model_folder(tmp_path, "pretrain")
    with pytest.raises(ModelNotFoundError, match="the collect stage trains no model"):
        find_model_folder(tmp_path / "collect", "pretrain")


def test_tokenizer_of_another_model_is_refused(run_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run_folder / "finetune" / "checkpoint", folder)
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mask_token_id": 9}))
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json belongs to another model"):
        load_classifier(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json is missing"):
        load_classifier(folder)
