"""Stage 5 on a small task: the trials, the choice among them, and one reading of the test rows; skips and refusals."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pretune.errors import (
    EXIT_DATA,
    EXIT_USAGE,
    InputDataError,
    ModelNotFoundError,
    StageDiffersError,
    StoppedError,
    UsageError,
)
from pretune.model.folder import load_model_folder
from pretune.model.transformer import SequenceClassifier
from pretune.runtime.atomic import write_json
from pretune.runtime.events import Event, read_events
from pretune.runtime.interruption import StopFlag
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.manifest import Manifest, describe_file, read_manifest, sealed
from pretune.runtime.stage_folder import open_stage
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.tasks.classification import Classification
from pretune.text.seen_texts import TRAINING, load_seen, save_seen
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.finetuning_trial import FinetuningTrial


@pytest.fixture(scope="module", autouse=True)
def picking() -> Iterator[None]:
    """Few rows are enough to choose by here, and a seed is chosen; test_stage_few_labels.py and test_stage_averaged.py
    have what happens otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.stages.finetune.candidates.average_seeds", lambda trials, single, *_: single)
        patch.setattr("pretune.stages.finetune.prepared_rows.LEAST_PICKING_ROWS", 1)
        yield


SETTINGS: dict[str, Any] = {"epochs": 3, "learning_rates": (1e-3, 4e-3), "seeds": 2, "search_rows": 100}


def run(pretrained: Path, prepared: Path, out: Path, **settings: Any) -> Manifest:
    return finetune(pretrained, prepared, out, FinetuneConfig(**{**SETTINGS, **settings}))


@pytest.fixture(scope="module")
def out(run_folder: Path, prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage") / "finetune"
    run(run_folder / "pretrain", prepared_folder, folder)
    return folder


@pytest.fixture(scope="module")
def events(out: Path) -> list[Event]:
    return read_events(out)


def of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def predictions(out: Path, seed: int) -> list[dict[str, Any]]:
    text = (out / "predictions" / f"seed-{seed}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_manifest_summarizes_the_result(out: Path) -> None:
    manifest = read_manifest(out, "finetune")
    parts = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "labels.json")
    expected = {f"checkpoint/{name}" for name in (*parts, "manifest.json")}
    expected |= {f"predictions/seed-{seed}.jsonl" for seed in (0, 1)} | {"seen-training.npy"}
    assert set(manifest.outputs) == expected
    assert all(describe_file(out / name) == found for name, found in manifest.outputs.items())
    assert sorted(manifest.summary["label_names"]) == ["bad", "good"]
    assert not (out / "checkpoints").exists()


def test_rates_are_tried_and_the_best_is_used_for_every_seed(events: list[Event], out: Path) -> None:
    started, ended = of_kind(events, "trial_started"), of_kind(events, "trial_finished")
    assert [(t["trial"], t["seed"], t["is_search"]) for t in started] == [
        (0, 0, True),
        (1, 0, True),
        (2, 0, False),
        (3, 1, False),
    ]
    searched = read_manifest(out).summary["trials"][:2]
    best = max(searched, key=lambda trial: (trial["accuracy"], -trial["loss"]))
    assert [t["learning_rate"] for t in started[2:]] == [best["learning_rate"]] * 2
    assert [t["trial"] for t in ended] == [0, 1, 2, 3]
    [chosen] = of_kind(events, "chosen")
    assert chosen["trial"] in (2, 3)
    assert f"seed {chosen['seed']}" in chosen["sentence"]


def test_evaluation_rows_are_of_the_validation_split(events: list[Event], prepared_folder: Path) -> None:
    count = len(read_json_lines(prepared_folder / "validation.jsonl"))
    rows = of_kind(events, "evaluation")
    assert all(row["n"] == count for row in rows)
    for trial in of_kind(events, "trial_finished"):
        mine = [row for row in rows if row["trial"] == trial["trial"]]
        whole = mine if trial["trial"] > 1 else mine[:-1]  # a search on few rows ends after its updates
        assert [row["epoch"] for row in whole] == [float(i + 1) for i in range(len(whole))]
        [best] = [row for row in mine if row["epoch"] == trial["best_epoch"]]
        assert best["loss"] == trial["validation_loss"]
        assert best["accuracy"] == max(row["accuracy"] for row in mine)


def test_the_tests_are_those_of_the_written_predictions(events: list[Event], out: Path, prepared_folder: Path) -> None:
    rows = read_json_lines(prepared_folder / "test.jsonl")
    tests = of_kind(events, "test")
    assert sorted(test["seed"] for test in tests) == [0, 1]
    for test in tests:
        found = predictions(out, test["seed"])
        assert [(p["row"], p["label"]) for p in found] == [(row["row"], row["label"]) for row in rows]
        assert np.mean([p["predicted"] == p["label"] for p in found]) == pytest.approx(test["accuracy"])
        assert all(sum(p["probabilities"]) == pytest.approx(1.0) for p in found)
        assert all(p["predicted"] == int(np.argmax(p["probabilities"])) for p in found)


def test_the_kept_model_is_the_chosen_one(events: list[Event], out: Path, prepared_folder: Path) -> None:
    loaded = load_model_folder(out / "checkpoint")
    assert isinstance(loaded.model, SequenceClassifier)
    assert sorted(loaded.label_names or ()) == ["bad", "good"]
    [chosen] = of_kind(events, "chosen")
    tokenizer = load_tokenizer(out / "checkpoint")
    rows = read_json_lines(prepared_folder / "test.jsonl")
    for row, expected in list(zip(rows, predictions(out, chosen["seed"]), strict=True))[:5]:
        ids = torch.tensor([tokenizer.encode(row["text"])])
        with torch.no_grad():
            found = loaded.model(ids, torch.zeros_like(ids))[0].softmax(-1)
        assert found.tolist() == pytest.approx(expected["probabilities"], abs=1e-5)


def test_it_learns(events: list[Event]) -> None:
    [references] = of_kind(events, "references")
    assert references["uniform_nats"] == pytest.approx(np.log(2))
    assert max(row["accuracy"] for row in of_kind(events, "evaluation")) > references["majority_share"] + 0.2


def test_events_come_in_the_order_of_the_stage(events: list[Event]) -> None:
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["stage_started", "references"]
    assert kinds[-2:] == ["flow", "stage_finished"]
    order = ["trial_finished", "chosen", "test", "example", "flow"]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)


