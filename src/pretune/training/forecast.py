"""What a training will take: its time, memory and disk, predicted from a few trial updates on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from pretune.compute.device import Compute
from pretune.data.prefetch import Batches, feed
from pretune.runtime.memory import peak_memory_bytes
from pretune.training.budget import Pace, median_seconds
from pretune.training.guard import Guard
from pretune.training.loop import train_steps, warm_up
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import Objective
from pretune.training.optimizer import Optimizer
from pretune.training.pretraining_run import CLIP_NORM, TrainingRows
from pretune.training.schedule import Plan

STARTING_SECONDS = 4.0  # to load libraries and data, for each part of a run
_TRIAL_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a training will take, and the plan for its budget."""

    size: str
    parameters: int
    compute: Compute
    plan: Plan
    step_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int
    trained_parameters: int | None = None  # if not all of them are trained
    processes: int = 1  # that share each update; everything but the disk is for one of them

    def describe(self) -> list[str]:
        """The forecast in sentences, with the measurement that it rests on."""
        tokens, minutes = self.plan.steps * self.plan.tokens_per_step, self.seconds / 60
        trained = "" if self.trained_parameters is None else f" ({self.trained_parameters:,} trained)"
        uncompiled = ", uncompiled" if self.compute.is_compiled else ""
        each = f" for each of {self.processes} processes" if self.processes > 1 else ""
        part = ""
        if self.processes > 1:
            part = "They are those of one process, which computes its part of an update and does not wait for others. "
        return [
            f"{self.size}, {self.parameters:,} parameters{trained}, on {self.compute.describe()}: "
            f"{self.plan.steps:,} updates, {tokens:,} tokens.",
            f"Expected: {minutes:.{2 if minutes < 10 else 0}f} minutes, {self.memory_bytes / 1e9:.2f} GB of "
            f"memory{each}, {self.disk_bytes / 1e6:.0f} MB of disk.",
            f"This follows from trial updates on this machine, {self.step_seconds:.2f} s each{uncompiled}; other work "
            f"on the machine makes everything take longer. {part}Nothing was written.",
        ]


def trial_pace(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    corpus: TrainingRows,
    device: str,
    *,
    evaluation_rounds: int,
) -> Pace:
    """Seconds of an update with short and with long rows, and of an evaluation, which has `evaluation_rounds` times as
    many batches as `corpus.first_validation`.

    The trial updates change the model.
    """

    def seconds(rows: Batches) -> float:
        steps = train_steps(
            model,
            objective,
            optimizer,
            feed(rows, device),
            rate=lambda _step: 1.0,
            first_step=1,
            clip_norm=CLIP_NORM,
            guard=Guard(),
            microbatch_split=MicrobatchSplit(),
        )
        return median_seconds(steps, _TRIAL_STEPS)

    short = seconds(corpus.short_batches)
    long = seconds(corpus.long_batches) if corpus.long is not None else short
    first = [batch.to(device) for batch in corpus.first_validation()]
    warm_up(objective, first)
    start = time.monotonic()
    warm_up(objective, first)
    evaluation_seconds = evaluation_rounds * (time.monotonic() - start)
    return Pace(short_step_seconds=short, long_step_seconds=long, evaluation_seconds=evaluation_seconds)


def trial_memory_bytes(device: str) -> int:
    """The peak memory so far; on a GPU, that of the GPU."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else peak_memory_bytes()


def count_checkpoints(plan: Plan, pace: Pace, checkpoint_minutes: float) -> int:
    """Checkpoints at the end of a training: the last two, and the one before the decay, which may be one of these."""
    every = pace.steps_in(checkpoint_minutes)
    last_in_turn = (plan.steps - 1) // every * every
    return len({plan.decay_start_step, max(plan.decay_start_step, last_in_turn), plan.steps})
