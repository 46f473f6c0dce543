"""One training run over packed rows: a model and a plan go in, a trained model, checkpoints and logged evaluations out.

Pre-training and the tuning on conversations are such runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from pretune.data.batch import Batch
from pretune.data.prefetch import feed
from pretune.errors import DivergedError
from pretune.model.transformer import LanguageModel
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import RUN_AGAIN, StopFlag
from pretune.training.budget import (
    Budget,
    Pace,
    Shape,
    median_seconds,
    overrun_seconds,
    plan_run,
    replan,
    seconds_left,
)
from pretune.training.checkpoint import TrainingState, load_best, trained_tensors
from pretune.training.distributed_checkpoint import agree_to_stop, resume_together, roll_back_together, save_together
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, accumulate, clear_gradients, train_steps, warm_up
from pretune.training.objective import Objective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import Parallel
from pretune.training.row_losses import compare_rows
from pretune.training.run_log import RunLog, describe_refusals
from pretune.training.schedule import Plan

CLIP_NORM = 1.0
_OVERRUN_SECONDS = 6  # beyond the budget, of which the log tells

Rows = Callable[[int], list[Batch]]
Evaluation = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How often a run is evaluated and saved; `minutes` is its budget if that was given as wall time."""

    evaluations: int
    checkpoint_minutes: float
    minutes: float | None
    device: str
    keeps_best: bool = False  # end with the weights of the evaluation with the lowest loss, not with the last ones
    watches_spikes: bool = True  # refuse updates whose loss is far above the usual
    calibration_steps: int  # timed updates
    closing_evaluations: float = 0.0  # what is measured after the last update takes as long as so many evaluations


@runtime_checkable
class TrainingRows(Protocol):
    """The rows that a run trains on: the micro-batches of each update, a function of its number, and how many tokens an
    epoch has. `long` is None if there are no longer rows at the end of a run."""

    @property
    def tokens_per_epoch(self) -> int: ...
    @property
    def long(self) -> object | None: ...
    def first_validation(self) -> list[Batch]: ...
    def batches(self, step: int, long_start_step: int, shift: int = 0) -> list[Batch]: ...
    def short_batches(self, step: int) -> list[Batch]: ...
    def long_batches(self, step: int) -> list[Batch]: ...