def test_a_finished_stage_is_skipped_and_another_setting_refused(
    out: Path, run_folder: Path, prepared_folder: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run(run_folder / "pretrain", prepared_folder, out) == read_manifest(out)
    with pytest.raises(StageDiffersError, match=r"batch_size \(was 32, now 8\)") as caught:
        run(run_folder / "pretrain", prepared_folder, out, batch_size=8)
    assert caught.value.exit_code == EXIT_USAGE
    with pytest.raises(StageDiffersError, match="input pretrained"):
        run(run_folder / "finetune", prepared_folder, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_another_model_in_the_same_shards_is_not_taken_for_the_finished_one(
    run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    """Of a model in several files, only the index was hashed, which knows their names alone."""
    model, short = tmp_path / "model", {"epochs": 1, "learning_rates": (1e-3,), "seeds": 1}
    shutil.copytree(run_folder / "pretrain" / "checkpoint", model)
    (model / "manifest.json").unlink()
    weights, shard = load_file(model / "model.safetensors"), model / "model-00001-of-00001.safetensors"
    (model / "model.safetensors").rename(shard)
    write_json(model / "model.safetensors.index.json", {"weight_map": dict.fromkeys(weights, shard.name)})
    run(model, prepared_folder, tmp_path / "out", **short)
    assert run(model, prepared_folder, tmp_path / "out", **short) == read_manifest(tmp_path / "out")
    save_file({name: tensor + 0.01 for name, tensor in weights.items()}, shard, metadata={"format": "pt"})
    with pytest.raises(StageDiffersError, match="input pretrained"):
        run(model, prepared_folder, tmp_path / "out", **short)


def test_leftovers_of_a_kill_at_the_very_end_are_removed(
    out: Path, run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(out, tmp_path / "finetune")
    (tmp_path / "finetune" / "checkpoints" / "trial-00").mkdir(parents=True)
    run(run_folder / "pretrain", prepared_folder, tmp_path / "finetune")
    assert not (tmp_path / "finetune" / "checkpoints").exists()


def test_the_time_of_earlier_attempts_counts(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clock, run_trial = tmp_path / "out", {"now": 100.0}, FinetuningTrial.run

    def stop_in_the_second_trial(trial: FinetuningTrial, flag: StopFlag) -> Any:
        clock["now"] += 1000.0
        if trial.settings.trial == 1:
            raise StoppedError("Stopped.")
        return run_trial(trial, flag)

    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(FinetuningTrial, "run", stop_in_the_second_trial)
    with pytest.raises(StoppedError):
        run(run_folder / "pretrain", prepared_folder, out, epochs=1, seeds=1)
    monkeypatch.setattr(FinetuningTrial, "run", run_trial)
    clock["now"] = 5.0  # another process, perhaps after a restart of the machine
    run(run_folder / "pretrain", prepared_folder, out, epochs=1, seeds=1)
    events = read_events(out)
    assert [event["seconds"] for kind in ("flow", "stage_finished") for event in of_kind(events, kind)] == [2000.0] * 2


@pytest.mark.slow
@pytest.mark.parametrize("trial", [2, 3])
def test_a_finished_trial_with_damaged_weights_runs_again(
    out: Path, run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: int
) -> None:
    def stop(*_: Any) -> None:
        raise StoppedError("Stopped.")

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr("pretune.stages.finetune.stage._Finetuning._conclude", stop)
        run(run_folder / "pretrain", prepared_folder, tmp_path / "out")
    newest = sorted((tmp_path / "out" / "checkpoints" / f"trial-{trial:02d}").glob("step-*"))[-1]
    weights = newest / "training_state" / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    run(run_folder / "pretrain", prepared_folder, tmp_path / "out")
    for name in ("checkpoint/model.safetensors", "predictions/seed-0.jsonl", "predictions/seed-1.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()
    events = read_events(tmp_path / "out")
    [warning] = of_kind(events, "warning")
    assert str(weights) in warning["sentence"]
    for kind in ("trial_started", "trial_finished", "chosen", "test"):
        assert len(of_kind(events, kind)) == len(of_kind(read_events(out), kind)), kind


def test_altered_rows_are_named(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared_folder, tmp_path / "prepare")
    rows = tmp_path / "prepare" / "train.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b'"label": 0', b'"label": 1', 1))
    with pytest.raises(InputDataError, match=r"train\.jsonl was altered after the prepare stage wrote it") as caught:
        run(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out")
    assert caught.value.exit_code == EXIT_DATA
    assert not (tmp_path / "out").exists()


def test_a_text_is_read_as_far_as_in_training(
    out: Path, run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    assert load_model_folder(out / "checkpoint").config.max_seq_len == 512
    shutil.copytree(prepared_folder, tmp_path / "prepare")
    manifest = json.loads((tmp_path / "prepare" / "manifest.json").read_text(encoding="utf-8"))
    manifest["summary"]["max_seq_len"] = 40
    write_json(tmp_path / "prepare" / "manifest.json", sealed(manifest))
    run(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out", epochs=1, learning_rates=(1e-3,), seeds=1)
    assert load_model_folder(tmp_path / "out" / "checkpoint").config.max_seq_len == 40


def test_from_scratch_uses_no_weights_of_the_model(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"from_scratch": True, "learning_rates": (1e-3,), "seeds": 1, "epochs": 1}
    run(run_folder / "pretrain", prepared_folder, tmp_path / "scratch", **settings)
    assert read_manifest(tmp_path / "scratch").stage == "scratch"
    run(run_folder / "finetune", prepared_folder, tmp_path / "other", **settings)
    one, two = ((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("scratch", "other"))
    assert one == two
    [trial] = of_kind(read_events(tmp_path / "scratch"), "trial_started")
    assert trial["epochs"] == 3  # the control gets three times as many


def test_a_record_of_some_texts_of_the_base_does_not_become_complete(
    run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder / "pretrain", tmp_path / "base")
    save_seen(tmp_path / "base", TRAINING, ["A text of the base."], is_complete=False)
    run(tmp_path / "base", prepared_folder, tmp_path / "out", learning_rates=(1e-3,), seeds=1, epochs=1)
    seen = load_seen(tmp_path / "out", TRAINING)
    assert seen is not None
    assert not seen.is_complete
    assert seen.among(["A text of the base.", "Another text."]).tolist() == [True, False]


def test_rare_classes_have_larger_weights_on_request(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    short: dict[str, Any] = {"learning_rates": (1e-3,), "seeds": 1, "epochs": 1}
    run(run_folder / "pretrain", prepared_folder, tmp_path / "b", **short, class_weights="balanced")
    notices = [event["sentence"] for event in of_kind(read_events(tmp_path / "b"), "notice")]
    assert any("rare classes have larger weights" in sentence for sentence in notices)


def test_weights_that_are_all_alike_are_not_spoken_of(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Classification, "label_weights", lambda _self, _train, targets, _count: np.ones(len(targets), dtype=np.float32)
    )
    short: dict[str, Any] = {"learning_rates": (1e-3,), "seeds": 1, "epochs": 1}
    run(run_folder / "pretrain", prepared_folder, tmp_path / "b", **short, class_weights="balanced")
    notices = [event["sentence"] for event in of_kind(read_events(tmp_path / "b"), "notice")]
    assert not any("rare classes" in sentence for sentence in notices)


def test_class_weights_of_scores_are_refused_and_leave_nothing(
    run_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    """The log said that rows of rare classes have larger weights, and nothing had."""
    rows = [json.dumps({"text": f"A text of number {n}", "label": n / 7}) + "\n" for n in range(100)]
    (tmp_path / "scores.jsonl").write_text("".join(rows), encoding="utf-8")
    prepare(tmp_path / "scores.jsonl", tmp_path / "prepare", base=tokenizer_folder)
    with pytest.raises(UsageError, match="these labels are of the task regression;"):
        run(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out", class_weights="balanced")
    assert not (tmp_path / "out").exists()


def test_class_weights_and_macro_f1_are_one_decision(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    """With two thresholds, a ratio of 4:1 gave class weights while early stopping still used accuracy."""
    short: dict[str, Any] = {"learning_rates": (1e-3,), "seeds": 1, "epochs": 1}
    for metric, is_weighed in (("accuracy", False), ("macro_f1", True)):
        prepared = tmp_path / metric
        shutil.copytree(prepared_folder, prepared)
        manifest = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
        manifest["summary"]["early_stopping_metric"] = metric
        write_json(prepared / "manifest.json", sealed(manifest))
        run(run_folder / "pretrain", prepared, tmp_path / f"out-{metric}", **short)
        notices = [event["sentence"] for event in of_kind(read_events(tmp_path / f"out-{metric}"), "notice")]
        assert any("rare classes have larger weights" in sentence for sentence in notices) == is_weighed


def test_conversations_are_refused_and_leave_nothing(run_folder: Path, tmp_path: Path) -> None:
    """They have no labels.json, which was missed only after the folder had been made."""
    open_stage(tmp_path / "prepare", "prepare", config={}, inputs={}).finish(task="chat")
    with pytest.raises(UsageError, match=r"has conversations; expected labelled examples\. .*pretune\.tune_chat"):
        run(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_different_tokenizer_is_refused_and_leaves_nothing(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, train_tokenizer: Callable[..., Tokenizer]
) -> None:
    shutil.copytree(prepared_folder, tmp_path / "prepare")
    train_tokenizer(["another text altogether, and long enough"] * 30, vocab_size=270).save(tmp_path / "prepare")
    manifest = json.loads((tmp_path / "prepare" / "manifest.json").read_text(encoding="utf-8"))
    write_json(tmp_path / "prepare" / "manifest.json", sealed({**manifest, "outputs": {}}))
    with pytest.raises(InputDataError, match="encoded with a different tokenizer") as caught:
        run(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "out")
    assert str(caught.value).endswith(f"run prepare with --base {run_folder / 'pretrain'}.")
    assert caught.value.exit_code == EXIT_DATA
    model = tmp_path / "model"  # of which the folder above was named
    shutil.copytree(run_folder / "pretrain" / "checkpoint", model)
    with pytest.raises(InputDataError, match="encoded with a different tokenizer") as caught:
        run(model, tmp_path / "prepare", tmp_path / "out")
    assert str(caught.value).endswith(f"run prepare with --base {model}.")
    assert caught.value.exit_code == EXIT_DATA
    assert not (tmp_path / "out").exists()


def test_a_missing_model_is_named(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nothing"):
        run(tmp_path / "nothing", prepared_folder, tmp_path / "out")
    with pytest.raises(InputDataError, match="has no manifest"):
        run(run_folder / "pretrain", run_folder / "pretrain", tmp_path / "out")
