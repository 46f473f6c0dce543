"""Training checkpoints: a model folder plus what only training needs; the newest valid one is where a run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretune.errors import CorruptModelError, ModelError, StageDiffersError
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.runtime.artifacts import MANIFEST_NAME, describe_differences, remove_folder
from pretune.runtime.atomic import remove_leftovers, verify_folder
from pretune.runtime.events import EventLog
from pretune.training.guard import Guard
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.optimizer import Optimizer

STATE_FOLDER = "training_state"
_OPTIMIZER_NAME, _STATE_NAME, _BEST_NAME = "optimizer.safetensors", "state.json", "best.safetensors"


@dataclass(kw_only=True)
class TrainingState:
    """Where a run stands, as JSON values. Order, masks and rate are functions of `step`, so nothing else is needed."""

    step: int = 0
    tokens: int = 0
    elapsed_seconds: float = 0.0
    loss_sum: float = 0.0  # since the last evaluation, over `label_count` labels
    correct_sum: float = 0.0
    label_count: int = 0
    guard: Guard = field(default_factory=Guard)
    microbatch_split: MicrobatchSplit = field(default_factory=MicrobatchSplit)
    anchors: list[int] = field(default_factory=list)  # steps of the last two checkpoints to which the run may go back
    rollbacks: int = 0  # how often it went back since the last of them
    data_shift: int = 0  # by how many steps the data is ahead of `step`, for having gone back
    plan: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)  # what may differ where the run goes on, within rounding
    made_from: dict[str, Any] = field(default_factory=dict)  # what may not
    more: dict[str, Any] = field(default_factory=dict)  # what a stage wants to find again

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TrainingState:
        """The state from the result of `asdict`. Raises TypeError or KeyError if another version wrote it."""
        guard, split = Guard(**fields["guard"]), MicrobatchSplit(**fields["microbatch_split"])
        return cls(**{**fields, "guard": guard, "microbatch_split": split})

    def count(
        self, loss: float, accuracy: float, num_labels: int, num_tokens: int, *, is_refused: bool = False
    ) -> None:
        """Add one update to the sums; the loss of one that was refused would hide all others in their mean."""
        self.step += 1
        self.tokens += num_tokens
        if is_refused:
            return
        self.loss_sum += loss * num_labels
        self.correct_sum += accuracy * num_labels
        self.label_count += num_labels

    def anchor(self) -> None:
        """Let the run go back to this step, if its updates are not being refused just now."""
        if self.guard.refused_in_a_row == 0:
            self.anchors, self.rollbacks = [*self.anchors, self.step][-2:], 0

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


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    state: TrainingState,
    tokenizer_folder: Path,
    label_names: tuple[str, ...] | None = None,
    *,
    keep: Callable[[int], bool] = lambda step: False,
    best: dict[str, Tensor] | None = None,
) -> Path:
    """Commit the checkpoint of `state.step`, then drop older ones: never the last two that are whole, the anchors, or
    what `keep` names. `best` are the weights that a trial would end with, kept beside those that it goes on from.

    Raises OutOfResourcesError where the disk is full; the earlier checkpoints stay.
    """

    def write_state(partial: Path) -> None:
        inside = partial / STATE_FOLDER
        inside.mkdir()
        tensors = {name: tensor.contiguous() for name, tensor in optimizer.state_tensors().items()}
        save_file(tensors, inside / _OPTIMIZER_NAME)
        if best is not None:
            save_file(best, inside / _BEST_NAME)
        (inside / _STATE_NAME).write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")

    target = checkpoint_path(folder, state.step)
    save_model_folder(target, model, tokenizer_folder, label_names, write_more=write_state, step=state.step)  # type: ignore[arg-type]
    num_whole = 1
    for step in reversed([step for step in list_steps(folder) if step < state.step]):
        path = checkpoint_path(folder, step)
        if num_whole < 2:
            num_whole += is_whole(path)  # one that was damaged meanwhile does not count, and the next older one stays
        elif step not in state.anchors and not keep(step):
            remove_folder(path)
    return target


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint is as it was written."""
    try:
        return verify_folder(path) is not None
    except (CorruptModelError, OSError):
        return False


