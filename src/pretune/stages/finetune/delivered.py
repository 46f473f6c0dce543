"""Which weights are delivered: those of the best seed, or, if nothing is chosen on few rows, the mean of all seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pretune.data.labelled_rows import LabelledBatches
from pretune.tasks.task import Task
from pretune.training.checkpoint import load_best
from pretune.training.few_labels import average_weights, is_clearly_worse
from pretune.training.finetuning_trial import predict_outputs
from pretune.training.objective import TaskObjective

Trial = dict[str, Any]
FloatArray = npt.NDArray[np.float64]
AVERAGED = "averaged_trials"


def average_seeds(
    trials: Sequence[Trial],
    folder_of: Callable[[int], Path],
    objective: TaskObjective,
    validation: LabelledBatches,
    task: Task,
    measure: Callable[[FloatArray], dict[str, Any]],
) -> Trial:
    """The trial whose weights are delivered: with AVERAGED, the mean of those of all trials; else the last one.

    The mean is taken unless its loss on the validation rows is above that of the last seed by more than noise.
    `measure` turns outputs for these rows into scores.
    """
    last = trials[-1]
    if len(trials) == 1:
        return last
    device, targets = objective.model.classifier.weight.device.type, validation.targets

    def predict(weights: dict[str, Tensor]) -> FloatArray:
        objective.model.load_state_dict(weights)
        return predict_outputs(objective, validation, device)

    def losses_of(outputs: FloatArray) -> FloatArray:
        return targets.sum_by_row(task.score_targets(outputs, targets)[0])

    outputs = predict(average_weights([load_best(folder_of(trial["trial"])) for trial in trials]))
    own = predict(load_best(folder_of(last["trial"])))
    if is_clearly_worse(losses_of(outputs), losses_of(own)):
        return last
    return {**last, **measure(outputs), AVERAGED: [trial["trial"] for trial in trials]}


def delivered_weights(chosen: Trial, folder_of: Callable[[int], Path]) -> dict[str, Tensor]:
    """The weights of the chosen trial, or the mean of the trials that it names."""
    numbers = chosen.get(AVERAGED) or [chosen["trial"]]
    return average_weights([load_best(folder_of(number)) for number in numbers])


def describe_delivered(chosen: Trial, num_seeds: int, num_rows: int | None, score: str) -> str:
    """A sentence about the weights that are delivered; `num_rows` are the validation rows if they are too few to choose
    an epoch or a seed, and else None."""
    rate = f"learning rate {chosen['learning_rate']:g}"
    if num_rows is None:
        best_of = f", the best of {num_seeds} seeds" if num_seeds > 1 else ""
        return f"Chosen: {rate}, seed {chosen['seed']}{best_of} (validation {score} at epoch {chosen['epoch']:g})."
    too_few = f"{num_rows:,} validation rows are too few to choose an epoch or a seed."
    if AVERAGED in chosen:
        return f"Delivered: the mean of the weights of {num_seeds} seeds at {rate} (validation {score}); {too_few}"
    if num_seeds == 1:
        return f"Delivered: the last weights at {rate} (validation {score}); {too_few}"
    return (
        f"Delivered: the last of {num_seeds} seeds at {rate} (validation {score}), since the mean of their weights is "
        f"worse on validation or not defined; {too_few}"
    )
