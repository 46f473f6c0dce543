"""Training checkpoints: a model folder plus what only training needs; the newest valid one is where a run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretune.errors import CorruptModelError, ModelError
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.runtime.artifacts import remove_folder
from pretune.runtime.commit import remove_leftovers, verify_folder
from pretune.runtime.events import EventLog
from pretune.training.optimizer import Optimizer

STATE_FOLDER = "training_state"
_OPTIMIZER_NAME, _STATE_NAME = "optimizer.safetensors", "state.json"


@dataclass(kw_only=True)
class TrainingState:
    """Where a run stands, as JSON values. Order, masks and rate are functions of `step`, so nothing else is needed."""

    step: int = 0
    tokens: int = 0
    elapsed_seconds: float = 0.0
    loss_sum: float = 0.0  # since the last evaluation, over `label_count` labels
    correct_sum: float = 0.0
    label_count: int = 0
    plan: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # what a stage wants to find again

    def count(self, loss: float, accuracy: float, num_labels: int, num_tokens: int) -> None:
        """Add one update to the sums; a loss that is not finite would hide all others in their mean."""
        self.step += 1
        self.tokens += num_tokens
        if not math.isfinite(loss):
            return
        self.loss_sum += loss * num_labels
        self.correct_sum += accuracy * num_labels
        self.label_count += num_labels

    def take_means(self) -> tuple[float | None, float | None]:
        """Loss and accuracy since the last call, and begin anew; None where nothing was counted."""
        if not self.label_count:
            return None, None
        means = self.loss_sum / self.label_count, self.correct_sum / self.label_count
        self.loss_sum = self.correct_sum = 0.0
        self.label_count = 0
        return means


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


@runtime_checkable
class HasState(Protocol):
    """An optimizer, or what was put together from the parts of one."""

    def state_tensors(self) -> dict[str, Tensor]: ...


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: HasState,
    state: TrainingState,
    tokenizer_folder: Path,
    label_names: tuple[str, ...] | None = None,
    *,
    keep: Callable[[int], bool] = lambda step: False,
) -> Path:
    """Commit the checkpoint of `state.step`, then drop older ones except the last two and those that `keep` names.

    Raises OutOfResourcesError where the disk is full; the earlier checkpoints stay.
    """

    def write_state(partial: Path) -> None:
        inside = partial / STATE_FOLDER
        inside.mkdir()
        tensors = {name: tensor.contiguous() for name, tensor in optimizer.state_tensors().items()}
        save_file(tensors, inside / _OPTIMIZER_NAME)
        (inside / _STATE_NAME).write_text(json.dumps(vars(state), indent=2), encoding="utf-8")

    target = checkpoint_path(folder, state.step)
    save_model_folder(target, model, tokenizer_folder, label_names, write_more=write_state, step=state.step)  # type: ignore[arg-type]
    for step in list_steps(folder)[:-2]:
        if not keep(step):
            remove_folder(checkpoint_path(folder, step))
    return target


def list_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, in order, valid or not."""
    names = [path.name for path in folder.glob("step-*") if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())


def go_on(
    folder: Path, model: nn.Module, optimizer: Optimizer, log: EventLog, *, was_begun: bool, **trial: int
) -> TrainingState | None:
    """`restore_newest`, with what it did in the log: `resumed`, if an earlier attempt `was_begun`, and warnings."""
    damaged: list[str] = []
    state = restore_newest(folder, model, optimizer, report=damaged.append)
    if state is not None:
        log.write("resumed", from_step=state.step, checkpoint=checkpoint_path(folder, state.step).name, **trial)
    elif was_begun:
        log.write("resumed", from_step=0, **trial)
    for sentence in damaged:  # after `resumed`, which drops what was logged before it
        log.write("warning", sentence=sentence, **trial)
    return state


def restore_newest(
    folder: Path, model: nn.Module, optimizer: Optimizer, *, report: Callable[[str], None]
) -> TrainingState | None:
    """Load the newest valid checkpoint into model and optimizer; None where there is none.

    A damaged one is set aside under another name, reported in a sentence, and the next older one is tried.
    """
    remove_leftovers(folder)
    for step in reversed(list_steps(folder)):
        path = checkpoint_path(folder, step)
        try:
            return _restore(path, model, optimizer)
        except (ModelError, CorruptModelError) as error:
            aside = path.with_name(path.name + ".corrupt")
            remove_folder(aside)
            path.rename(aside)
            report(f"{error} It was put aside as {aside.name}, and training goes on from an older checkpoint.")
    return None


def _restore(path: Path, model: nn.Module, optimizer: Optimizer) -> TrainingState:
    if verify_folder(path) is None:
        raise CorruptModelError(f"{path} has no manifest, so nothing says that it is whole.")
    loaded = load_model_folder(path)
    try:
        state = TrainingState(**json.loads((path / STATE_FOLDER / _STATE_NAME).read_text(encoding="utf-8")))
        tensors = load_file(path / STATE_FOLDER / _OPTIMIZER_NAME)
        optimizer.load_state_tensors(tensors)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise CorruptModelError(f"{path / STATE_FOLDER} does not fit this run ({error}).") from error
    try:
        model.load_state_dict(loaded.model.state_dict())
    except RuntimeError as error:
        raise CorruptModelError(f"{path} holds another model than this run trains.") from error
    return state
