"""A public encoder goes through stages 4 and 5, and its classifier through all that follows."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pretune
from pretune.errors import InterruptedByUserError, ModelError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict
from pretune.model.base_folder import fingerprint_of
from pretune.model.config import ForeignConfig
from pretune.model.folder import load_model_folder
from pretune.run_trace.build import build_run_trace
from pretune.runtime.events import read_events
from pretune.runtime.interruption import StopFlag
from pretune.settings import FinetuneConfig
from pretune.stages.compare import compare
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.tracing.examples import trace_examples
from pretune.training.finetuning_trial import FinetuningTrial
from pretune.training.trial_plan import SMALL_FOREIGN_RATES

SETTINGS: dict[str, Any] = {"epochs": 5, "batch_size": 8, "learning_rates": (5e-3,), "seeds": 1}


@pytest.fixture(scope="module")
def base(public_model: Callable[..., Path]) -> Path:
    return public_model("bert", "ForMaskedLM", initializer_range=0.05)


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepare, finetune, scratch and compare of 160 texts with labels that one word tells apart."""
    folder, draw = tmp_path_factory.mktemp("public"), random.Random(0)
    rows = []
    for number in range(160):
        words = draw.choices("The Film food hotel phone book was and very battery days".split(), k=draw.randint(3, 9))
        words.insert(draw.randrange(len(words)), ("rude", "warm")[number % 2])
        rows.append(json.dumps({"text": " ".join([*words, str(number)]), "label": ("bad", "good")[number % 2]}) + "\n")
    (folder / "labels.jsonl").write_text("".join(rows), encoding="utf-8")
    prepare(folder / "labels.jsonl", folder / "prepare", base=base)
    finetune(base, folder / "prepare", folder / "finetune", FinetuneConfig(**SETTINGS))
    scratch = FinetuneConfig(**{**SETTINGS, "epochs": 1, "from_scratch": True})
    finetune(base, folder / "prepare", folder / "scratch", scratch)
    compare(folder / "finetune", folder / "scratch", folder / "prepare", folder / "compare")
    return folder


def test_the_rows_are_encoded_by_its_own_tokenizer(run: Path) -> None:
    loaded = load_classifier(run)
    assert [loaded.tokenizer.backend.id_to_token(i) for i in loaded.tokenizer.encode("RUDE")][::2] == ["[CLS]", "[SEP]"]
    assert loaded.max_seq_len == 40


def test_an_adapter_that_peft_saved_is_a_base(
    save_language_model: Callable[[Path, str], Path],
    save_adapter: Callable[[Path, Path], Path],
    prepared_folder: Path,
    tmp_path: Path,
) -> None:
    adapter = save_adapter(tmp_path / "adapter", save_language_model(tmp_path / "base", "causal"))
    for name in ("manifest.json", "tokenizer.json", "tokenizer_config.json"):  # which PEFT does not write
        (adapter / name).unlink()
    found = finetune(adapter, prepared_folder, tmp_path / "out", FinetuneConfig(**{**SETTINGS, "epochs": 1}))
    assert found.inputs["pretrained"] == fingerprint_of(adapter)


def test_it_learns(run: Path) -> None:
    [test] = [event for event in read_events(run / "finetune") if event["event"] == "test"]
    assert test["accuracy"] >= 0.9


def test_the_weights_moved_from_those_of_the_base(run: Path, base: Path) -> None:
    name = "transformer.encoder.encoder.layer.0.output.dense.weight"
    before = load_model_folder(base).model.state_dict()[name]
    after, scratch = (
        load_model_folder(run / stage / "checkpoint").model.state_dict()[name] for stage in ("finetune", "scratch")
    )
    near, far = float((after - before).norm()), float((scratch - before).norm())
    assert 0 < near < 0.5 * far  # the control has the same shape and nothing else of the base


def test_its_notices_say_what_transformers_makes_of_it(run: Path) -> None:
    sentences = [event["sentence"] for event in read_events(run / "finetune") if event["event"] == "notice"]
    assert any("loads this folder as BertForTokenClassification" in sentence for sentence in sentences)


def test_predictions_are_those_of_the_stage_and_of_evaluate(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "prepare" / "test.jsonl").read_text().splitlines()]
    written = [
        json.loads(line) for line in (run / "finetune" / "predictions" / "seed-0.jsonl").read_text().splitlines()
    ]
    classifier = load_classifier(run)
    found = classifier.predict_outputs([row["text"] for row in rows])
    assert np.allclose(found, [line["probabilities"] for line in written], atol=1e-4)
    [first] = predict(run, ["the hotel was warm"])
    assert first.label in ("bad", "good")
    (run / "all.jsonl").write_text((run / "labels.jsonl").read_text())
    figures = evaluate(run, run / "all.jsonl")
    assert figures["accuracy"] >= 0.9
    assert figures["seen"]["fine-tuning" if "fine-tuning" in figures["seen"] else "training"] is not None