class PretrainingRun:
    """Trains `model` in place. Before `train`, call `resume` with what `restore` returns, or, if that is None, `begin`
    with a plan.

    `measure` evaluates the model. It returns the fields of an `evaluation` event that are not known here, with
    `row_losses`, `row_corrects` and `row_counts`: the summed losses, correct predictions and labels of each row; and
    with `summary`, the figures for the manifest. `causal`, if it is there, has such fields of a second evaluation, and
    `weighted_loss` combines the two as the training loss does.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        optimizer_config: OptimizerConfig,
        corpus: TrainingRows,
        settings: RunSettings,
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
        self.folder, self.tokenizer_folder = folder, tokenizer_folder
        self.run_log = RunLog(log, peak_rate=optimizer_config.matrix_rate, start=start)
        self.timed_from = (0, 0.0)  # step and seconds from which the present pace is measured
        self.plan: Plan
        self.state = TrainingState()
        self.best: dict[str, Tensor] | None = None  # weights of the best evaluation, on the CPU
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget all updates so far."""
        self.optimizer = Optimizer(self.model, self.optimizer_config)

    def set_weights(self, write: Callable[[nn.Module], None]) -> None:
        """Let the first process write new weights into its model, send them to all, and forget all updates so far."""
        self.parallel.spread(write)
        self.reset_optimizer()

    def restore(self, *, was_begun: bool) -> TrainingState | None:
        """Load the newest checkpoint of this run into model and optimizer; None if there is none.

        Raises FolderInTheWayError if it is not that of a run `made_from` the same.
        """
        return resume_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.run_log.log,
            was_begun=was_begun,
            made_from=self.state.made_from,
        )

    def make_plan(self, budget: Budget, shape: Shape, pace: Pace) -> Plan:
        """The plan for a budget from now on, the same in all processes. Raises InputDataError if it is too small."""
        tokens, elapsed = self.corpus.tokens_per_epoch, self.elapsed()
        make = partial(plan_run, budget, shape, pace, tokens_per_epoch=tokens, elapsed_seconds=elapsed)
        return Plan(**self.ranks.answer(lambda: make().to_dict(), "the plan"))

    def begin(self, plan: Plan) -> None:
        """Adopt a new plan, evaluate the untrained model, and commit the first checkpoint."""
        self._set_plan(plan)
        # Forget the losses of the calibration, but not the micro-batch split.
        self.state.guard = Guard(watches_spikes=self.settings.watches_spikes)
        self.state.more["seconds_before_training"] = self.elapsed()
        self._evaluate()
        self.state.anchor()
        self._save()

    def resume(self, state: TrainingState, split_count: int = 1) -> None:
        """Continue from the state of a checkpoint whose weights are loaded, with each micro-batch split into at least
        `split_count`."""
        self.state, self.plan = state, Plan(**state.plan)
        self.run_log.resume(state, split_count)
        self._load_best()

    def calibrate(self) -> Pace:
        """Seconds of a step with short and with long rows, and of an evaluation, on weights that are then discarded.

        Compiling happens here, so that its time is known before the plan is made.
        """
        short = self._seconds_per_step(self.corpus.short_batches)
        long = self._seconds_per_step(self.corpus.long_batches) if self.corpus.long is not None else short
        warm_up(self.objective, [batch.to(self.settings.device) for batch in self.corpus.first_validation()])
        self.measure()  # untimed: it compiles for batches of other shapes and loads what the probes need
        start = time.monotonic()
        self.measure()
        seconds = time.monotonic() - start
        closing = self.settings.closing_evaluations * seconds
        pace = Pace(
            short_step_seconds=short, long_step_seconds=long, evaluation_seconds=seconds, closing_seconds=closing
        )
        pace = Pace(**self.ranks.answer(lambda: vars(pace), "the calibration"))
        self.run_log.log_split(self.state)
        # In steps, not by the clock: an interrupted run must be able to roll back to the same steps.
        every = pace.steps_in(self.settings.checkpoint_minutes)
        self.state.more.update(checkpoint_every=every, pace=vars(pace))
        return pace

    def compile_again(self) -> None:
        """Compile, in a resumed run, what the calibration compiled before the plan was made; nothing is updated.

        The run's clock stops meanwhile: the plan has no time for it, and would be corrected as if the updates had
        become slower. The order is that of the calibration, so that the compiled code is the same.
        """
        rows = [self.corpus.short_batches] + ([self.corpus.long_batches] if self.corpus.long is not None else [])
        with self.run_log.untimed(), self.ranks.patient():
            for batches in rows:
                accumulate(self.objective, batches(1), 1.0, self.parallel, self.state.microbatch_split)
                clear_gradients(self.parallel)
            warm_up(self.objective, [batch.to(self.settings.device) for batch in self.corpus.first_validation()])

    def train(self, stop: StopFlag) -> None:
        """Update, log, evaluate and save to the end of the plan.

        Raises the stop's error after a commit, and DivergedError if rolling back does not help.
        """
        self.run_log.start_steps()
        self.timed_from = (self.state.step, self.elapsed())  # a corrected plan leaves the pace as it was measured
        while self.state.step < self.plan.steps:
            for result in self._steps(self._batches, first_step=self.state.step + 1, rate=self.plan.rate):
                was_split = self._count(result)
                is_corrected = self.state.step == self.plan.decay_start_step and self._correct_plan()
                if self.state.step == self.plan.long_start_step:
                    self.state.guard.forget()  # long rows have another loss
                is_sound = self.state.step not in self._evaluation_steps() or self._evaluate()
                if self.state.guard.is_hopeless or not is_sound:
                    self._roll_back(result)
                    break
                is_stopped = self._agree(stop)
                self._save_if_due(is_urgent=is_stopped or was_split)
                if self.state.step >= self.plan.steps:
                    return
                if is_stopped:
                    raise stop.error(
                        f"Stopped at step {self.state.step:,} of {self.plan.steps:,}; everything is saved in "
                        f"{self.folder.parent}. {RUN_AGAIN}"
                    )
                if is_corrected:
                    break  # prefetched batches were made with the old plan

    def _agree(self, stop: StopFlag) -> bool:
        is_stopped = agree_to_stop(self.ranks, stop, f"the decision whether to stop after step {self.state.step:,}")
        # Rows of another length are compiled first, which may take a while.
        self.ranks.expect_pace(is_strict=self.state.step != self.plan.long_start_step)
        return is_stopped

    def elapsed(self) -> float:
        """Seconds since the stage began, over all attempts."""
        return self.run_log.elapsed()

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
            microbatch_split=self.state.microbatch_split,
            parallel=self.parallel,
        )

    def _batches(self, step: int) -> list[Batch]:
        return self.corpus.batches(step, self.plan.long_start_step, self.state.data_shift)

    def _seconds_per_step(self, rows: Rows) -> float:
        steps = self._steps(rows, first_step=1, rate=lambda _: 1.0)
        return median_seconds(
            steps,
            self.settings.calibration_steps,
            agree=lambda is_steady: self.ranks.answer(lambda: is_steady, "the calibration"),
        )

    def _count(self, result: StepResult) -> bool:
        return self.run_log.count(self.state, result, self._describe_progress)

    def _describe_progress(self) -> dict[str, Any]:
        return {"steps": self.plan.steps, "epoch": self._epoch(), "seconds_left": self._seconds_left()}

    def _seconds_left(self) -> float:
        pace, evaluations, elapsed = Pace(**self.state.more["pace"]), self.settings.evaluations, self.elapsed()
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

    def _roll_back(self, result: StepResult) -> None:
        """Restore the last good checkpoint, or the one before it if that has failed, and skip the data that failed."""
        failed, damaged, restored = self.state, list[str](), None
        if failed.rollbacks < len(failed.anchors):
            with self.ranks.patient():
                restored = roll_back_together(
                    self.parallel,
                    self.folder,
                    self.optimizer,
                    until=failed.anchors[-1 - failed.rollbacks],
                    made_from=failed.made_from,
                    report=damaged.append,
                )
        if restored is None:
            raise self._diverged(result)
        restored.microbatch_split, restored.compute = failed.microbatch_split, failed.compute
        restored.rollbacks = failed.rollbacks + 1
        restored.data_shift = failed.data_shift + failed.step - restored.step
        self.state, self.plan = restored, Plan(**restored.plan)
        self._load_best()
        # What led nowhere is no time of the updates that count: the plan would be corrected as if those were slow.
        lost = self.elapsed() - restored.elapsed_seconds
        self.state.more["seconds_before_training"] += lost
        self.timed_from = (self.state.step, self.elapsed())
        sentence = (
            f"{self._describe_fault(failed, result)} Rolled back to the checkpoint of step {restored.step:,}; training "
            "continues with the text that follows."
        )
        self.run_log.write("rolled_back", step=restored.step + 1, from_step=failed.step, sentence=sentence)
        for warning in damaged:
            self.run_log.write("warning", sentence=warning)

    def _diverged(self, result: StepResult) -> DivergedError:
        sentence = (
            f"Training diverged. {self._describe_fault(self.state, result)} Rolling back to earlier checkpoints and "
            "continuing with other text did not help. The checkpoints are kept; give a --learning-rate lower than "
            f"{self.optimizer_config.matrix_rate:g}, with --redo or another --out."
        )
        self.run_log.write("diverged", step=self.state.step, sentence=sentence)
        return DivergedError(sentence)

    def _describe_fault(self, state: TrainingState, result: StepResult) -> str:
        if result.refusal is None:
            return f"The loss on the validation text was not finite at step {state.step:,}."
        return describe_refusals(state, result)

    # -- the plan ------------------------------------------------------------------------------------------------

    def _set_plan(self, plan: Plan) -> None:
        self.plan, self.state.plan = plan, plan.to_dict()

    def _correct_plan(self) -> bool:
        """When the decay begins, move the end of a run with a budget in minutes to fit the time that is left."""
        if self.settings.minutes is None or self.plan.is_corrected:
            return False
        before, elapsed, minutes = self.plan.steps, self.elapsed(), self.settings.minutes
        timed: dict[str, Any] = {
            "pace": Pace(**self.state.more["pace"]),
            "elapsed_seconds": elapsed,
            "training_seconds": elapsed - self.state.more["seconds_before_training"],
        }
        plan = replan(self.plan, minutes, **timed)
        self._set_plan(Plan(**self.ranks.answer(plan.to_dict, "the correction of the plan")))
        self.run_log.write(
            "plan_corrected",
            step=self.state.step,
            steps_before=before,
            steps=self.plan.steps,
            decay_start_step=self.plan.decay_start_step,
            long_start_step=self.plan.long_start_step,
        )
        overrun = overrun_seconds(self.plan, minutes, **timed) if self.plan.is_corrected else 0.0
        if overrun >= _OVERRUN_SECONDS:
            sentence = (
                f"Updates have become slower than they were at the beginning, so training will take about "
                f"{overrun / 60:.1f} minutes longer than the {minutes:g} that were given: without a decay of the "
                "learning rate the model would be worse."
            )
            self.run_log.write("warning", sentence=sentence)
        return True

    def _evaluation_steps(self) -> set[int]:
        count = min(self.settings.evaluations, self.plan.steps)
        return {round(i * self.plan.steps / count) for i in range(1, count + 1)}

    # -- evaluating and saving -----------------------------------------------------------------------------------

    def _evaluate(self) -> bool:
        """Evaluate and log. Returns whether the loss was finite; otherwise nothing is logged."""
        with self.ranks.patient():
            measured = self.measure()
        if not math.isfinite(measured["loss"] + measured.get("weighted_loss", 0.0)):
            return False
        self.state.more["last_evaluation"] = measured.pop("summary")
        if "causal" in measured:
            kept = self.state.more.setdefault("causal_rows", {})
            measured["causal"] |= compare_rows(kept, *_pop_rows(measured["causal"]).values())
        rows, weighted_loss = _pop_rows(measured), measured.pop("weighted_loss", None)
        self.run_log.log_evaluation(self.state, measured, epoch=self._epoch(), weighted_loss=weighted_loss, **rows)
        self._keep_if_best(measured["loss"])
        return True

    def _keep_if_best(self, loss: float) -> None:
        best = self.state.more.get("best")
        if self.settings.keeps_best and (best is None or loss < best["loss"]):
            self.state.more["best"] = {"step": self.state.step, "loss": loss}
            self.best = {name: tensor.cpu().clone() for name, tensor in trained_tensors(self.model).items()}

    def _load_best(self) -> None:
        if self.settings.keeps_best and self.ranks.is_first:
            self.best = load_best(self.folder)

    def restore_best(self) -> int:
        """Put the weights of the evaluation with the lowest loss into the model; returns its step."""

        def write(model: nn.Module) -> None:
            assert self.best is not None
            model.load_state_dict(self.best, strict=False)

        self.parallel.spread(write)
        return int(self.state.more["best"]["step"])

    def _save_if_due(self, *, is_urgent: bool) -> None:
        step, every = self.state.step, self.state.more["checkpoint_every"]
        if step % every == 0 or step in (self.plan.decay_start_step, self.plan.steps):
            self.state.anchor()
            self._save()
        elif is_urgent:
            self._save()  # not an anchor: an uninterrupted run would have no checkpoint at this step

    def _save(self) -> None:
        self.state.elapsed_seconds = self.elapsed()
        path = save_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.state,
            self.tokenizer_folder,
            keep=lambda step: step == self.plan.decay_start_step,
            best=self.best,
        )
        if self.ranks.is_first:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            self.run_log.write("checkpoint", step=self.state.step, path=path.name, size_bytes=size)

    def _epoch(self) -> float:
        return self.state.tokens / self.corpus.tokens_per_epoch


def _pop_rows(measured: Evaluation) -> dict[str, Any]:
    """Take the losses, the correct predictions and the labels of each row out of what was measured."""
    return {name: measured.pop(name) for name in ("row_losses", "row_corrects", "row_counts")}
