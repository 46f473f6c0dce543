"""Training checkpoints: a model folder plus training state. A run resumes from the newest valid one.

If a part of the weights is frozen, as with LoRA, a checkpoint has only the others: the run has the frozen ones already.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretune.errors import CorruptModelError, FolderInTheWayError, ModelError
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.runtime.atomic import commit_folder, remove_folder, remove_leftovers, verify_folder
from pretune.runtime.events import EventLog
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import MANIFEST_NAME, describe_differences
from pretune.text.labels.labelling import Labelling
from pretune.training.guard import Guard
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.optimizer import Optimizer

STATE_FOLDER = "training_state"
_OPTIMIZER_NAME, _STATE_NAME, _BEST_NAME = "optimizer.safetensors", "state.json", "best.safetensors"
_TRAINED_NAME = "trained.safetensors"


@dataclass(kw_only=True)
class TrainingState:
    """The state of a run, as JSON values. Order, masks and rate are functions of `step`, so nothing else is needed."""

    step: int = 0
    tokens: int = 0
    elapsed_seconds: float = 0.0
    loss_sum: float = 0.0  # since the last evaluation, over `label_count` labels
    correct_sum: float = 0.0
    label_count: int = 0
    guard: Guard = field(default_factory=Guard)
    microbatch_split: MicrobatchSplit = field(default_factory=MicrobatchSplit)
    anchors: list[int] = field(default_factory=list)  # steps of the last two checkpoints that the run may roll back to
    rollbacks: int = 0  # since the last anchor
    data_shift: int = 0  # steps by which the data is ahead of `step` after rollbacks
    plan: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(
        default_factory=dict
    )  # may differ when the run is resumed; same result within rounding
    made_from: dict[str, Any] = field(default_factory=dict)  # must not differ
    more: dict[str, Any] = field(default_factory=dict)  # values that a stage needs after a resume

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TrainingState:
        """The state from the result of `asdict`. Raises TypeError or KeyError if another version wrote it."""
        guard, split = Guard(**fields["guard"]), MicrobatchSplit(**fields["microbatch_split"])
        return cls(**{**fields, "guard": guard, "microbatch_split": split})

    def count(
        self, loss: float, accuracy: float, num_labels: int, num_tokens: int, *, is_refused: bool = False
    ) -> None:
        """Add one update to the sums, except the loss of a refused one, which would dominate the mean."""
        self.step += 1
        self.tokens += num_tokens
        if is_refused:
            return
        self.loss_sum += loss * num_labels
        self.correct_sum += accuracy * num_labels
        self.label_count += num_labels

    def anchor(self) -> None:
        """Allow the run to roll back to this step, unless its updates are just being refused."""
        if self.guard.refused_in_a_row == 0:
            self.anchors, self.rollbacks = [*self.anchors, self.step][-2:], 0

    def take_means(self) -> tuple[float | None, float | None]:
        """Loss and accuracy since the last call, and reset the sums; None if nothing was counted."""
        if not self.label_count:
            return None, None
        means = self.loss_sum / self.label_count, self.correct_sum / self.label_count
        self.loss_sum = self.correct_sum = 0.0
        self.label_count = 0
        return means


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model that are trained, by name; a tied one once."""
    return {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    state: TrainingState,
    tokenizer_folder: Path,
    labelling: Labelling | None = None,
    *,
    keep: Callable[[int], bool] = lambda step: False,
    best: dict[str, Tensor] | None = None,
) -> Path:
    """Commit the checkpoint of `state.step`, then delete older ones, but never the anchors, steps for which `keep` is
    true, or what is needed to have two intact ones. `best` are the weights of a trial's best epoch, saved next to the
    current ones.

    Anchors count first, so a checkpoint saved out of turn, as by a signal, goes when the next anchor is saved: an
    interrupted run ends with the checkpoints of an uninterrupted one. Raises OutOfResourcesError if the disk is full;
    the earlier checkpoints stay.
    """

    is_partial = not all(parameter.requires_grad for parameter in model.parameters())

    def write_state(partial: Path) -> None:
        inside = partial / STATE_FOLDER
        inside.mkdir()
        tensors = {name: tensor.contiguous() for name, tensor in optimizer.state_tensors().items()}
        save_file(tensors, inside / _OPTIMIZER_NAME)
        if best is not None:
            save_file(best, inside / _BEST_NAME)
        if is_partial:
            trained = {name: tensor.contiguous() for name, tensor in trained_tensors(model).items()}
            save_file(trained, inside / _TRAINED_NAME)
        (inside / _STATE_NAME).write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")

    target = checkpoint_path(folder, state.step)
    if is_partial:
        commit_folder(target, write_state, step=state.step)
    else:
        save_model_folder(target, model, tokenizer_folder, labelling, write_more=write_state, step=state.step)  # type: ignore[arg-type]
    num_intact = 1
    older = [step for step in list_steps(folder) if step < state.step]
    for step in sorted(older, key=lambda step: (step not in state.anchors, -step)):
        path = checkpoint_path(folder, step)
        if num_intact < 2:
            num_intact += is_intact(path)  # a damaged one does not count, so the next one stays
        elif step not in state.anchors and not keep(step):
            remove_folder(path)
    return target


