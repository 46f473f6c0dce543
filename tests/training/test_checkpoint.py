"""A run resumes from the newest valid checkpoint; damaged ones are renamed, and old ones deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretune.errors import FolderInTheWayError
from pretune.model.transformer import LanguageModel
from pretune.runtime.events import EventLog
from pretune.runtime.manifest import describe_file, sealed
from pretune.training.checkpoint import (
    TrainingState,
    checkpoint_path,
    list_steps,
    log_compute_change,
    restore_newest,
    save_checkpoint,
)
from pretune.training.optimizer import Optimizer, OptimizerConfig

CONFIG = OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=1e-3, weight_decay=0.01)


class Run:
    """A model that changes by one seeded step at a time, and is saved on request."""

    def __init__(self, model: LanguageModel, folder: Path, tokenizer_folder: Path) -> None:
        self.model, self.folder, self.tokenizer_folder = model, folder, tokenizer_folder
        self.optimizer = Optimizer(model, CONFIG)
        self.state = TrainingState(more={"words": ["ä"]})
        self.sentences: list[str] = []

    def train(self, steps: int) -> None:
        for _ in range(steps):
            rng = torch.Generator().manual_seed(self.state.step)
            for parameter in self.model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=rng)
            self.optimizer.step(1.0)
            self.state.count(1.5, 0.25, 8, 100)

    def save(self, keep: Callable[[int], bool] = lambda step: False) -> Path:
        return save_checkpoint(
            self.folder,
            self.model,
            self.optimizer,
            self.state,
            self.tokenizer_folder,
            keep=keep,
            best={name: tensor.contiguous() for name, tensor in self.weights().items()},
        )

    def restore(self) -> TrainingState | None:
        found = restore_newest(self.folder, self.model, self.optimizer, report=self.sentences.append, made_from={})
        self.state = found or TrainingState()
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}


@pytest.fixture
def make_run(make_language_model: Any, tmp_path: Path, tokenizer_folder: Path) -> Callable[..., Run]:
    return lambda seed=0: Run(make_language_model(seed), tmp_path / "checkpoints", tokenizer_folder)


def test_a_restored_run_continues_as_if_uninterrupted(make_run: Callable[..., Run]) -> None:
    whole, first, second = make_run(), make_run(), make_run(seed=1)
    whole.train(9)
    first.train(5)
    first.save()
    assert second.restore() == first.state
    assert second.state.more == {"words": ["ä"]}
    second.train(4)
    assert second.state == whole.state
    assert all(torch.equal(p, second.weights()[name]) for name, p in whole.weights().items())


def test_a_folder_without_checkpoints_restores_nothing(make_run: Callable[..., Run]) -> None:
    run = make_run()
    before = run.weights()
    assert run.restore() is None
    assert all(torch.equal(p, before[name]) for name, p in run.weights().items())


def test_the_last_two_and_the_one_before_the_decay_are_kept(make_run: Callable[..., Run]) -> None:
    run = make_run()
    for _ in range(6):
        run.train(2)
        run.save(keep=lambda step: step == 4)
    assert list_steps(run.folder) == [4, 10, 12]
    assert sorted(path.name for path in run.folder.iterdir()) == [f"step-{n:08d}" for n in (4, 10, 12)]


def flip(path: Path, place: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "first byte": lambda file: flip(file, 0),
    "middle byte": flip,
    "last byte": lambda file: flip(file, -1),
    "cut in half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "removed": lambda file: file.unlink(),
}
FILES = (
    "manifest.json",
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_state/optimizer.safetensors",
    "training_state/best.safetensors",
    "training_state/state.json",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_with_any_damaged_file_is_renamed_and_the_previous_one_used(
    make_run: Callable[..., Run], damage: str
) -> None:
    run = make_run()
    run.train(2)
    run.save()
    older = run.weights()
    optimizer = {name: tensor.clone() for name, tensor in run.optimizer.state().items()}
    run.train(2)
    newest = run.save()
    assert sorted(str(file.relative_to(newest)) for file in newest.rglob("*") if file.is_file()) == sorted(FILES)
    whole = shutil.copytree(newest, newest.parent.parent / "whole")
    for name in FILES:
        DAMAGES[damage](newest / name)
        resumed = make_run(seed=1)
        state = resumed.restore()
        assert state is not None
        assert state.step == 2, name
        assert all(torch.equal(p, resumed.weights()[key]) for key, p in older.items())
        assert all(torch.equal(tensor, resumed.optimizer.state()[key]) for key, tensor in optimizer.items())
        [sentence] = resumed.sentences
        is_gone = (name, damage) == ("manifest.json", "removed")
        assert (str(newest) if is_gone else str(newest / name)) in sentence
        assert sentence.endswith("Renamed the checkpoint to step-00000004.corrupt; trying an older one.")
        assert sorted(path.name for path in run.folder.iterdir()) == ["step-00000002", "step-00000004.corrupt"]
        shutil.copytree(whole, newest)


def test_the_last_two_intact_checkpoints_stay_whatever_is_damaged(make_run: Callable[..., Run]) -> None:
    """Some of six checkpoints are damaged, each right after its save."""
    for pattern in (0b010100, 0b001011, 0b101110, 0b111111):
        run, good = make_run(), list[int]()
        shutil.rmtree(run.folder, ignore_errors=True)
        for number in range(6):
            run.train(1)
            path = run.save()
            good.append(run.state.step)
            assert set(good[-2:]) <= set(list_steps(run.folder)), f"{pattern:06b}"
            if pattern >> number & 1:
                os.truncate(path / "model.safetensors", 9)
                good.pop()
        state = make_run(seed=1).restore()
        assert (state.step if state else None) == (good[-1] if good else None)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_checkpoint_out_of_turn_stays_only_as_long_as_it_is_needed(
    make_run: Callable[..., Run], is_damaged: bool
) -> None:
    run = make_run()
    for is_anchor in (True, False, True):
        run.train(1)
        if is_anchor:
            run.state.anchor()
        path = run.save()
        if is_damaged and run.state.step == 1:
            os.truncate(path / "model.safetensors", 9)
    assert list_steps(run.folder) == ([1, 2, 3] if is_damaged else [1, 3])


def test_different_inputs_stop_the_resume_and_change_nothing(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.state.made_from = {"tokenizer": "aa", "vocab_size": 300, "tokens_per_step": 4096}
    run.train(1)
    run.save()
    resumed = make_run(seed=1)
    before = resumed.weights()
    now = {"tokenizer": "bb", "vocab_size": 300, "tokens_per_step": 2048}
    with pytest.raises(FolderInTheWayError, match=r"was saved by a run that differs in: .*move the folder") as caught:
        restore_newest(run.folder, resumed.model, resumed.optimizer, report=resumed.sentences.append, made_from=now)
    assert "tokenizer (was 'aa', now 'bb')" in str(caught.value)
    assert "tokens_per_step (was 4096, now 2048)" in str(caught.value)
    assert "vocab_size" not in str(caught.value)
    assert all(torch.equal(p, resumed.weights()[name]) for name, p in before.items())
    assert (list_steps(run.folder), resumed.sentences) == ([1], [])


def test_if_all_are_damaged_training_starts_over_from_unchanged_weights(make_run: Callable[..., Run]) -> None:
    run = make_run()
    for _ in range(2):
        run.train(2)
        flip(run.save() / "model.safetensors")
    resumed = make_run(seed=1)
    before = resumed.weights()
    assert resumed.restore() is None
    assert len(resumed.sentences) == 2
    assert all(torch.equal(p, before[name]) for name, p in resumed.weights().items())
    assert resumed.optimizer.num_updates == 0


def test_a_state_of_another_version_is_skipped(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.train(2)
    path = run.save()
    state = path / "training_state" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text(encoding="utf-8")), "unknown": 1}), encoding="utf-8")
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["training_state/state.json"] = describe_file(state)
    (path / "manifest.json").write_text(json.dumps(sealed(manifest)), encoding="utf-8")
    resumed = make_run()
    assert resumed.restore() is None
    assert "training_state does not fit this run" in resumed.sentences[0]
    assert resumed.optimizer.num_updates == 0


def test_another_model_is_refused_before_anything_is_loaded(
    make_run: Callable[..., Run], make_language_model: Any
) -> None:
    run = make_run()
    run.train(1)
    run.save()
    other = LanguageModel(replace(make_language_model().config, intermediate_size=64))
    optimizer, sentences = Optimizer(other, CONFIG), list[str]()
    before = {name: p.clone() for name, p in other.named_parameters()}
    assert restore_newest(run.folder, other, optimizer, report=sentences.append, made_from={}) is None
    assert all(torch.equal(p, before[name]) for name, p in other.named_parameters())
    [sentence] = sentences
    assert "training_state does not fit this run" in sentence
    assert "belongs to another model or optimizer" in sentence


def test_leftovers_of_a_killed_save_are_removed(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.train(2)
    run.save()
    partial = run.folder / ".step-00000004.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    (run.folder / "step-notes").mkdir()
    assert run.restore() is not None
    assert not partial.exists()
    assert run.sentences == []
    assert checkpoint_path(run.folder, 2).is_dir()


def test_a_change_of_machine_is_logged_once_and_a_missing_record_is_not_a_change(tmp_path: Path) -> None:
    log, state = EventLog(tmp_path, "finetune"), TrainingState(compute={"threads": 1, "chip": "A"})
    log_compute_change(state, {"threads": 2, "chip": "A"}, log, trial=3)
    log_compute_change(state, {"threads": 2, "chip": "A"}, log, trial=3)
    log_compute_change(TrainingState(), {"threads": 2, "chip": "A"}, log, trial=3)
    [event] = [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]
    assert event["sentence"].startswith("This run started with threads 1 (now 2). It continues")
    assert (event["event"], event["trial"], state.compute) == ("warning", 3, {"threads": 2, "chip": "A"})


def freeze_embedding(run: Run) -> Run:
    run.model.transformer.embed_tokens.weight.requires_grad_(False)
    run.optimizer = Optimizer(run.model, CONFIG)
    return run


def test_a_checkpoint_of_a_partly_frozen_model_has_the_other_weights_only(make_run: Callable[..., Run]) -> None:
    whole, first, second = (freeze_embedding(make_run()) for _ in range(3))
    whole.train(9)
    first.train(5)
    path = first.save()
    assert not (path / "model.safetensors").exists()
    assert "transformer.embed_tokens.weight" not in load_file(path / "training_state" / "trained.safetensors")
    second.train(2)
    assert second.restore() == first.state
    second.train(4)
    assert all(torch.equal(whole.weights()[name], tensor) for name, tensor in second.weights().items())


def test_a_partly_frozen_checkpoint_does_not_fit_a_model_with_other_frozen_weights(
    make_run: Callable[..., Run],
) -> None:
    first, second = freeze_embedding(make_run()), make_run()
    first.train(1)
    first.save()
    assert second.restore() is None
    [sentence] = second.sentences
    assert "belongs to another model or optimizer" in sentence


def test_altered_weights_of_a_partly_frozen_model_are_not_used(make_run: Callable[..., Run]) -> None:
    run = freeze_embedding(make_run())
    run.train(1)
    run.save()
    run.train(1)
    file = run.save() / "training_state" / "trained.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    found = run.restore()
    assert found is not None and found.step == 1
    assert "trained.safetensors was altered" in run.sentences[0]
