"""Stage 3 on a small corpus: its files, logs, skips and refusals."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pretune.errors import EXIT_DATA, EXIT_USAGE, FolderInTheWayError, InputDataError, StageDiffersError
from pretune.model.folder import load_model_folder
from pretune.runtime.atomic import write_json
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import Manifest, describe_file, read_manifest, sealed
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.stage import pretrain
from pretune.text.arrays.counted_words import count_in_bytes
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.text.tokenizer.training import train_on_counts
from pretune.training import run_log
from pretune.training.checkpoint import list_steps
from pretune.training.optimizer import Optimizer
from pretune.training.schedule import Plan

SETTINGS: dict[str, Any] = {
    "size": "tiny",
    "tokens": 4200,
    "row_tokens": 16,
    "tokens_per_step": 128,
    "long_row_tokens": 32,
    "evaluations": 4,
    "optimizer": "adamw",
    "compile": "off",
}


def run(source: Path, out: Path, **settings: Any) -> Manifest:
    return pretrain(source, out, PretrainConfig(**{**SETTINGS, **settings}))


@pytest.fixture(scope="module")
def out(pretrained: Callable[[PretrainConfig], Path]) -> Path:
    return pretrained(PretrainConfig(**SETTINGS))


@pytest.fixture(scope="module")
def events(out: Path) -> list[Event]:
    return read_events(out)


def of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def test_the_manifest_says_what_came_out(out: Path) -> None:
    manifest = read_manifest(out, "pretrain")
    summary = manifest.summary
    assert set(manifest.outputs) == {
        f"checkpoint/{name}"
        for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json")
    }
    assert all(describe_file(out / name) == found for name, found in manifest.outputs.items())
    assert summary["steps"] == summary["plan"]["steps"]
    assert summary["tokens"] == pytest.approx(4200, rel=0.05)
    assert summary["example"] == {"text": "The sun rises in the east."}
    assert (summary["model"]["num_layers"], summary["synthetic"]) == (2, False)
    assert summary["compute"]["is_compiled"] is False


def test_the_model_folder_loads_and_is_what_was_evaluated_last(out: Path, events: list[Event]) -> None:
    loaded = load_model_folder(out / "checkpoint")
    assert loaded.config.vocab_size == load_tokenizer(out / "checkpoint").vocab_size
    assert read_manifest(out).summary["loss"] == of_kind(events, "evaluation")[-1]["loss"]
    newest = load_model_folder(out / "checkpoints" / f"step-{list_steps(out / 'checkpoints')[-1]:08d}")
    state = newest.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.model.state_dict().items())


def test_the_plan_is_what_happened(out: Path, events: list[Event]) -> None:
    [plan] = of_kind(events, "plan")
    steps = plan["steps"]
    rows = of_kind(events, "evaluation")
    assert [row["step"] for row in rows] == [0, *(round(i * steps / 4) for i in range(1, 5))]
    assert plan["budget"] == {"tokens": 4200}
    assert plan["tokens_per_step"] * steps == plan["tokens"] == pytest.approx(4200, rel=0.03)
    assert list_steps(out / "checkpoints") == [plan["decay_start_step"], steps]
    assert [event["step"] for event in of_kind(events, "checkpoint")] == [0, plan["decay_start_step"], steps]


def test_evaluation_rows_are_whole(events: list[Event]) -> None:
    rows = of_kind(events, "evaluation")
    assert (rows[0]["train_loss"], rows[0]["train_accuracy"], rows[0]["tokens"], rows[0]["epoch"]) == (None, None, 0, 0)
    for row in rows:
        low, high = row["accuracy_interval"]
        assert low <= row["accuracy"] <= high
        assert row["n"] == rows[0]["n"] > 50
        assert len(row["sentences"]) == len({s["masked_text"] for s in row["sentences"]}) > 2
        assert all(s["masked_text"].count("[MASK]") == 1 for s in row["sentences"])
        assert [s["masked_text"] for s in row["sentences"]] == [s["masked_text"] for s in rows[0]["sentences"]]
    assert all(row["train_loss"] > 0 for row in rows[1:])
    assert all(0 < row["loss_error"] < 1 for row in rows)
    assert "loss_change_error" not in rows[0]
    assert all(0 < row["loss_change_error"] < 1 for row in rows[1:])
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)


def test_it_learns(events: list[Event]) -> None:
    [references] = of_kind(events, "references")
    rows = of_kind(events, "evaluation")
    assert rows[0]["loss"] == pytest.approx(references["uniform_nats"], abs=0.3)
    assert (
        rows[-1]["loss"] < references["unigram_nats"] - 0.3
    )  # a third of the text are sentences that are not in the training text
    assert rows[-1]["accuracy"] > references["most_frequent_share"]


def test_events_come_in_the_order_of_the_stage(events: list[Event]) -> None:
    kinds = [event["event"] for event in events if event["event"] not in ("train", "notice")]
    beginning = ["stage_started", "references", "estimate", "plan", "evaluation", "checkpoint"]
    assert kinds[:6] == beginning
    assert kinds[-3:] == ["example", "flow", "stage_finished"]
    assert all(event["stage"] == "pretrain" for event in events)
    [example] = of_kind(events, "example")
    assert example["masked_text"].replace("[MASK]", example["true_word"]) == example["text"]
    [flow] = of_kind(events, "flow")
    assert flow["shape_in"][0] == {"name": "training documents", "value": 130}


def test_a_finished_stage_is_skipped(out: Path, preprocessed_folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run(preprocessed_folder, out) == read_manifest(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_another_setting_or_input_is_refused(out: Path, preprocessed_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StageDiffersError, match=r"seed \(was 0, now 1\)") as caught:
        run(preprocessed_folder, out, seed=1)
    assert caught.value.exit_code == EXIT_USAGE
    changed = sealed({**vars(read_manifest(preprocessed_folder)), "outputs": {}})
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(StageDiffersError, match="input preprocessed"):
        run(tmp_path, out)
    with pytest.raises(FolderInTheWayError, match="belongs to the preprocess stage"):
        run(preprocessed_folder, preprocessed_folder)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"tokens": 300},
            r"The budget is enough for 2 updates of 1\d\d tokens, but training needs 20; give --tok",
        ),
        ({"tokens": None, "minutes": 0.001}, r"0\.001 minutes are enough for 0 updates"),
    ],
)
def test_too_small_a_budget_is_a_sentence_and_leaves_nothing(
    preprocessed_folder: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputDataError, match=sentence) as caught:
        run(preprocessed_folder, tmp_path / "out", **settings)
    assert caught.value.exit_code == EXIT_DATA
    assert not (tmp_path / "out").exists()


def test_an_unfinished_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        run(tmp_path / "nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_seeds_differ_and_one_seed_does_not(preprocessed_folder: Path, tmp_path: Path) -> None:
    short: dict[str, Any] = {"tokens": 2600, "evaluations": 1, "initial_embedding": "random"}
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(preprocessed_folder, tmp_path / name, **short, seed=seed)
        weights.append((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_model_says_how_long_the_rows_were_that_it_was_trained_on(preprocessed_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"row_tokens": 520, "tokens_per_step": 520, "tokens": 11_000, "evaluations": 1}
    run(preprocessed_folder, tmp_path / "out", **settings, initial_embedding="random")
    assert load_model_folder(tmp_path / "out" / "checkpoint").config.max_seq_len == 520


def time_updates(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
    """Put a run on a clock that only its updates advance: the first one, update 1, by `seconds(1)`, and so on."""
    clock, updates, original = [100.0], [0], Optimizer.step

    def step(self: Optimizer, rate: float) -> None:
        original(self, rate)
        updates[0] += 1
        clock[0] += seconds(updates[0])

    monkeypatch.setattr(Optimizer, "step", step)
    training = ("pretraining_run", "run_log", "budget")
    for module in ("pretune.stages.pretrain.stage", *(f"pretune.training.{name}" for name in training)):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: clock[0]))


def test_minutes_are_kept_and_the_plan_is_corrected_once(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14 updates of calibration take 50 ms each, those of the training 60."""
    time_updates(monkeypatch, lambda update: 0.05 if update <= 14 else 0.06)
    run(preprocessed_folder, tmp_path / "out", tokens=None, minutes=0.13, evaluations=2)
    events = read_events(tmp_path / "out")
    [corrected], [plan] = of_kind(events, "plan_corrected"), of_kind(events, "plan")
    assert plan["steps"] == round((7.8 - 0.7 - 3.0) / 0.05)
    assert corrected["steps_before"] == plan["steps"]
    assert corrected["step"] == corrected["decay_start_step"] == plan["decay_start_step"]
    left = 7.8 - 0.7 - 3.0 - 0.06 * corrected["step"]
    assert corrected["steps"] == corrected["step"] + int(left / 0.06 + 1e-6)
    assert of_kind(events, "evaluation")[-1]["step"] == corrected["steps"]
    summary = read_manifest(tmp_path / "out").summary
    assert summary["steps"] == corrected["steps"]
    moved = Plan(**summary["plan"]).with_steps(corrected["steps"])
    assert corrected["long_start_step"] == moved.long_start_step
    assert of_kind(events, "stage_finished")[0]["seconds"] == pytest.approx(0.7 + 0.06 * corrected["steps"])
    assert of_kind(events, "warning") == []