def test_the_trace_has_read_outs_and_attributions_and_says_what_is_missing(run: Path) -> None:
    predictions, fills = trace_examples(run)
    assert predictions and not fills
    for prediction in predictions:
        assert [readout.layer for readout in prediction.readouts] == [0, 1, 2]
        assert prediction.contributions == []
        assert prediction.contributions_note is not None and "bert encoder" in prediction.contributions_note
        assert prediction.prediction_error < 1e-5
        assert prediction.readouts[-1].logits == pytest.approx(prediction.head.logits)
        assert prediction.reasons is not None and prediction.reasons.is_converged
        assert prediction.attention is not None and prediction.attention.shape[:2] == [2, 4]
        assert prediction.attention.row_sum_error < 1e-5
        assert prediction.readouts[0].probe is not None


def test_the_trace_of_the_run_passes_its_own_checks(run: Path) -> None:
    trace = build_run_trace(run)
    assert trace.predictions is not None
    assert all(check.is_ok for check in trace.checks), [check for check in trace.checks if not check.is_ok]


def test_the_default_rate_for_few_rows_is_that_for_public_encoders(run: Path, base: Path, tmp_path: Path) -> None:
    finetune(base, run / "prepare", tmp_path / "out", FinetuneConfig(epochs=1, seeds=1))
    started = [event for event in read_events(tmp_path / "out") if event["event"] == "trial_started"]
    assert [trial["learning_rate"] for trial in started] == [SMALL_FOREIGN_RATES[0]]


def test_a_stopped_run_resumes_to_the_same_weights(
    run: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = FinetuningTrial._evaluate
    calls = []

    def stop_after_first(self: FinetuningTrial) -> None:
        train(self)
        calls.append(1)
        if len(calls) == 1:
            raise_stop.signal_number = 2

    raise_stop = StopFlag()
    monkeypatch.setattr(FinetuningTrial, "_evaluate", stop_after_first)
    run_trial = FinetuningTrial.run
    monkeypatch.setattr(FinetuningTrial, "run", lambda self, stop: run_trial(self, raise_stop))
    with pytest.raises(InterruptedByUserError):
        finetune(base, run / "prepare", tmp_path / "out", FinetuneConfig(**SETTINGS))
    raise_stop.signal_number = None
    finetune(base, run / "prepare", tmp_path / "out", FinetuneConfig(**SETTINGS))
    assert len(calls) >= 2
    one, other = (
        load_model_folder(folder / "checkpoint").model.state_dict() for folder in (run / "finetune", tmp_path / "out")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_object_trains_saves_and_loads_it(run: Path, base: Path, tmp_path: Path) -> None:
    model = pretune.load_pretrained_model(base)
    assert "pre-trained encoder" in repr(model)
    with pytest.raises(ModelError, match="call train"):
        model.predict(["warm"])
    model.train(run / "labels.jsonl", tmp_path / "out", quiet=True, **SETTINGS)
    before = model.predict(["the film was rude", "the film was warm"])
    saved = model.save(tmp_path / "saved")
    again = pretune.load_model(saved)
    assert [p.probabilities for p in again.predict(["the film was rude", "the film was warm"])] == [
        p.probabilities for p in before
    ]
    assert (saved / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_without_a_mask_token_nothing_is_hidden_and_words_can_still_be_left_out(
    run: Path, public_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(public_model("llama", "ForCausalLM", tie_word_embeddings=True), folder)
    text = (folder / "tokenizer.json").read_text().replace("[MASK]", "[gone]")
    (folder / "tokenizer.json").write_text(text)
    (folder / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    prepare(run / "labels.jsonl", tmp_path / "prepare", base=folder)
    finetune(folder, tmp_path / "prepare", tmp_path / "finetune", FinetuneConfig(**{**SETTINGS, "epochs": 1}))
    classifier = load_classifier(tmp_path / "finetune")
    assert classifier.tokenizer.mask_id == -1
    assert not isinstance(classifier.config, ForeignConfig)
    traced = pretune.load_model(tmp_path / "finetune").trace("the film was rude")
    assert traced.contributions and traced.contributions_note is None
    assert traced.reasons is not None
