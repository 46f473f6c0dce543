"""Checkpoints of a model that several processes train: the first one reads and writes them, whole, in the one format.

So they move between one process, DDP and FSDP2, and any number of processes may go on from them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretune.runtime.events import EventLog
from pretune.training.checkpoint import TrainingState, go_on, save_checkpoint
from pretune.training.optimizer import Optimizer
from pretune.training.parallel import Parallel


class WholeState:
    """The state of an optimizer that was put together from its parts."""

    def __init__(self, tensors: dict[str, Tensor], num_updates: int) -> None:
        self._tensors = {**tensors, "num_updates": torch.tensor(num_updates)}

    def state_tensors(self) -> dict[str, Tensor]:
        return self._tensors


def save_together(
    parallel: Parallel,
    folder: Path,
    optimizer: Optimizer,
    state: TrainingState,
    tokenizer_folder: Path,
    *,
    keep: Callable[[int], bool],
) -> Path:
    """`save_checkpoint` for all processes, which must call it together; a full disk is an error of all of them."""
    model = parallel.gather()
    if parallel.mode == "none":
        return save_checkpoint(folder, model, optimizer, state, tokenizer_folder, keep=keep)
    whole = WholeState(parallel.gather_tensors(optimizer.state()), optimizer.num_updates)

    def save() -> str:
        return save_checkpoint(folder, model, whole, state, tokenizer_folder, keep=keep).name

    return folder / parallel.ranks.answer(save, f"saving step {state.step:,}")


def go_on_together(
    parallel: Parallel, folder: Path, optimizer: Optimizer, log: EventLog, *, was_begun: bool
) -> TrainingState | None:
    """`go_on` for all processes: the first one reads, and gives the others their parts."""
    if parallel.mode == "none":
        return go_on(folder, parallel.model, optimizer, log, was_begun=was_begun)
    model = parallel.whole_model()
    whole = Optimizer(model, optimizer.config)

    def read() -> dict[str, Any] | None:
        state = go_on(folder, model, whole, log, was_begun=was_begun)
        return None if state is None else {"state": vars(state), "num_updates": whole.num_updates}

    told = parallel.ranks.answer(read, "reading the checkpoint")
    if told is None:
        return None
    parallel.spread_tensors(dict(model.named_parameters()), parallel.parameters)
    parallel.spread_tensors(whole.state(), optimizer.state())
    optimizer.num_updates = told["num_updates"]
    return TrainingState(**told["state"])
