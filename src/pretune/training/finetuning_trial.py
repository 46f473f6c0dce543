"""One fine-tuning trial: a learning rate and a seed go in, the weights of the best epoch and its scores come out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretune.compute.cpu_threads import lanes_for
from pretune.compute.ranks import ALONE, Ranks
from pretune.data.batch import Batch
from pretune.data.labelled_rows import LabelledBatches
from pretune.data.prefetch import feed
from pretune.data.rank_slice import RankSlice
from pretune.model.transformer import TaskModel
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import RUN_AGAIN, StopFlag
from pretune.scoring.uncertainty import sum_by_group
from pretune.tasks.task import Task
from pretune.text.labels.labelling import Labelling
from pretune.training.checkpoint import TrainingState, load_best, log_compute_change
from pretune.training.distributed_checkpoint import agree_to_stop, resume_together, save_together
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TaskObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import Parallel, alone
from pretune.training.run_log import RunLog, describe_refusals
from pretune.training.threaded_objective import ThreadedObjective

CLIP_NORM = 1.0
WARMUP_FRACTION = 0.06
_EVALUATIONS_OF_UPDATES = 8  # at most
_BATCHES_OF_REPORT = 8

FloatArray = npt.NDArray[np.float64]
DECISION = "decision"  # among the scores: what the task chose on validation to turn outputs into predictions
Scores = dict[str, Any]
Measure = Callable[[FloatArray], Scores]


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """The settings of one trial."""

    trial: int
    learning_rate: float
    seed: int
    epochs: int
    patience: int
    weight_decay: float
    metric: str  # the score that early stopping compares
    is_search: bool  # a short trial that only serves to choose the learning rate
    dtype: torch.dtype
    device: str
    updates: int | None = None  # the exact number of updates, if it is not that of whole epochs
    keeps_last: bool = False  # there are too few validation rows to choose an epoch
    evaluations: int | None = None  # so many, evenly spread, if not one after each epoch
    is_student: bool = False  # learns from sentences of the corpus, too


class FinetuningTrial:
    """Trains `model` in place; afterwards it has the weights of its best epoch.

    After each epoch, the validation scores are compared with the best so far: by the metric of the settings and, if
    that is equal, by the loss. Training stops after `patience` epochs in a row without a better one. With `keeps_last`,
    it goes on to the end, and the last weights are kept. A budget in updates is evaluated after every epoch, or every
    few of more than eight, and at its end: to read the validation rows more often costs more than such updates do.
    """

    def __init__(
        self,
        model: TaskModel,
        train: LabelledBatches,
        validation: LabelledBatches,
        settings: TrialSettings,
        *,
        task: Task,
        folder: Path,
        tokenizer_folder: Path,
        labelling: Labelling,
        log: EventLog,
        measure: Measure,
        parallel: Parallel | None = None,
        compute: dict[str, Any] | None = None,
        split_count: int = 1,
        validation_weights: npt.NDArray[np.float32] | None = None,
        validation_groups: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """`measure` turns the outputs for the validation rows, in their order, into scores, with the metric and `loss`
        among them. `validation_weights` (M,) are those of the validation labels in a loss that is comparable with the
        training loss; `validation_groups` (N,) are the numbers of the groups of validation rows that are not
        independent. `compute` describes the hardware and precision; each batch is split into at least `split_count`.
        Each of several processes that train together makes its own trial with its own `parallel`, and only the first
        one writes."""
        self.parallel = parallel or alone(model)
        self.ranks = self.parallel.ranks
        self.rank_slice = RankSlice(rank=self.ranks.rank, size=self.ranks.size)
        self.model, self.train, self.validation, self.settings = model, train, validation, settings
        self.folder, self.tokenizer_folder, self.labelling = folder, tokenizer_folder, labelling
        self.task, self.measure = task, measure
        self.run_log = RunLog(log, peak_rate=settings.learning_rate, trial=settings.trial)
        self.objective = TaskObjective(model, task.losses, settings.dtype, compiled=False)
        in_lanes = ThreadedObjective(self.objective, model, lanes_for(settings.device))
        self.training_objective = in_lanes if self.ranks.size == 1 else self.parallel.wrap(self.objective)
        rate = settings.learning_rate
        self.optimizer = Optimizer(
            model,
            OptimizerConfig(kind="adamw", matrix_rate=rate, other_rate=rate, weight_decay=settings.weight_decay),
        )
        self.steps_per_epoch = train.batches_per_epoch
        self.steps = settings.updates or settings.epochs * self.steps_per_epoch
        epochs = 1 if settings.updates is None else -(-settings.epochs // _EVALUATIONS_OF_UPDATES)
        self.steps_per_evaluation = epochs * self.steps_per_epoch
        if settings.evaluations is not None:
            self.steps_per_evaluation = -(-self.steps // settings.evaluations)
        self.validation_weights, self.validation_groups = validation_weights, validation_groups
        self.state = TrainingState(
            microbatch_split=MicrobatchSplit(count=split_count),
            compute=compute or {},
            guard=Guard(watches_spikes=False),  # when most losses are near zero, a spike is a hard text, not a fault
            made_from={
                "learning_rate": rate,
                "seed": settings.seed,
                "epochs": settings.epochs,
                "rows": len(train.data),
                **({} if settings.updates is None else {"updates": settings.updates}),
            },
            more={"best": None, "stale_epochs": 0},
        )
        self.best: dict[str, Tensor] | None = None  # weights of the best epoch, on the CPU
        self._epoch, self._batches = -1, list[npt.NDArray[np.int64]]()

    def run(self, stop: StopFlag) -> Scores:
        """Train to the end, from the newest checkpoint if there is one. Raises the stop's error after a commit."""
        s, begun = self.settings, self.state
        restored = resume_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.run_log.log,
            was_begun=self.folder.is_dir(),
            made_from=begun.made_from,
            trial=s.trial,
        )
        if restored is not None:
            self.state = restored
            self.run_log.resume(restored, begun.microbatch_split.count)
            log_compute_change(restored, begun.compute, self.run_log.log, trial=s.trial)
            if self.ranks.is_first and restored.more["best"] is not None:
                self.best = load_best(self.folder)
        else:
            if self.ranks.is_first:
                self.folder.mkdir(parents=True, exist_ok=True)
            self.run_log.write(
                "trial_started",
                learning_rate=s.learning_rate,
                seed=s.seed,
                epochs=s.epochs,
                rows=len(self.train.data),
                is_search=s.is_search,
                **self._mark(),
            )
        self._train(stop)
        best: Scores = self.state.more["best"]
        if self.ranks.is_first:  # the others lack the best weights if the trial was resumed after that epoch
            assert self.best is not None
            self.model.load_state_dict(self.best)
        self.run_log.write("trial_finished", step=self.state.step, **self._describe(best))
        return best

    def _train(self, stop: StopFlag) -> None:
        if self._is_over():
            return
        steps = train_steps(
            self.model,
            self.training_objective,
            self.optimizer,
            feed(self._step_batches, self.settings.device),
            rate=self._rate,
            first_step=self.state.step + 1,
            clip_norm=CLIP_NORM,
            guard=self.state.guard,
            microbatch_split=self.state.microbatch_split,
            parallel=self.parallel,
        )
        self.run_log.start_steps()
        for result in steps:
            was_split = self.run_log.count(self.state, result, self._describe_progress)
            is_due, is_hopeless = self._is_evaluation_due(), self.state.guard.is_hopeless
            if is_hopeless:
                self._log_divergence(result)
            if is_due or (is_hopeless and self.state.more["best"] is None):
                self._evaluate()
            is_stopped = agree_to_stop(self.ranks, stop, f"the decision whether to stop after step {self.state.step:,}")
            self.ranks.expect_pace(is_strict=True)
            if is_due or is_hopeless or was_split or is_stopped:
                saved = self._save()
                if is_stopped:  # else the evaluation shows where the trial resumes
                    self.run_log.write("checkpoint", step=self.state.step, path=saved.name)
            if self._is_over():
                return
            if is_stopped:
                raise stop.error(
                    f"Stopped at step {self.state.step:,} of {self.steps:,}, trial {self.settings.trial}; everything "
                    f"is saved in {self.folder.parent.parent}. {RUN_AGAIN}"
                )

    def _describe_progress(self) -> dict[str, Any]:
        return {"steps": self.steps, "epoch": self.state.step / self.steps_per_epoch}

    def _log_divergence(self, result: StepResult) -> None:
        sentence = f"{describe_refusals(self.state, result)} Trial {self.settings.trial} ends here with its best epoch."
        self.run_log.write("diverged", step=self.state.step, sentence=sentence)

    def _is_evaluation_due(self) -> bool:
        return self.state.step % self.steps_per_evaluation == 0 or self.state.step >= self.steps

    def _is_over(self) -> bool:
        has_lost_patience = self.state.more["stale_epochs"] >= self.settings.patience
        return (
            self.state.step >= self.steps
            or self.state.guard.is_hopeless
            or (self._is_evaluation_due() and has_lost_patience)
        )

    def _step_batches(self, step: int) -> list[Batch]:
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self.train.epoch(epoch)
        batch = self.train.training_batch(self._batches[place], epoch, place)
        return [batch.part(self.rank_slice.rank, self.rank_slice.size)]

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero at the last planned epoch."""
        warmup = max(1, math.ceil(self.steps * WARMUP_FRACTION))
        return min(step / warmup, (self.steps - step + 1) / max(1, self.steps - warmup))

    def _evaluate(self) -> None:
        targets = self.validation.targets
        with self.ranks.patient():
            found = predict_outputs(self.objective, self.validation, self.settings.device, self.ranks)
        scores, epoch = self.measure(found), self.state.step / self.steps_per_epoch
        losses, corrects = self.task.score_targets(found, targets)
        self.run_log.log_evaluation(
            self.state,
            {name: value for name, value in scores.items() if name != DECISION},
            epoch=epoch,
            row_losses=self._by_group(targets.sum_by_row(losses)),
            row_corrects=self._by_group(targets.sum_by_row(corrects)),
            row_counts=self._by_group(targets.counts),
            weighted_loss=self._weighted_mean(losses),
        )
        best, metric = self.state.more["best"], self.settings.metric
        if (
            best is None
            or self.settings.keeps_last
            or (scores[metric], -scores["loss"]) > (best[metric], -best["loss"])
        ):
            self.state.more.update(best={**scores, "epoch": epoch, "step": self.state.step}, stale_epochs=0)
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        else:
            self.state.more["stale_epochs"] += 1

    def _by_group(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sums of the values (N,) of validation rows over groups, which vary independently."""
        return sum_by_group(values, self.validation_groups)[0].astype(values.dtype)

    def _weighted_mean(self, losses: FloatArray) -> float | None:
        """The mean of the losses (M,) with the class weights of the training loss; None if it has none."""
        if self.validation_weights is None:
            return None
        return float((self.validation_weights * losses).sum() / self.validation_weights.sum())

    def _save(self) -> Path:
        self.state.elapsed_seconds = self.run_log.elapsed()
        return save_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.state,
            self.tokenizer_folder,
            self.labelling,
            best=self.best,
        )

    def _reason_to_stop(self) -> str:
        if self.state.guard.is_hopeless:
            return "diverged"
        if self.settings.keeps_last:
            return "updates"  # whatever sets their number: to its readers, the last weights are kept unchosen
        return "epochs" if self.state.step >= self.steps else "patience"

    def _describe(self, best: Scores) -> dict[str, Any]:
        s = self.settings
        return {
            "learning_rate": s.learning_rate,
            "seed": s.seed,
            "best_epoch": best["epoch"],
            "best_step": best["step"],
            "validation_accuracy": best.get("accuracy"),
            "validation_loss": best["loss"],
            s.metric: best[s.metric],
            "macro_f1": best.get("macro_f1"),
            "stopped": self._reason_to_stop(),
            "metric": s.metric,
            "patience": s.patience,
            "elapsed_seconds": self.run_log.elapsed(),
            **self._mark(),
        }

    def _mark(self) -> dict[str, Any]:
        return {"is_student": True} if self.settings.is_student else {}