def is_intact(path: Path) -> bool:
    """Whether no file of a checkpoint has changed since it was written."""
    try:
        return verify_folder(path) is not None
    except (CorruptModelError, OSError):
        return False


def load_best(folder: Path) -> dict[str, Tensor]:
    """The weights of the best epoch from the newest checkpoint in a folder.

    Raises CorruptModelError if there is no checkpoint, or if one of its files was changed.
    """
    steps = list_steps(folder)
    if not steps:
        raise CorruptModelError(f"{folder} has no checkpoint; run the same command again.")
    path = checkpoint_path(folder, steps[-1])
    if verify_folder(path) is None or not (path / STATE_FOLDER / _BEST_NAME).is_file():
        raise CorruptModelError(
            f"{path} is incomplete: its manifest or weights are missing; run the same command again."
        )
    return load_file(path / STATE_FOLDER / _BEST_NAME)


def list_steps(folder: Path) -> list[int]:
    """Steps of all checkpoints in a folder, valid or not, in ascending order."""
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
    """`restore_newest`, logged: as `resumed` if an earlier attempt `was_begun`, and with its warnings."""
    damaged: list[str] = []
    state = restore_newest(folder, model, optimizer, report=damaged.append, made_from=made_from)
    if state is not None:
        log.write("resumed", from_step=state.step, checkpoint=checkpoint_path(folder, state.step).name, **trial)
    elif was_begun:
        log.write("resumed", from_step=0, **trial)
    for sentence in damaged:  # after `resumed`, because readers of the log drop events that precede it
        log.write("warning", sentence=sentence, **trial)
    return state


def log_compute_change(state: TrainingState, compute: dict[str, Any], log: EventLog, **trial: int) -> None:
    """Warn of differences between the recorded hardware or precision and the present one, then record the latter."""
    before = state.compute or compute  # a new run has none yet
    changed = [
        f"{name} {before.get(name)} (now {value})" for name, value in compute.items() if before.get(name) != value
    ]
    if changed:
        sentence = (
            f"This run started with {', '.join(changed)}. It continues, but its result equals that of an uninterrupted "
            "run only within rounding."
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
    """Load the newest valid checkpoint, up to step `until`, into model and optimizer; None if there is none.

    A damaged one is renamed and passed to `report` in a sentence, and the next older one is tried. Raises
    FolderInTheWayError, and loads nothing, if the run that saved it was not `made_from` the same.
    """
    remove_leftovers(folder)
    for step in reversed(list_steps(folder)):
        path = checkpoint_path(folder, step)
        if until is not None and step > until:
            continue
        try:
            return _restore(path, model, optimizer, made_from)
        except (ModelError, OSError) as error:
            report(f"{error} {_rename_damaged(path)}; trying an older one.")
    return None


def _rename_damaged(path: Path) -> str:
    renamed = path.with_name(path.name + ".corrupt")
    try:
        remove_folder(renamed)
        path.rename(renamed)
    except OSError as error:
        return f"The checkpoint could not be renamed ({error.strerror})"
    return f"Renamed the checkpoint to {renamed.name}"


def _restore(path: Path, model: nn.Module, optimizer: Optimizer, made_from: dict[str, Any]) -> TrainingState:
    if not (path / MANIFEST_NAME).is_file():
        raise CorruptModelError(f"{path} has no manifest, so it cannot be verified.")
    weights = _read_weights(path)
    try:
        state = TrainingState.from_dict(parse_json((path / STATE_FOLDER / _STATE_NAME).read_text(encoding="utf-8")))
        tensors = load_file(path / STATE_FOLDER / _OPTIMIZER_NAME)
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise CorruptModelError(f"{path / STATE_FOLDER} does not fit this run ({error}).") from error
    if differing := describe_differences(state.made_from, made_from):
        raise FolderInTheWayError(
            f"{path} was saved by a run that differs in: {'; '.join(differing)}. Restore its inputs or settings, "
            "choose another --out, or move the folder of the stage away to start over."
        )
    try:
        optimizer.load_state_tensors(tensors)
    except (ValueError, KeyError) as error:
        raise CorruptModelError(f"{path / STATE_FOLDER} does not fit this run ({error}).") from error
    try:
        is_partial = (
            weights.keys() == trained_tensors(model).keys()
        )  # for a whole model there may be a tied weight more
        model.load_state_dict(weights, strict=not is_partial)
    except RuntimeError as error:
        raise CorruptModelError(f"{path} contains a different model from the one this run trains.") from error
    return state


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, all or those that are trained, after every file was compared with the manifest."""
    trained = path / STATE_FOLDER / _TRAINED_NAME
    if not trained.is_file():
        return load_model_folder(path).model.state_dict()
    verify_folder(path)
    try:
        return load_file(trained)
    except SafetensorError as error:
        raise CorruptModelError(f"{trained} is damaged ({error}).") from error