def load_best(folder: Path) -> dict[str, Tensor]:
    """The best weights that the newest checkpoint in a folder keeps.

    Raises CorruptModelError where there is no checkpoint, or where a file of it is not as it was written.
    """
    steps = list_steps(folder)
    if not steps:
        raise CorruptModelError(f"{folder} holds no checkpoint; give the same command again.")
    path = checkpoint_path(folder, steps[-1])
    if verify_folder(path) is None or not (path / STATE_FOLDER / _BEST_NAME).is_file():
        raise CorruptModelError(f"{path} is not whole: a manifest or weights are missing; give the same command again.")
    return load_file(path / STATE_FOLDER / _BEST_NAME)


def list_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, in order, valid or not."""
    names = [path.name for path in folder.glob("step-*") if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())


def resume(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    log: EventLog,
    *,
    was_begun: bool,
    made_from: dict[str, Any],
    **trial: int,
) -> TrainingState | None:
    """`restore_newest`, with what it did in the log: `resumed`, if an earlier attempt `was_begun`, and warnings."""
    damaged: list[str] = []
    state = restore_newest(folder, model, optimizer, report=damaged.append, made_from=made_from)
    if state is not None:
        log.write("resumed", from_step=state.step, checkpoint=checkpoint_path(folder, state.step).name, **trial)
    elif was_begun:
        log.write("resumed", from_step=0, **trial)
    for sentence in damaged:  # after `resumed`, which drops what was logged before it
        log.write("warning", sentence=sentence, **trial)
    return state


def log_compute_change(state: TrainingState, compute: dict[str, Any], log: EventLog, **trial: int) -> None:
    """Say what a run that goes on is computed on otherwise than before, and take it up into its state."""
    before = state.compute or compute  # a training that begins has none yet
    changed = [
        f"{name} {before.get(name)} (now {value})" for name, value in compute.items() if before.get(name) != value
    ]
    if changed:
        sentence = (
            f"This run began with {', '.join(changed)}; it goes on, but the result equals that of an uninterrupted run "
            "only within rounding."
        )
        log.write("warning", sentence=sentence, **trial)
    state.compute = compute


def restore_newest(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    report: Callable[[str], None],
    made_from: dict[str, Any],
    until: int | None = None,
) -> TrainingState | None:
    """Load the newest valid checkpoint, of step `until` at most, into model and optimizer; None where there is none.

    A damaged one is set aside under another name, reported in a sentence, and the next older one is tried. Raises
    StageDiffersError, and loads nothing, where a run saved it that was not `made_from` the same.
    """
    remove_leftovers(folder)
    for step in reversed(list_steps(folder)):
        path = checkpoint_path(folder, step)
        if until is not None and step > until:
            continue
        try:
            return _restore(path, model, optimizer, made_from)
        except (ModelError, OSError) as error:
            report(f"{error} {_put_aside(path)}, and training goes on from an older checkpoint.")
    return None


def _put_aside(path: Path) -> str:
    aside = path.with_name(path.name + ".corrupt")
    try:
        remove_folder(aside)
        path.rename(aside)
    except OSError as error:
        return f"It could not be put aside ({error.strerror})"
    return f"It was put aside as {aside.name}"


def _restore(path: Path, model: nn.Module, optimizer: Optimizer, made_from: dict[str, Any]) -> TrainingState:
    if not (path / MANIFEST_NAME).is_file():
        raise CorruptModelError(f"{path} has no manifest, so nothing says that it is whole.")
    loaded = load_model_folder(path)  # which compares every file with the manifest
    try:
        state = TrainingState.from_dict(json.loads((path / STATE_FOLDER / _STATE_NAME).read_text(encoding="utf-8")))
        tensors = load_file(path / STATE_FOLDER / _OPTIMIZER_NAME)
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise CorruptModelError(f"{path / STATE_FOLDER} does not fit this run ({error}).") from error
    if differing := describe_differences(state.made_from, made_from):
        raise StageDiffersError(
            f"{path} was saved by a run that differs in: {'; '.join(differing)}. Put what it was made from back, "
            "or choose another --out, or give --redo to put the old folder aside and begin again."
        )
    try:
        optimizer.load_state_tensors(tensors)
    except (ValueError, KeyError) as error:
        raise CorruptModelError(f"{path / STATE_FOLDER} does not fit this run ({error}).") from error
    try:
        model.load_state_dict(loaded.model.state_dict())
    except RuntimeError as error:
        raise CorruptModelError(f"{path} holds another model than this run trains.") from error
    return state
