"""A causal base learns to reply; what is frozen stays, and the folder of the result is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.cli.main import run_command_line
from pretune.errors import EXIT_USAGE, InputDataError, ModelError, UsageError
from pretune.model import cost
from pretune.model.adapter_folder import load_adapter_folder
from pretune.model.folder import load_model_folder, read_stop_ids, save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.page.report import write_report
from pretune.reporting.report import run_lines
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.headline import write_headline
from pretune.runtime.atomic import verify_folder
from pretune.runtime.events import LOG_NAME, Event, read_events
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.runtime.stage_folder import open_stage
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning import stage
from pretune.stages.chat_tuning.stage import _ChatTuning, tune_chat
from pretune.terminal import Page, to_text
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.seen_texts import TRAINING, load_seen
from pretune.training.pretraining_run import PretrainingRun

FAST: dict[str, Any] = {"updates": 30, "batch_size": 16, "evaluations": 3, "precision": "fp32"}


def tune(base: Path, prepared: Path, out: Path, **settings: Any) -> Manifest:
    return tune_chat(base, prepared, out, ChatTuningConfig(**{**FAST, **settings}))


def of_kind(out: Path, kind: str) -> list[Event]:
    return [event for event in read_events(out) if event["event"] == kind]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_model_folder(folder).model.state_dict()


@pytest.fixture(scope="module")
def tuned(base_folder: Path, prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stage, with all weights trained."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    tune(base_folder, prepared_folder, out)
    return out


def test_a_base_learns_to_reply(tuned: Path) -> None:
    manifest = read_manifest(tuned, "finetune")
    summary = manifest.summary
    assert summary["task"] == "chat" and summary["measured_on"] == "test"
    assert summary["loss"] < summary["base_loss"] - 1.0
    assert summary["loss_change"] == pytest.approx(summary["loss"] - summary["base_loss"], abs=1e-5)
    low, high = summary["loss_change_interval"]
    assert low < summary["loss_change"] < high < 0
    assert summary["conversations"] == 12 and summary["n"] > 12
    rows = of_kind(tuned, "evaluation")
    assert [row["step"] for row in rows] == [0, 10, 20, 30]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert any("; 16 conversations per update (" in event["sentence"] for event in of_kind(tuned, "notice"))
    [estimate] = of_kind(tuned, "estimate")
    assert estimate["minutes"] > 0 and estimate["memory_bytes"] > 0
    assert not (tuned / "checkpoints").exists()
    assert manifest.status == "finished"


def test_the_result_is_a_causal_model_with_a_template(tuned: Path, base_folder: Path) -> None:
    folder, summary = tuned / "checkpoint", read_manifest(tuned, "finetune").summary
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "<|im_start|>" in json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    size = weights_of(base_folder)["lm_head.weight"].shape[0]
    assert config["vocab_size"] == size + 2  # the two marks
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [size + 1, config["eos_token_id"]]
    card = (folder / "README.md").read_text()
    assert "tokens of 120 conversations (talks.jsonl), which is" in card
    assert "> **This is no medical advice.**" in card and f"{summary['loss']:.3f}" in card
    facts = verify_folder(folder)
    assert facts is not None and facts["notice"] == summary["notice"] == "This is no medical advice."


def test_of_a_base_that_was_made_elsewhere_no_conversation_is_called_new(tuned: Path, prepared_folder: Path) -> None:
    """Only the conversations of this stage were on record, as if the base had learned from no others."""
    seen = load_seen(tuned / "checkpoint", TRAINING)
    assert seen is not None
    [known, *_] = read_chat_lines(prepared_folder, "train").conversations
    assert seen.count_groups_among([[known.question], ["Another?"]]) == 1
    assert seen.count_groups_among([["Another?"]]) is None


def test_all_tokens_that_end_a_text_of_the_base_stay(base_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(base_folder, tmp_path / "base")
    (base / "manifest.json").unlink()
    (base / "generation_config.json").write_text('{"eos_token_id": [9, 7]}')
    tune(base, prepared_folder, tmp_path / "out", updates=20, evaluations=1)
    [eos] = read_stop_ids(base_folder)
    size = weights_of(base)["lm_head.weight"].shape[0]
    assert read_stop_ids(tmp_path / "out" / "checkpoint") == {size + 1, eos, 7, 9}


def test_lora_leaves_the_base_as_it_is_and_saves_an_adapter(
    base_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    manifest = tune(base_folder, prepared_folder, tmp_path / "out", adapter="lora", rank=4)
    assert manifest.summary["loss"] < manifest.summary["base_loss"] - 0.3
    merged = load_model_folder(tmp_path / "out" / "checkpoint").model
    loaded = load_adapter_folder(tmp_path / "out" / "adapter").model
    for name, tensor in merged.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    base, size = weights_of(base_folder), weights_of(base_folder)["lm_head.weight"].shape[0]
    table = merged.state_dict()["transformer.embed_tokens.weight"]
    assert torch.equal(table[:size], base["transformer.embed_tokens.weight"])  # only the two new rows were trained
    difference = (
        merged.state_dict()["transformer.blocks.0.down_proj.weight"] - base["transformer.blocks.0.down_proj.weight"]
    )
    assert torch.linalg.matrix_rank(difference, rtol=1e-3) == 4
    shapes = [(64, 64), (32, 64), (32, 64), (64, 64), (96, 64), (96, 64), (64, 96)]  # q, k, v, o, gate, up, down
    assert manifest.summary["trained_parameters"] == 2 * 4 * sum(map(sum, shapes)) + 2 * 64


@pytest.mark.slow
def test_frozen_layers_stay_as_they_are(base_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    tune(base_folder, prepared_folder, tmp_path / "out", freeze=1)
    before, after = weights_of(base_folder), weights_of(tmp_path / "out" / "checkpoint")
    size = before["lm_head.weight"].shape[0]
    for name, tensor in before.items():
        is_frozen = ".blocks.0." in name or name.endswith(("embed_tokens.weight", "lm_head.weight"))
        assert torch.equal(after[name][:size] if "blocks" not in name else after[name], tensor) == is_frozen


@pytest.mark.slow
def test_from_scratch_nothing_of_the_weights_is_used(
    base_folder: Path, prepared_folder: Path, tmp_path: Path, tokenizer_folder: Path
) -> None:
    base = load_model_folder(base_folder).model
    assert isinstance(base, LanguageModel)
    """Two bases of one shape give the same model."""
    first = tune(base_folder, prepared_folder, tmp_path / "one", from_scratch=True)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.1)
    save_model_folder(tmp_path / "other", base, tokenizer_folder)
    second = tune(tmp_path / "other", prepared_folder, tmp_path / "two", from_scratch=True)
    assert first.summary["loss"] == second.summary["loss"] < first.summary["base_loss"] - 1.0
    [started] = of_kind(tmp_path / "one", "started_from")
    assert "Training starts from random weights" in started["sentence"]


@pytest.mark.slow
def test_the_best_weights_are_kept(base_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    """At a rate at which training fails, those before training."""
    manifest = tune(base_folder, prepared_folder, tmp_path / "out", learning_rate=30.0)
    assert manifest.summary["best_step"] == 0
    assert manifest.summary["loss"] == pytest.approx(manifest.summary["base_loss"])
    [chosen] = of_kind(tmp_path / "out", "chosen")
    assert "those before training" in chosen["sentence"]


def test_a_masked_base_is_refused_with_the_command_that_makes_it_causal(
    prepared_folder: Path, tmp_path: Path, run_folder: Path
) -> None:
    masked = run_folder / "pretrain" / "checkpoint"
    with pytest.raises(ModelError, match=r"pretune pretrain PREPROCESSED --from .* --objective causal"):
        tune(masked, prepared_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_classifier_is_refused(prepared_folder: Path, tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(ModelError, match="is no language model, so it cannot learn to reply"):
        tune(run_folder / "finetune" / "checkpoint", prepared_folder, tmp_path / "out")


def test_conversations_for_another_tokenizer_are_refused(
    base_folder: Path, prepare_talks: Callable[..., Path], tmp_path: Path, train_tokenizer: Callable[..., Any]
) -> None:
    (tmp_path / "tokenizer").mkdir()
    train_tokenizer(["The sun and the film."] * 50, vocab_size=270).save(tmp_path / "tokenizer")
    prepared = prepare_talks(tmp_path / "prepared", base=tmp_path / "tokenizer")
    with pytest.raises(InputDataError, match="was encoded with another tokenizer"):
        tune(base_folder, prepared, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"adapter": "lora", "rank": 33}, "--rank is 33, but k_proj of this model is 32 x 64"),
        ({"freeze": 3}, "--freeze is 3, but the model has 2 layers"),
        ({"updates": 5}, "give --updates 20 or more, or a smaller --batch-size"),
        ({"updates": None, "epochs": 1}, "give --epochs 3 or more, or a smaller --batch-size"),  # 2.7 is not allowed
    ],
)
def test_settings_that_do_not_fit_are_refused_without_a_trace(
    base_folder: Path, prepared_folder: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((UsageError, InputDataError), match=sentence):
        tune(base_folder, prepared_folder, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_test_conversations_those_of_validation_are_measured(
    base_folder: Path, prepare_talks: Callable[..., Path], tmp_path: Path
) -> None:
    prepared = prepare_talks(tmp_path / "prepared", test=0)
    manifest = tune(base_folder, prepared, tmp_path / "out", updates=20)
    assert manifest.summary["measured_on"] == "validation"


def test_a_finished_folder_is_not_trained_again(tuned: Path, base_folder: Path, prepared_folder: Path) -> None:
    assert tune(base_folder, prepared_folder, tuned) == read_manifest(tuned, "finetune")


def test_a_run_goes_on_with_its_optimizer_where_another_one_would_be_chosen(
    base_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not read its checkpoints, took them for damaged, and began again."""
    out, settings = tmp_path / "out", {"from_scratch": True, "updates": 20, "evaluations": 1, "checkpoint_minutes": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(cost, "is_slow", lambda _model, _device: True)  # as of a large model without a GPU
        patch.setattr(_ChatTuning, "_finish", lambda _self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tune(base_folder, prepared_folder, out, **settings)
    manifest = tune(base_folder, prepared_folder, out, **settings)
    assert manifest.summary["optimizer"] == {"kind": "adamw", "matrix_rate": 1e-3, "other_rate": 1e-3}
    log = [json.loads(line) for line in (out / LOG_NAME).read_text().splitlines()]
    assert [event["from_step"] for event in log if event["event"] == "resumed"] == [20]


def test_a_resumed_run_compiles_again_before_its_updates(
    base_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first updates took as long as compiling, and compiled in another order than those of a run from the start."""
    choose, compiled_at = stage.choose_compute_together, list[int]()
    monkeypatch.setattr(
        stage, "choose_compute_together", lambda *given, **named: replace(choose(*given, **named), is_compiled=True)
    )
    monkeypatch.setattr(torch, "compile", lambda function, **_settings: function)
    compile_again = PretrainingRun.compile_again

    def note(run: PretrainingRun) -> None:
        compiled_at.append(run.state.step)
        compile_again(run)

    monkeypatch.setattr(PretrainingRun, "compile_again", note)
    settings = {"updates": 20, "evaluations": 1, "checkpoint_minutes": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(_ChatTuning, "_finish", lambda _self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tune(base_folder, prepared_folder, tmp_path / "out", **settings)
    assert compiled_at == []
    tune(base_folder, prepared_folder, tmp_path / "out", **settings)
    assert compiled_at == [20]


def test_the_displays_of_a_folder_show_the_held_out_replies(tuned: Path, tmp_path: Path) -> None:
    trace, page = build_run_trace(tuned), Page(120, "unicode")
    text = to_text(run_lines(trace, page), page)
    assert "Fine-tuning: learning to reply" in text
    assert "Replies of 12 test conversations" in text
    assert "Kept: the weights of step" in text
    phase = trace.phases.finetune
    assert phase is not None and phase.replies is not None
    assert phase.replies.loss == pytest.approx(read_manifest(tuned, "finetune").summary["loss"], abs=1e-4)
    assert [row.is_best for row in phase.evaluations].count(True) == 1
    assert write_headline(trace.stages, trace.phases, None).sentence.startswith("On held-out replies the loss is")
    on_validation = replace(phase, replies=replace(phase.replies, measured_on="validation"))
    headline = write_headline(trace.stages, replace(trace.phases, finetune=on_validation), None).sentence
    assert headline.startswith("On the validation replies, which also chose the weights, the loss is")
    assert write_report(trace, tmp_path / "report.html") > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "cloze"], "--method is for labelled examples, and"),
        (["--adapter", "lora", "--freeze", "1"], "--adapter lora leaves all weights as they are"),
    ],
)
def test_the_command_refuses_options_of_the_other_kind(
    base_folder: Path,
    prepared_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    out = tmp_path / "out"
    command = ["finetune", str(base_folder), str(prepared_folder), "--out", str(out), *words]
    assert run_command_line(command) == EXIT_USAGE
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_labelled_examples_are_refused_and_leave_nothing(base_folder: Path, tmp_path: Path) -> None:
    open_stage(tmp_path / "prepare", "prepare", config={}, inputs={}).finish()
    with pytest.raises(UsageError, match=r"has labelled examples; expected conversations\. .*pretune\.finetune"):
        tune(base_folder, tmp_path / "prepare", tmp_path / "out")
    assert not (tmp_path / "out").exists()
