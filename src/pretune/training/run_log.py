"""The log of one training run: step results and evaluations come in, events go out, dated by the run's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.runtime.events import EventLog
from pretune.training.checkpoint import TrainingState
from pretune.training.loop import StepResult
from pretune.training.row_losses import compare_rows

LOG_SECONDS = 2.0  # between two `train` events


class RunLog:
    """Counts steps in a run's state and writes its events. The fields of `trial`, if any, are in every event.

    `start` is on the monotonic clock, as if the run had never been interrupted; `peak_rate` turns the rate of a step,
    a fraction, into the learning rate that is logged.
    """

    def __init__(self, log: EventLog, *, peak_rate: float, start: float | None = None, **trial: int) -> None:
        self.log, self.peak_rate, self.trial = log, peak_rate, trial
        self.start = time.monotonic() if start is None else start
        self._logged_split_count = 1
        self._last_train_event = time.monotonic()

    def write(self, event: str, **fields: Any) -> None:
        self.log.write(event, **self.trial, **fields)

    def elapsed(self) -> float:
        """Seconds since the run began, over all attempts."""
        return time.monotonic() - self.start

    def resume(self, state: TrainingState, split_count: int) -> None:
        """Set the clock to a restored `state`, and split its micro-batches into at least `split_count`."""
        self.start = time.monotonic() - state.elapsed_seconds
        self._logged_split_count = state.microbatch_split.count
        state.microbatch_split.count = max(state.microbatch_split.count, split_count)

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Stop the run's clock within this block."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.start += time.monotonic() - begun

    def start_steps(self) -> None:
        """Count the seconds to the next `train` event from now on."""
        self._last_train_event = time.monotonic()

    def count(self, state: TrainingState, result: StepResult, describe: Callable[[], dict[str, Any]]) -> bool:
        """Add a step to `state` and log it: every refused update, and others every two seconds.

        `describe` gives the fields of a `train` event that only the run knows. Returns whether micro-batches are now
        split further, which should be saved at once.
        """
        is_refused = result.refusal is not None
        state.count(result.loss, result.accuracy, result.num_labels, result.num_tokens, is_refused=is_refused)
        if is_refused:
            self.write("skipped_update", **result.describe_refusal())
        elif time.monotonic() - self._last_train_event >= LOG_SECONDS:
            self._log_step(state, result, describe())
            self._last_train_event = time.monotonic()
        return self.log_split(state)

    def _log_step(self, state: TrainingState, result: StepResult, fields: dict[str, Any]) -> None:
        elapsed = self.elapsed()
        self.write(
            "train",
            step=result.step,
            tokens=state.tokens,
            loss=result.loss,
            accuracy=result.accuracy,
            learning_rate=result.rate * self.peak_rate,
            grad_norm=result.grad_norm,
            tokens_per_second=state.tokens / max(1e-9, elapsed),
            elapsed_seconds=elapsed,
            **fields,
        )

    def log_split(self, state: TrainingState) -> bool:
        """Log the present split of micro-batches if it is new; returns whether it is."""
        split = state.microbatch_split
        if split.count == self._logged_split_count:
            return False
        self._logged_split_count = split.count
        self.write("pieces_doubled", step=state.step, **split.describe())
        return True

    def log_evaluation(
        self,
        state: TrainingState,
        scores: dict[str, Any],
        *,
        epoch: float,
        row_losses: npt.NDArray[np.float64],
        row_corrects: npt.NDArray[np.int64],
        row_counts: npt.NDArray[np.int64],
        weighted_loss: float | None = None,
    ) -> None:
        """Log validation `scores` next to the training loss since the last evaluation; `state` keeps the rows.

        `row_losses` (R,) are summed over the labels of each validation row, `row_corrects` (R,) are its correct
        predictions, `row_counts` (R,) its labels. If the training loss weights the classes, or the labels of two
        objectives, `weighted_loss` is a validation loss with the same weights: the plain one is on another scale.
        """
        loss, accuracy = state.take_means()
        losses = {"train_loss": loss}
        if weighted_loss is not None:
            losses = {"train_loss": None, "weighted_train_loss": loss, "weighted_loss": weighted_loss}
        self.write(
            "evaluation",
            step=state.step,
            epoch=epoch,
            tokens=state.tokens,
            **losses,
            train_accuracy=None if "causal" in scores else accuracy,  # labels of two kinds have no common accuracy
            elapsed_seconds=self.elapsed(),
            **scores,
            **compare_rows(state.more, row_losses, row_corrects, row_counts),
        )


def describe_refusals(state: TrainingState, result: StepResult) -> str:
    """Why the update of `result` was refused, and how many in a row were."""
    assert result.refusal is not None
    sentence, count = result.refusal.sentence, state.guard.refused_in_a_row
    return sentence if count == 1 else f"{sentence} {count} updates in a row were skipped."
