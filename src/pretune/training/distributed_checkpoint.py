"""Checkpoints of a model that several processes train. The first process reads and writes them.

The format is that of a single process, so any number of processes can resume from them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pretune.compute.ranks import Ranks
from pretune.runtime.atomic import remove_folder
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import StopFlag
from pretune.text.labels.labelling import Labelling
from pretune.training.checkpoint import (
    TrainingState,
    checkpoint_path,
    list_steps,
    restore_newest,
    resume,
    save_checkpoint,
)
from pretune.training.optimizer import Optimizer
from pretune.training.parallel import Parallel


def save_together(
    parallel: Parallel,
    folder: Path,
    optimizer: Optimizer,
    state: TrainingState,
    tokenizer_folder: Path,
    labelling: Labelling | None = None,
    *,
    keep: Callable[[int], bool] = lambda step: False,
    best: dict[str, Tensor] | None = None,
) -> Path:
    """`save_checkpoint` for all processes, which must call it together; a full disk raises an error in all of them."""
    model = parallel.model
    if parallel.ranks.size == 1:
        return save_checkpoint(folder, model, optimizer, state, tokenizer_folder, labelling, keep=keep, best=best)

    def save() -> str:
        saved = save_checkpoint(folder, model, optimizer, state, tokenizer_folder, labelling, keep=keep, best=best)
        return saved.name

    return folder / parallel.ranks.answer(save, f"saving step {state.step:,}")


def resume_together(
    parallel: Parallel,
    folder: Path,
    optimizer: Optimizer,
    log: EventLog,
    *,
    was_begun: bool,
    made_from: dict[str, Any],
    **trial: int,
) -> TrainingState | None:
    """`resume` for all processes: the first one reads the checkpoint and sends it to the others."""

    def read(model: nn.Module, optimizer: Optimizer) -> TrainingState | None:
        return resume(folder, model, optimizer, log, was_begun=was_begun, made_from=made_from, **trial)

    return _restore_together(parallel, optimizer, read, "reading the checkpoint")


def roll_back_together(
    parallel: Parallel,
    folder: Path,
    optimizer: Optimizer,
    *,
    until: int,
    made_from: dict[str, Any],
    report: Callable[[str], None],
) -> TrainingState | None:
    """`restore_newest` up to step `until` for all processes; the first one deletes the later checkpoints."""

    def read(model: nn.Module, optimizer: Optimizer) -> TrainingState | None:
        state = restore_newest(folder, model, optimizer, report=report, made_from=made_from, until=until)
        if state is not None:
            for step in reversed(list_steps(folder)):
                if step > state.step:
                    remove_folder(checkpoint_path(folder, step))
        return state

    return _restore_together(parallel, optimizer, read, "rolling back to a checkpoint")


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def agree_to_stop(ranks: Ranks, stop: StopFlag, place: str) -> bool:
    """Whether any of the processes has received a signal, so that all stop after the same step.

    A process that has not received one itself is told only of `stop.agreed`: its own first signal, which may come while
    it saves, must not count as a second one.
    """
    if ranks.size == 1:
        return stop.is_set
    number = stop.signal_number or 0
    # One sum per signal: the numbers of SIGINT here and SIGTERM there would add up to another signal's.
    counts = ranks.sum([number == each for each in _SIGNALS], place)
    received = [each for each, count in zip(_SIGNALS, counts, strict=True) if count]
    if received:
        stop.agreed = max(received)
    return bool(received)


def _restore_together(
    parallel: Parallel,
    optimizer: Optimizer,
    read: Callable[[nn.Module, Optimizer], TrainingState | None],
    place: str,
) -> TrainingState | None:
    """Call `read` in the first process, then copy its model and optimizer to every other process."""
    if parallel.ranks.size == 1:
        return read(parallel.model, optimizer)

    def answer() -> dict[str, Any] | None:
        state = read(parallel.model, optimizer)
        return None if state is None else {"state": asdict(state), "num_updates": optimizer.num_updates}

    answered = parallel.ranks.answer(answer, place)
    if answered is None:
        return None
    parallel.spread_tensors(parallel.parameters)
    parallel.spread_tensors(optimizer.state())
    optimizer.num_updates = answered["num_updates"]
    return TrainingState.from_dict(answered["state"])
