"""One fine-tuning trial: a learning rate and a seed, trained epoch by epoch until validation stops improving."""

from __future__ import annotations

import math
import time
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
from pretune.data.labelled_rows import ClassificationRows
from pretune.data.prefetch import feed
from pretune.data.rank_slice import Share
from pretune.model.transformer import SequenceClassifier
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import StopFlag
from pretune.training.checkpoint import TrainingState, load_best, tell_change
from pretune.training.distributed_checkpoint import agree_to_stop, go_on_together, save_together
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, train_steps
from pretune.training.microbatch_split import Pieces
from pretune.training.objective import ClassificationObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import Parallel, alone
from pretune.training.row_losses import compare_rows
from pretune.training.threaded_objective import SideBySide

CLIP_NORM = 1.0
LOG_SECONDS = 2.0
WARMUP_SHARE = 0.06

Scores = dict[str, Any]
Measure = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64]], Scores]


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What sets one trial apart, and what all of them share."""

    trial: int
    learning_rate: float
    seed: int
    epochs: int
    patience: int
    weight_decay: float
    metric: str  # "accuracy" or "macro_f1": what early stopping looks at
    is_search: bool  # a short trial that only helps to choose the rate
    dtype: torch.dtype
    device: str


class Trial:
    """Trains `model` in place; afterwards it holds the weights of its best epoch."""

    def __init__(
        self,
        model: SequenceClassifier,
        train: ClassificationRows,
        validation: ClassificationRows,
        settings: TrialSettings,
        *,
        folder: Path,
        tokenizer_folder: Path,
        label_names: tuple[str, ...],
        log: EventLog,
        measure: Measure,
        parallel: Parallel | None = None,
        compute: dict[str, Any] | None = None,
        pieces: int = 1,
    ) -> None:
        """`compute` says what it is computed on; each batch is cut into `pieces` at least. Of several processes that
        train together each makes a trial of its own, with a `parallel` of its own, and only the first one writes."""
        self.parallel = parallel or alone(model)
        self.ranks = self.parallel.ranks
        self.share = Share(rank=self.ranks.rank, size=self.ranks.size)
        self.model, self.train, self.validation, self.settings = model, train, validation, settings
        self.folder, self.tokenizer_folder, self.label_names = folder, tokenizer_folder, label_names
        self.log, self.measure = log, measure
        self.objective = ClassificationObjective(model, settings.dtype, compiled=False)
        in_lanes = SideBySide(self.objective, model, lanes_for(settings.device))
        self.trained_on = in_lanes if self.ranks.size == 1 else self.parallel.wrap(self.objective)
        rate = settings.learning_rate
        self.optimizer = Optimizer(
            model,
            OptimizerConfig(kind="adamw", matrix_rate=rate, other_rate=rate, weight_decay=settings.weight_decay),
        )
        self.steps_per_epoch = train.batches_per_epoch
        self.steps = settings.epochs * self.steps_per_epoch
        self.state = TrainingState(
            pieces=Pieces(count=pieces),
            compute=compute or {},
            guard=Guard(watches_spikes=False),  # near zero, a loss far above the others is a hard text, not a fault
            made_from={
                "learning_rate": rate,
                "seed": settings.seed,
                "epochs": settings.epochs,
                "rows": len(train.data),
            },
            more={"best": None, "stale_epochs": 0},
        )
        self.best: dict[str, Tensor] | None = None  # weights of the best epoch, on the CPU
        self.told_pieces = 1
        self.start = self.last_log = time.monotonic()
        self._epoch, self._batches = -1, list[npt.NDArray[np.int64]]()

    def run(self, stop: StopFlag) -> Scores:
        """Train to the end, from the newest checkpoint if there is one. Raises the stop's error after a commit."""
        s, begun = self.settings, self.state
        restored = go_on_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.log,
            was_begun=self.folder.is_dir(),
            made_from=begun.made_from,
            trial=s.trial,
        )
        if restored is not None:
            self.state, self.told_pieces = restored, restored.pieces.count
            restored.pieces.count = max(restored.pieces.count, begun.pieces.count)
            tell_change(restored, begun.compute, self.log, trial=s.trial)
            self.start = time.monotonic() - restored.elapsed_seconds
            if self.ranks.is_first and restored.more["best"] is not None:
                self.best = load_best(self.folder)
        else:
            if self.ranks.is_first:
                self.folder.mkdir(parents=True, exist_ok=True)
            self.log.write(
                "trial_started",
                trial=s.trial,
                learning_rate=s.learning_rate,
                seed=s.seed,
                epochs=s.epochs,
                rows=len(self.train.data),
                is_search=s.is_search,
            )
        self._train(stop)
        best: Scores = self.state.more["best"]
        if self.ranks.is_first:  # the others may have gone on from a checkpoint behind it
            assert self.best is not None
            self.model.load_state_dict(self.best)
        self.log.write("trial_finished", trial=s.trial, step=self.state.step, **self._describe(best))
        return best

    def _train(self, stop: StopFlag) -> None:
        if self._is_over():
            return
        steps = train_steps(
            self.model,
            self.trained_on,
            self.optimizer,
            feed(self._step_batches, self.settings.device),
            rate=self._rate,
            first_step=self.state.step + 1,
            clip_norm=CLIP_NORM,
            guard=self.state.guard,
            pieces=self.state.pieces,
            parallel=self.parallel,
        )
        self.last_log = time.monotonic()
        for result in steps:
            was_cut = self._count(result)
            is_epoch_end, is_hopeless = self.state.step % self.steps_per_epoch == 0, self.state.guard.is_hopeless
            if is_hopeless:
                self._tell_divergence(result)
            if is_epoch_end or (is_hopeless and self.state.more["best"] is None):
                self._evaluate()
            is_stopped = agree_to_stop(self.ranks, stop, f"what comes after step {self.state.step:,}")
            self.ranks.expect_pace(is_strict=True)
            if is_epoch_end or is_hopeless or was_cut or is_stopped:
                self._save()
            if self._is_over():
                return
            if is_stopped:
                raise stop.error(
                    f"Stopped at step {self.state.step:,} of {self.steps:,}, trial {self.settings.trial}, all saved in "
                    f"{self.folder.parent.parent}; give the same command again to go on."
                )

    def _count(self, result: StepResult) -> bool:
        """Take a step into account; says whether the memory made it cut its batch anew."""
        is_refused, trial = result.refusal is not None, self.settings.trial
        self.state.count(result.loss, result.accuracy, result.num_labels, result.num_tokens, is_refused=is_refused)
        if is_refused:
            self.log.write("skipped_update", trial=trial, **result.describe_refusal())
        elif time.monotonic() - self.last_log >= LOG_SECONDS:
            self._log_step(result)
            self.last_log = time.monotonic()
        if (count := self.state.pieces.count) == self.told_pieces:
            return False
        self.told_pieces = count
        self.log.write("pieces_doubled", trial=trial, step=self.state.step, **self.state.pieces.describe())
        return True

    def _tell_divergence(self, result: StepResult) -> None:
        assert result.refusal is not None
        sentence = (
            f"{result.refusal.sentence} It was the update number {self.state.guard.refused_in_a_row} in a row to be "
            f"refused, so trial {self.settings.trial} ends here, with the best epoch it had."
        )
        self.log.write("diverged", trial=self.settings.trial, step=self.state.step, sentence=sentence)

    def _is_over(self) -> bool:
        is_epoch_end = self.state.step % self.steps_per_epoch == 0
        has_lost_patience = self.state.more["stale_epochs"] >= self.settings.patience
        return self.state.step >= self.steps or self.state.guard.is_hopeless or (is_epoch_end and has_lost_patience)

    def _step_batches(self, step: int) -> list[Batch]:
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self.train.epoch(epoch)
        return self.share.micro_batches(1, lambda _: self.train.training_batch(self._batches[place], epoch, place))

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero at the last planned epoch."""
        warmup = max(1, math.ceil(self.steps * WARMUP_SHARE))
        return min(step / warmup, (self.steps - step + 1) / max(1, self.steps - warmup))

    def _evaluate(self) -> None:
        train_loss, train_accuracy = self.state.take_means()
        labels = self.validation.labels
        with self.ranks.patient():
            found = predict_probabilities(self.objective, self.validation, self.settings.device, self.ranks)
        scores = self.measure(labels, found)
        errors = compare_rows(self.state.more, row_losses(labels, found), np.ones_like(labels))
        epoch = self.state.step / self.steps_per_epoch
        self.log.write(
            "evaluation",
            trial=self.settings.trial,
            step=self.state.step,
            epoch=epoch,
            tokens=self.state.tokens,
            **self._training_losses(train_loss, labels, found),
            train_accuracy=train_accuracy,
            elapsed_seconds=time.monotonic() - self.start,
            **scores,
            **errors,
        )
        best, metric = self.state.more["best"], self.settings.metric
        if best is None or (scores[metric], -scores["loss"]) > (best[metric], -best["loss"]):
            self.state.more.update(best={**scores, "epoch": epoch, "step": self.state.step}, stale_epochs=0)
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        else:
            self.state.more["stale_epochs"] += 1

    def _training_losses(
        self, loss: float | None, labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
    ) -> dict[str, Any]:
        """The training loss for the log; if it weighs the classes, with a validation loss of the same weights, since
        the plain validation loss is on another scale."""
        weights = self.train.class_weights
        if weights is None:
            return {"train_loss": loss}
        of_rows = weights[labels]
        weighted = (of_rows * row_losses(labels, probabilities)).sum() / of_rows.sum()
        return {"train_loss": None, "weighted_train_loss": loss, "weighted_loss": float(weighted)}

    def _save(self) -> None:
        self.state.elapsed_seconds = time.monotonic() - self.start
        save_together(
            self.parallel,
            self.folder,
            self.optimizer,
            self.state,
            self.tokenizer_folder,
            self.label_names,
            best=self.best,
        )

    def _log_step(self, result: StepResult) -> None:
        elapsed = time.monotonic() - self.start
        self.log.write(
            "train",
            trial=self.settings.trial,
            step=result.step,
            steps=self.steps,
            epoch=result.step / self.steps_per_epoch,
            tokens=self.state.tokens,
            loss=result.loss,
            accuracy=result.accuracy,
            learning_rate=result.rate * self.settings.learning_rate,
            grad_norm=result.grad_norm,
            tokens_per_second=self.state.tokens / max(1e-9, elapsed),
            elapsed_seconds=elapsed,
        )

    def _reason_to_stop(self) -> str:
        if self.state.guard.is_hopeless:
            return "diverged"
        return "epochs" if self.state.step >= self.steps else "patience"

    def _describe(self, best: Scores) -> dict[str, Any]:
        s = self.settings
        return {
            "learning_rate": s.learning_rate,
            "seed": s.seed,
            "best_epoch": best["epoch"],
            "best_step": best["step"],
            "validation_accuracy": best["accuracy"],
            "validation_loss": best["loss"],
            "macro_f1": best["macro_f1"],
            "stopped": self._reason_to_stop(),
            "elapsed_seconds": time.monotonic() - self.start,
        }


def row_losses(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cross-entropy (N,) of each row, in nats."""
    given = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(given, np.finfo(np.float64).eps))


@torch.no_grad()
def predict_probabilities(
    objective: ClassificationObjective, rows: ClassificationRows, device: str, ranks: Ranks = ALONE
) -> npt.NDArray[np.float64]:
    """Probabilities (N, C) in the order of the rows, computed in fp32 from the logits; all alike where one is NaN.

    Several processes share the rows, and each is given all of the probabilities.
    """

    def logits_of(batch: Batch) -> Tensor:
        return objective.logits(batch.to(device)).float()

    batches = rows.in_order()
    counts = torch.tensor([len(batch.labels) for batch in batches], dtype=torch.long)
    of_batch = torch.arange(len(batches)).repeat_interleave(counts)
    logits = torch.zeros(len(of_batch), objective.model.classifier.out_features, dtype=torch.float64)
    own = lanes_for(device).map(logits_of, batches[ranks.rank :: ranks.size])
    if own:
        logits[of_batch % ranks.size == ranks.rank] = torch.cat(own).cpu().double()
    ranks.all_reduce(logits, "an evaluation")
    probabilities = torch.softmax(logits, dim=-1).nan_to_num(nan=1 / logits.shape[1]).numpy()
    result = np.empty_like(probabilities)
    result[rows.order()] = probabilities
    return result
