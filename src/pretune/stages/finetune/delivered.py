"""Which weights are delivered: the mean of those of all seeds (a soup, arXiv:2203.05482), or those of one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pretune.data.labelled_rows import LabelledBatches
from pretune.scoring.uncertainty import sum_by_group
from pretune.tasks.task import Task
from pretune.training.checkpoint import load_best
from pretune.training.few_labels import is_clearly_worse
from pretune.training.finetuning_trial import predict_outputs
from pretune.training.objective import TaskObjective

Trial = dict[str, Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
AVERAGED = "averaged_trials"
STUDENT = "is_student"  # of a trial that learned from sentences of the corpus, too


def average_seeds(
    trials: Sequence[Trial],
    single: Trial,
    folder_of: Callable[[int], Path],
    objective: TaskObjective,
    validation: LabelledBatches,
    groups: IntArray | None,
    task: Task,
    measure: Callable[[FloatArray], dict[str, Any]],
    rank: Callable[[Trial], Any] | None,
) -> Trial:
    """The `single` trial, or with AVERAGED, the same with the scores of the mean of the weights of all trials.

    `measure` turns outputs for the validation rows into scores. If these rows choose, by `rank`, the mean must not be
    below the single trial, measured in the same precision. If they are too few to choose, it is taken unless its loss
    on them is above that of the single trial by more than noise; rows of one of the `groups` (N,) err together.
    """
    device, targets = objective.model.classifier.weight.device.type, validation.targets

    def predict(weights: dict[str, Tensor]) -> FloatArray:
        objective.model.load_state_dict(weights)
        return predict_outputs(objective, validation, device)

    def losses_of(outputs: FloatArray) -> FloatArray:
        return sum_by_group(targets.sum_by_row(task.score_targets(outputs, targets)[0]), groups)[0]

    outputs = predict(average_weights(load_best(folder_of(trial["trial"])) for trial in trials))
    mean = {**single, **measure(outputs), AVERAGED: [trial["trial"] for trial in trials]}
    own = predict(load_best(folder_of(single["trial"])))
    if rank is not None:
        return mean if rank(mean) >= rank({**single, **measure(own)}) else single
    return single if is_clearly_worse(losses_of(outputs), losses_of(own)) else mean


def average_weights(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of several models, which are read one after the other. Raises ValueError if they differ
    in what they have weights for."""
    sums, count = dict[str, Tensor](), 0
    for state in states:
        if sums and state.keys() != sums.keys():
            raise ValueError("the models have different weights")
        sums = {name: sums[name] + tensor if sums else tensor for name, tensor in state.items()}
        count += 1
    return {name: tensor / count for name, tensor in sums.items()}


def delivered_weights(chosen: Trial, folder_of: Callable[[int], Path]) -> dict[str, Tensor]:
    """The weights of the chosen trial, or the mean of the trials that it names."""
    numbers = chosen.get(AVERAGED) or [chosen["trial"]]
    return average_weights(load_best(folder_of(number)) for number in numbers)


def describe_delivered(chosen: Trial, num_seeds: int, num_rows: int | None, score: str, single: str) -> str:
    """A sentence about the weights that are delivered; `num_rows` are the validation rows if they are too few to choose
    an epoch or a seed, and else None. `score` is the validation score of what is delivered, `single` the best seed's,
    or that of the teacher of a student.
    """
    rate = f"learning rate {chosen['learning_rate']:g}"
    if chosen.get(STUDENT):
        return (
            f"Delivered: the student, which also learned from sentences of the corpus (validation {score}; its "
            f"teacher has {single}, both without linear models)."
        )
    if num_rows is None and AVERAGED in chosen:
        return (
            f"Chosen: the mean of the weights of {num_seeds} seeds at {rate} (validation {score}; the best seed alone "
            f"has {single})."
        )
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
