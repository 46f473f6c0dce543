"""The course of one pre-training: update after update along a plan, with its log, evaluations and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.data.batch import Batch
from pretune.data.prefetch import feed
from pretune.data.pretraining_data import Corpus
from pretune.errors import DivergedError
from pretune.model.transformer import LanguageModel
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import StopFlag
from pretune.training.budget import CALIBRATION_STEPS, Pace, median_seconds, replan, seconds_left
from pretune.training.checkpoint import TrainingState
from pretune.training.distributed_checkpoint import agree_to_stop, go_back_together, save_together
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, evaluate, train_steps
from pretune.training.objective import Objective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import Parallel
from pretune.training.row_losses import compare_rows
from pretune.training.schedule import Plan

CLIP_NORM = 1.0
LOG_SECONDS = 2.0  # between two `train` events

Rows = Callable[[int], list[Batch]]
Evaluation = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CourseSettings:
    """How often a run is evaluated and saved; `minutes` is its budget, where that was given in wall time."""

    evaluations: int
    checkpoint_minutes: float
    minutes: float | None
    device: str


class Course:
    """Trains `model` in place. The caller gives it a `plan`, or the `state` of a checkpoint, before `train`.

    `measure` evaluates the model and gives the fields of an `evaluation` event that are not known here, and the losses
    and labels of each row; the state's `more` keeps the last ones.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        optimizer_config: OptimizerConfig,
        corpus: Corpus,
        settings: CourseSettings,
        *,
        parallel: Parallel,
        folder: Path,
        tokenizer_folder: Path,
        log: EventLog,
        measure: Callable[[], Evaluation],
        start: float,
    ) -> None:
        self.model, self.objective, self.optimizer_config = model, objective, optimizer_config
        self.parallel, self.ranks = parallel, parallel.ranks
        self.corpus, self.settings, self.measure = corpus, settings, measure
        self.folder, self.tokenizer_folder, self.log = folder, tokenizer_folder, log
        self.told_pieces, self.last_log = 1, time.monotonic()
        self.timed_from = (0, 0.0)  # step and seconds from which on the present pace is measured
        self.start = start  # on the monotonic clock, as if the run had never been interrupted
        self.plan: Plan
        self.state = TrainingState()
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget all updates so far, for weights that are new."""
        self.optimizer = Optimizer(self.model, self.optimizer_config)

    def begin(self, plan: Plan) -> None:
        """Take up a new plan, evaluate the untrained model, and commit the first checkpoint."""
        self._set_plan(plan)
        self.state.guard = Guard()  # what was seen while calibrating is forgotten, apart from the memory it took
        self.state.more["seconds_before_training"] = self.elapsed()
        self._evaluate()
        self.state.anchor()
        self._save()

    def go_on(self, state: TrainingState, pieces: int = 1) -> None:
        """Take up plan and place of a checkpoint whose weights are loaded, with so many pieces at least."""
        self.state, self.plan, self.told_pieces = state, Plan(**state.plan), state.pieces.count
        state.pieces.count = max(state.pieces.count, pieces)
        self.start = time.monotonic() - state.elapsed_seconds

    def calibrate(self) -> Pace:
        """Seconds of a step with short and with long rows, and of an evaluation, on weights that are thrown away.

        Compiling happens here, so that its time is known before the plan is made.
        """
        short = self._seconds_per_step(self.corpus.short_batches)
        long = self._seconds_per_step(self.corpus.long_batches) if self.corpus.long is not None else short
        evaluate(self.objective, [self.corpus.validation[0].to(self.settings.device)])
        self.measure()  # what is compiled for the other batches, or loaded for the sentences, is not timed
        start = time.monotonic()
        self.measure()
        seconds = time.monotonic() - start
        pace = Pace(short_step_seconds=short, long_step_seconds=long, evaluation_seconds=seconds)
        pace = Pace(**self.ranks.answer(lambda: vars(pace), "the calibration"))
        self._tell_pieces()
        # In steps, not by the clock: where a run may go back to must be the same for one that was interrupted.
        every = self.settings.checkpoint_minutes * 60 / pace.short_step_seconds
        self.state.more.update(checkpoint_every=max(1, round(every)), pace=vars(pace))
        return pace

    def train(self, stop: StopFlag) -> None:
        """Update, log, evaluate and save to the end of the plan.

        Raises the stop's error after a commit, and DivergedError where going back does not help.
        """
        self.last_log = time.monotonic()
        while self.state.step < self.plan.steps:
            self.timed_from = (self.state.step, self.elapsed())
            for result in self._steps(self._batches, first_step=self.state.step + 1, rate=self.plan.rate):
                was_cut = self._count(result)
                is_corrected = self.state.step == self.plan.decay_start_step and self._correct_plan()
                if self.state.step == self.plan.long_start_step:
                    self.state.guard.forget()  # the loss of long rows is another one
                is_sound = self.state.step not in self._evaluation_steps() or self._evaluate()
                if self.state.guard.is_hopeless or not is_sound:
                    self._go_back(result)
                    break
                is_stopped = self._agree(stop)
                self._save_where_due(is_urgent=is_stopped or was_cut)
                if self.state.step >= self.plan.steps:
                    return
                if is_stopped:
                    raise stop.error(
                        f"Stopped at step {self.state.step:,} of {self.plan.steps:,} with everything saved in "
                        f"{self.folder.parent}; give the same command again to go on."
                    )
                if is_corrected:
                    break  # batches that are ahead were made by the old plan

    def _agree(self, stop: StopFlag) -> bool:
        is_stopped = agree_to_stop(self.ranks, stop, f"what comes after step {self.state.step:,}")
        # Rows of another length are compiled first, which may take long.
        self.ranks.expect_pace(is_strict=self.state.step != self.plan.long_start_step)
        return is_stopped

    def elapsed(self) -> float:
        """Seconds since the stage began, all attempts together."""
        return time.monotonic() - self.start

    # -- one step ------------------------------------------------------------------------------------------------

    def _steps(self, rows: Rows, *, first_step: int, rate: Callable[[int], float]) -> Iterator[StepResult]:
        return train_steps(
            self.model,
            self.objective,
            self.optimizer,
            feed(rows, self.settings.device),
            rate=rate,
            first_step=first_step,
            clip_norm=CLIP_NORM,
            guard=self.state.guard,
            pieces=self.state.pieces,
            parallel=self.parallel,
        )

    def _batches(self, step: int) -> list[Batch]:
        return self.corpus.batches(step, self.plan.long_start_step, self.state.data_shift)

    def _seconds_per_step(self, rows: Rows) -> float:
        steps = self._steps(rows, first_step=1, rate=lambda _: 1.0)
        return median_seconds(
            steps, CALIBRATION_STEPS, agree=lambda is_steady: self.ranks.answer(lambda: is_steady, "the calibration")
        )

    def _count(self, result: StepResult) -> bool:
        """Take a step into account; says whether the memory made it cut its micro-batches anew."""
        is_refused = result.refusal is not None
        self.state.count(result.loss, result.accuracy, result.num_labels, result.num_tokens, is_refused=is_refused)
        if is_refused:
            self.log.write("skipped_update", **result.describe_refusal())
        elif time.monotonic() - self.last_log >= LOG_SECONDS:
            self._log_step(result)
            self.last_log = time.monotonic()
        return self._tell_pieces()

    def _tell_pieces(self) -> bool:
        pieces = self.state.pieces
        if pieces.count == self.told_pieces:
            return False
        self.told_pieces = pieces.count
        self.log.write("pieces_doubled", step=self.state.step, **pieces.describe())
        return True

    def _log_step(self, result: StepResult) -> None:
        elapsed = self.elapsed()
        self.log.write(
            "train",
            step=result.step,
            epoch=self._epoch(),
            tokens=self.state.tokens,
            loss=result.loss,
            accuracy=result.accuracy,
            learning_rate=result.rate * self.optimizer_config.matrix_rate,
            grad_norm=result.grad_norm,
            tokens_per_second=self.state.tokens / max(1e-9, elapsed),
            steps=self.plan.steps,
            elapsed_seconds=elapsed,
            seconds_left=self._seconds_left(elapsed),
        )

    def _seconds_left(self, elapsed: float) -> float:
        pace, evaluations = Pace(**self.state.more["pace"]), self.settings.evaluations
        first, since = self.timed_from
        return seconds_left(
            self.plan,
            pace,
            step=self.state.step,
            elapsed_seconds=elapsed,
            evaluations=evaluations,
            slowdown=(elapsed - since) / pace.seconds_between(self.plan, first, self.state.step, evaluations),
            minutes=self.settings.minutes,
        )

    def _go_back(self, result: StepResult) -> None:
        """Take up the last good checkpoint, or after it the one before, with the data that follows what failed."""
        failed, damaged, restored = self.state, list[str](), None
        if failed.retreats < len(failed.anchors):
            with self.ranks.patient():
                restored = go_back_together(
                    self.parallel,
                    self.folder,
                    self.optimizer,
                    until=failed.anchors[-1 - failed.retreats],
                    made_from=failed.made_from,
                    report=damaged.append,
                )
        if restored is None:
            raise self._diverged(result)
        restored.retreats, restored.pieces, restored.compute = failed.retreats + 1, failed.pieces, failed.compute
        restored.data_shift = failed.data_shift + failed.step - restored.step
        self.state, self.plan = restored, Plan(**restored.plan)
        sentence = (
            f"{self._describe_fault(failed, result)} The run went back to its checkpoint of step {restored.step:,} and "
            "goes on with the text that follows."
        )
        self.log.write("rolled_back", step=restored.step + 1, from_step=failed.step, sentence=sentence)
        for told in damaged:
            self.log.write("warning", sentence=told)

    def _diverged(self, result: StepResult) -> DivergedError:
        sentence = (
            f"Training diverged. {self._describe_fault(self.state, result)} Going back to earlier checkpoints with "
            "other text did not help. The checkpoints are kept; give a lower --learning-rate than "
            f"{self.optimizer_config.matrix_rate:g}, with --redo or another --out."
        )
        self.log.write("diverged", step=self.state.step, sentence=sentence)
        return DivergedError(sentence)

    def _describe_fault(self, state: TrainingState, result: StepResult) -> str:
        if result.refusal is None:
            return f"The loss on the validation text was not finite at step {state.step:,}."
        if state.guard.refused_in_a_row == 1:
            return result.refusal.sentence
        return (
            f"{result.refusal.sentence} It was the update number {state.guard.refused_in_a_row} in a row to be refused."
        )

    # -- the plan ------------------------------------------------------------------------------------------------

    def _set_plan(self, plan: Plan) -> None:
        self.plan, self.state.plan = plan, plan.to_dict()

    def _correct_plan(self) -> bool:
        """Where the decay begins, move the end of a run that was given in minutes to where the clock says."""
        if self.settings.minutes is None or self.plan.is_corrected:
            return False
        before, elapsed = self.plan.steps, self.elapsed()
        plan = replan(
            self.plan,
            self.settings.minutes,
            pace=Pace(**self.state.more["pace"]),
            elapsed_seconds=elapsed,
            training_seconds=elapsed - self.state.more["seconds_before_training"],
        )
        self._set_plan(Plan(**self.ranks.answer(plan.to_dict, "the correction of the plan")))
        self.log.write(
            "plan_corrected",
            step=self.state.step,
            steps_before=before,
            steps=self.plan.steps,
            decay_start_step=self.plan.decay_start_step,
        )
        return True

    def _evaluation_steps(self) -> set[int]:
        count = min(self.settings.evaluations, self.plan.steps)
        return {round(i * self.plan.steps / count) for i in range(1, count + 1)}

    # -- evaluating and saving -----------------------------------------------------------------------------------

    def _evaluate(self) -> bool:
        """Whether the model can still be evaluated: weights may have grown beyond all numbers."""
        with self.ranks.patient():
            measured = self.measure()
        if not math.isfinite(measured["loss"]):
            return False
        row_losses, row_counts = measured.pop("row_losses"), measured.pop("row_counts")
        errors = compare_rows(self.state.more, row_losses, row_counts)
        train_loss, train_accuracy = self.state.take_means()
        final = {"loss": measured["loss"], "accuracy": measured["accuracy"], "masked_positions": measured["n"]}
        self.state.more["last_evaluation"] = final
        self.log.write(
            "evaluation",
            step=self.state.step,
            epoch=self._epoch(),
            tokens=self.state.tokens,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            elapsed_seconds=self.elapsed(),
            **measured,
            **errors,
        )
        return True

    def _save_where_due(self, *, is_urgent: bool) -> None:
        step, every = self.state.step, self.state.more["checkpoint_every"]
        if step % every == 0 or step in (self.plan.decay_start_step, self.plan.steps):
            self.state.anchor()
            self._save()
        elif is_urgent:
            self._save()  # at a moment that another run would not have, so it is no place to go back to

    def _save(self) -> None:
        self.state.elapsed_seconds = self.elapsed()
        path = save_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.state,
            self.tokenizer_folder,
            keep=lambda step: step == self.plan.decay_start_step,
        )
        if self.ranks.is_first:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            self.log.write("checkpoint", step=self.state.step, path=path.name, size_bytes=size)

    def _epoch(self) -> float:
        return self.state.tokens / self.corpus.tokens_per_epoch