def test_a_machine_that_became_much_slower_still_ends_with_a_decay(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_updates(monkeypatch, lambda update: 0.05 if update <= 14 else 0.3)
    run(preprocessed_folder, tmp_path / "out", tokens=None, minutes=0.13, evaluations=2)
    events = read_events(tmp_path / "out")
    [corrected], [warning] = of_kind(events, "plan_corrected"), of_kind(events, "warning")
    assert corrected["steps"] - corrected["step"] == math.ceil((corrected["steps_before"] - corrected["step"]) / 4)
    seconds = of_kind(events, "stage_finished")[0]["seconds"]
    assert f"about {(seconds - 7.8) / 60:.1f} minutes longer than the 0.13 that were given" in warning["sentence"]


@pytest.mark.slow
def test_a_corrected_plan_keeps_the_pace_that_was_measured(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time left was 7 % off for seconds after the correction: its pace was that of the few updates since."""
    time_updates(monkeypatch, lambda update: 0.05 if update <= 14 or update % 5 else 0.15)
    monkeypatch.setattr("pretune.training.run_log.LOG_SECONDS", 0.0)
    run(preprocessed_folder, tmp_path / "out", tokens=None, minutes=0.2, evaluations=2)
    events = read_events(tmp_path / "out")
    [corrected], [end] = of_kind(events, "plan_corrected"), of_kind(events, "stage_finished")
    after = [event for event in of_kind(events, "train") if event["step"] > corrected["step"]]
    for event in after:
        assert event["seconds_left"] == pytest.approx(end["seconds"] - event["elapsed_seconds"], rel=0.05, abs=0.2)


def test_a_refused_update_is_logged_and_survived(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step with a non-finite loss is logged, and the run ends with finite weights and a complete log."""
    from pretune.stages.pretrain import stage

    original, calls = stage.TokenObjective.__call__, [0]

    def broken(self: Any, batch: Any) -> Any:
        sums = original(self, batch)
        calls[0] += torch.is_grad_enabled()
        if calls[0] == 30 and torch.is_grad_enabled():
            return replace(sums, loss=sums.loss * math.nan)
        return sums

    monkeypatch.setattr(stage.TokenObjective, "__call__", broken)
    monkeypatch.setattr(run_log, "LOG_SECONDS", 0.0)
    run(preprocessed_folder, tmp_path / "out", tokens=2600)
    events = read_events(tmp_path / "out")
    [skipped] = of_kind(events, "skipped_update")
    assert "was not finite. Skipped this update." in skipped["sentence"]
    assert skipped["step"] not in {event["step"] for event in of_kind(events, "train")}
    assert all(math.isfinite(row["loss"]) for row in of_kind(events, "evaluation"))
    state = load_model_folder(tmp_path / "out" / "checkpoint").model.state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())


class Killed(BaseException):
    pass


def run_until(step: int, source: Path, out: Path, patch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Run the stage and die before the update of a step; the first 14 updates are calibration."""
    updates, original = [0], Optimizer.step

    def update(self: Optimizer, rate: float) -> None:
        updates[0] += 1
        if updates[0] == 14 + step:
            raise Killed
        original(self, rate)

    with patch.context() as context, pytest.raises(Killed):
        context.setattr(Optimizer, "step", update)
        run(source, out, **settings)


def harm_shard(source: Path) -> None:
    [shard] = source.glob("train*.tokens")
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)


def retrain_tokenizer(source: Path) -> None:
    manifest = vars(read_manifest(source))
    counts = count_in_bytes(b"another text altogether, and long enough " * 30)
    train_on_counts(counts, vocab_size=270).tokenizer.save(source)
    outputs = {name: describe_file(source / name) for name in manifest["outputs"]}
    write_json(source / "manifest.json", sealed({**manifest, "outputs": outputs}))


CHANGES: dict[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    r"train.*\.tokens was altered after the preprocess stage wrote it": (harm_shard, {}),
    r"differs in: input preprocessed\. Choose another --out, or add --redo": (retrain_tokenizer, {}),
    r"differs in: size \(was 'tiny', now 'micro'\)": (lambda _: None, {"size": "micro"}),
    r"differs in: tokens_per_step \(was 128, now 256\)": (lambda _: None, {"tokens_per_step": 256}),
}


def test_one_process_of_several_pretrains_alone(
    out: Path, preprocessed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.stages.pretrain.stage.join_ranks", lambda: pytest.fail("it waits for the others"))
    assert pretrain(preprocessed_folder, out, PretrainConfig(**SETTINGS), alone=True) == read_manifest(out)


def test_a_changed_input_stops_a_resume_and_is_named(
    out: Path, preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until(24, preprocessed_folder, tmp_path / "out", monkeypatch)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for number, (sentence, (change, settings)) in enumerate(CHANGES.items()):
        source = shutil.copytree(preprocessed_folder, tmp_path / f"preprocess-{number}")
        change(source)
        with pytest.raises((InputDataError, StageDiffersError), match=sentence):
            run(source, tmp_path / "out", **settings)
        assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    run(preprocessed_folder, tmp_path / "out")  # with unchanged inputs, it resumes to the same end
    weights = "checkpoint/model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (out / weights).read_bytes()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_logged_and_the_one_before_is_used(
    out: Path, preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"checkpoint_minutes": 1e6}  # checkpoints of the plan only
    run_until(32, preprocessed_folder, tmp_path / "out", monkeypatch, **settings)
    steps = list_steps(tmp_path / "out" / "checkpoints")
    assert steps == [0, read_manifest(out).summary["plan"]["decay_start_step"]]
    weights = tmp_path / "out" / "checkpoints" / f"step-{steps[-1]:08d}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    run(preprocessed_folder, tmp_path / "out", **settings)
    events = read_events(tmp_path / "out")
    [warning] = of_kind(events, "warning")
    assert "Renamed the checkpoint" in warning["sentence"]
    assert (tmp_path / "out" / "checkpoint" / "model.safetensors").read_bytes() == (
        out / "checkpoint" / "model.safetensors"
    ).read_bytes()


def test_words_around_rows_are_a_second_loss(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows and their masks are the same, and what is logged is the loss of the masks."""
    monkeypatch.setattr("pretune.data.neighbours.is_frequent", lambda counts: counts < 0)  # few tokens are rare here
    short: dict[str, Any] = {"tokens": 2600, "evaluations": 1}
    for name, weight in (("a", 0.3), ("b", 0.3), ("c", 0.0)):
        run(preprocessed_folder, tmp_path / name, **short, neighbour_weight=weight)
    weights = [(tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    of_first, _, of_other = (
        [event["loss"] for event in read_events(tmp_path / name) if event["event"] == "evaluation"] for name in "abc"
    )
    assert of_first[0] == of_other[0]
    assert of_first[-1] == pytest.approx(of_other[-1], rel=0.1)
    notices = [str(of_kind(read_events(tmp_path / name), "notice")) for name in "abc"]
    assert ["second loss (weight 0.3)" in notice for notice in notices] == [True, True, False]