@torch.no_grad()
def predict_outputs(
    objective: TaskObjective,
    rows: LabelledBatches,
    device: str,
    ranks: Ranks = ALONE,
    *,
    report: Callable[[int], None] | None = None,
) -> FloatArray:
    """The outputs (M, K) for the targets of the rows, in their order and in double precision; computed in the precision
    of the objective, which is bf16 while a trial trains in it.

    Several processes divide the rows among themselves, and all of them return all outputs. `report` is told every few
    batches how many rows are done; what it raises ends the work.
    """

    def logits_of(chosen: npt.NDArray[np.int64]) -> Tensor:
        return objective.logits(rows.batch(chosen).to(device)).float()  # made here: all at once take much memory

    batches, of_row = rows.in_order(), rows.targets.counts
    counts = torch.tensor([of_row[chosen].sum() for chosen in batches], dtype=torch.long)
    of_batch = torch.arange(len(batches)).repeat_interleave(counts)
    logits = torch.zeros(len(of_batch), objective.model.classifier.out_features, dtype=torch.float64)
    own_batches, own = batches[ranks.rank :: ranks.size], list[Tensor]()
    at_once = max(1, len(own_batches)) if report is None else _BATCHES_OF_REPORT
    for start in range(0, len(own_batches), at_once):
        own += lanes_for(device).map(logits_of, own_batches[start : start + at_once])
        if report is not None:
            report(sum(map(len, own_batches[: start + at_once])))
    if own:
        logits[of_batch % ranks.size == ranks.rank] = torch.cat(own).cpu().double()
    ranks.all_reduce(logits, "an evaluation")
    result = np.empty(logits.shape)
    result[rows.targets.places(rows.order())] = logits.numpy()
    return result
