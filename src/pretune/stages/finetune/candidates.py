"""The models that a fine-tuning may deliver: chosen on validation, with linear models stacked on them, tested once.

Only the first of several processes has candidates; a trial stands for its best weights, or for the mean of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.labelled_rows import LabelledBatches
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.model.folder import describe_native_head, describe_native_windows, save_model_folder
from pretune.runtime.interruption import RUN_AGAIN, StopFlag
from pretune.runtime.stage_folder import StageFolder
from pretune.scoring.partners import Partner
from pretune.scoring.prediction_files import (
    AVERAGED_PREDICTIONS,
    PREDICTIONS,
    STACK_PREDICTIONS,
    STUDENT_PREDICTIONS,
    TEACHER_PREDICTIONS,
    write_predictions,
)
from pretune.scoring.softmax import log_softmax
from pretune.scoring.stacked_model import StackedModel, save_stacked
from pretune.scoring.uncertainty import sum_by_group
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.corpus_sentences import Sentences, read_sentences
from pretune.stages.finetune.delivered import AVERAGED, STUDENT, Trial, average_seeds, delivered_weights
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.self_training import (
    PSEUDO_LABELS,
    label_sentences,
    write_pseudo_labels,
)
from pretune.stages.finetune.stacking import can_stack, linear_texts, train_stack, write_stack_predictions
from pretune.stages.finetune.starting_weights import StartingWeights
from pretune.tasks.task import LabelledLines
from pretune.training.few_labels import is_clearly_worse
from pretune.training.finetuning_trial import DECISION, predict_outputs
from pretune.training.objective import TaskObjective

FloatArray = npt.NDArray[np.float64]
_OTHERS = (AVERAGED_PREDICTIONS, STACK_PREDICTIONS, STUDENT_PREDICTIONS, TEACHER_PREDICTIONS)


@dataclass(kw_only=True)
class Candidates:
    """The trials of one fine-tuning as models; `folder_of` gives the checkpoints of a trial."""

    folder: StageFolder
    data: PreparedRows
    config: FinetuneConfig
    start_weights: StartingWeights
    device: str
    tokenizer_folder: Path
    validation: LabelledBatches
    test_rows: LabelledBatches
    folder_of: Callable[[int], Path]

    def __post_init__(self) -> None:
        self._outputs: dict[str, FloatArray] = {}  # for the validation rows
        self._stacks: dict[str, StackedModel | None] = {}
        self._partners: list[Partner] | None = None
        self._sentences: Sentences | None = None

    @cached_property
    def objective(self) -> TaskObjective:
        """The network that takes the weights of one candidate after another."""
        return TaskObjective(self.start_weights.new_model(), self.data.task.losses, torch.float32, compiled=False)

    def score(self, trial: Trial) -> tuple[float, float]:
        """What the validation rows choose by."""
        return trial[self.data.metric], -trial["loss"]

    def choose(self, reported: Sequence[Trial]) -> Trial:
        """The trial to deliver, or the mean of all."""
        single = max(reported, key=self.score) if self.data.is_picking else reported[-1]
        if len(reported) == 1 or self.config.from_scratch:  # from scratch, the seeds start from different weights
            return single
        return average_seeds(
            reported,
            single,
            self.folder_of,
            self.objective,
            self.validation,
            self.data.groups["validation"],
            self.data.task,
            self.data.measure_validation,
            self.score if self.data.is_picking else None,
        )

    # -- a student and its teacher -------------------------------------------------------------------------------

    def read_corpus(self, corpus: Path) -> None:
        """Read the sentences for a student, unless their labels are written: before any training, since it would be in
        vain with a corpus of no use. Raises UsageError for such a one."""
        if not (self.folder.path / PSEUDO_LABELS).is_file():
            self._sentences = read_sentences(corpus, self.data, self.config.self_train_sentences)

    def label_corpus(self, teacher: Trial, student: int, stop: StopFlag) -> None:
        """Let the teacher, with the linear models stacked on it, label the sentences that were read, and write the
        labels.

        Logs a sentence about them, which stays if the trial of the `student` starts over: they are made once. Raises
        the stop's error after a signal.
        """
        assert self._sentences is not None
        log, begun, sentences = self.folder.log, time.monotonic(), self._sentences
        log.write("notice", sentence=f"The model labels {len(sentences.texts):,} sentences of the corpus.")
        stacked = self.stacked(teacher, purpose="Before self-training: ")
        self._load(teacher)

        def report(done: int) -> None:
            log.write_progress(done, len(sentences.texts), "sentences", since=begun)
            if stop.is_set:
                saved = f"the trials are saved in {self.folder.path}"
                raise stop.error(f"Stopped while labelling the corpus, which starts over; {saved}. {RUN_AGAIN}")

        def predict(rows: LabelledBatches, texts: Sequence[str]) -> FloatArray:
            outputs = predict_outputs(self.objective, rows, self.device, report=report)
            return log_softmax(outputs) if stacked is None else stacked.combine(outputs, texts)

        found = label_sentences(sentences, self.data, predict)
        write_pseudo_labels(self.folder.path, sentences, found)
        sentence = (
            f"The model labelled {len(sentences.texts):,} sentences of {len(set(sentences.documents.tolist())):,} "
            f"documents; a student learns from the {len(found.rows):,} that it is surest of, in {PSEUDO_LABELS}."
        )
        sentence = f"{sentence} {found.describe_agreement()}".rstrip()
        log.write("notice", trial=student, step=-1, sentence=sentence)  # as of before its step 0, to which it goes back

    def prefers(self, student: Trial, teacher: Trial) -> bool:
        """Whether the student is delivered, both with the linear models that are stacked on them: if validation rows
        choose, unless it scores lower on them; if they are too few, unless its loss is above by more than noise. A
        student whose outputs are not numbers is not."""
        if not np.isfinite(self._validate(student)).all():
            return False
        ours, theirs = (self._as_delivered(trial) for trial in (student, teacher))
        if self.data.is_picking:
            measured = [self.score({**self.data.measure_validation(outputs)}) for outputs in (ours, theirs)]
            return measured[0] >= measured[1]
        return not is_clearly_worse(self._losses(ours), self._losses(theirs))

    def _as_delivered(self, trial: Trial) -> FloatArray:
        """The outputs for the validation rows, combined with linear models if some are stacked on the trial."""
        outputs, stacked = self._validate(trial), self.stacked(trial)
        if stacked is None:
            return outputs
        return stacked.combine(outputs, linear_texts(self.data.rows["validation"], self.validation.targets))

    def _losses(self, outputs: FloatArray) -> FloatArray:
        targets = self.validation.targets
        losses = targets.sum_by_row(self.data.task.score_targets(outputs, targets)[0])
        return sum_by_group(losses, self.data.groups["validation"])[0]

    # -- outputs, and what is stacked on them --------------------------------------------------------------------

    def stacked(self, trial: Trial, purpose: str = "") -> StackedModel | None:
        """The linear models that are stacked on a trial, if that is better on validation; its figures are logged after
        the words of the `purpose`."""

        def log(sentence: str) -> None:
            if trial.get(STUDENT) or not (self.folder.path / PSEUDO_LABELS).is_file():  # else the log has them
                self.folder.log.write("notice", sentence=purpose + sentence)

        if not can_stack(self.config):
            return None
        name = _name(trial)
        if name not in self._stacks:
            self._stacks[name] = train_stack(
                log,
                self.data.task,
                self.data.labelling,
                self.data.rows,
                self._validate(trial),
                self.validation.targets,
                self.data.metric,
                self._train_partners,
            )
        return self._stacks[name]

    def _train_partners(self, lines: LabelledLines) -> list[Partner]:
        """The linear models of the task, which are the same for all candidates."""
        if self._partners is None:
            self._partners = self.data.task.partners(lines)
        return self._partners

    def _validate(self, trial: Trial) -> FloatArray:
        name = _name(trial)
        if name not in self._outputs:
            self._load(trial)
            self._outputs[name] = predict_outputs(self.objective, self.validation, self.device)
        return self._outputs[name]

    def _load(self, trial: Trial) -> None:
        self.objective.model.load_state_dict(delivered_weights(trial, self.folder_of))

    # -- the test rows, once -------------------------------------------------------------------------------------

    def test(self, reported: Sequence[Trial], chosen: Trial, teacher: Trial) -> list[dict[str, Any]]:
        """The results on the test rows: of each seed, of their mean if that is delivered or labelled the corpus, and of
        the student if that is delivered."""
        folder, has_rows = self.folder.path / PREDICTIONS, bool(len(self.test_rows.targets))
        folder.mkdir(exist_ok=True)
        for name in _OTHERS:  # of an attempt before this one
            (folder / name).unlink(missing_ok=True)
        if not has_rows:
            self.folder.log.write("notice", sentence="There are no test rows, so there are results on validation only.")
            return []
        last = [teacher, chosen] if chosen.get(STUDENT) else [chosen]
        names = [_name(trial) for trial in last]
        tests = []
        for trial in [*(each for each in reported if _name(each) not in names), *last]:
            self._load(trial)
            outputs = predict_outputs(self.objective, self.test_rows, self.device)
            tests.append(self.data.test(trial, outputs, folder))
            self.folder.log.write("test", **tests[-1])
            if trial is chosen and (stacked := self.stacked(chosen)) is not None:
                self._write_stacked(folder / STACK_PREDICTIONS, outputs, stacked)
            elif trial is teacher and chosen is not teacher:
                self._write_teacher(folder / TEACHER_PREDICTIONS, teacher, outputs)
        return tests

    def _write_teacher(self, file: Path, teacher: Trial, outputs: FloatArray) -> None:
        """Write what would be predicted without the student."""
        stacked, task, rows = self.stacked(teacher), self.data.task, self.data.rows["test"]
        if stacked is not None:
            self._write_stacked(file, outputs, stacked)
            return
        found = task.decode(outputs, self.test_rows.targets, teacher.get(DECISION, dict(self.data.labelling.decision)))
        write_predictions(file, rows, lambda index: task.to_fields(found, index))

    def _write_stacked(self, file: Path, outputs: FloatArray, stacked: StackedModel) -> None:
        targets, rows = self.test_rows.targets, self.data.rows["test"]
        write_stack_predictions(file, self.data.task, rows, targets, outputs, stacked)

    def save(self, chosen: Trial, example: dict[str, Any] | None) -> None:
        """Write the checkpoint of the chosen model, and log what it predicts for the example of the run, if any."""
        labelling = replace(self.data.labelling, decision=chosen.get(DECISION, self.data.labelling.decision))
        stacked = self.stacked(chosen)
        self._load(chosen)
        model = self.objective.model
        save_model_folder(
            self.folder.path / CHECKPOINT_NAME,
            model,
            self.tokenizer_folder,
            labelling,
            write_more=None if stacked is None else lambda partial: save_stacked(partial, stacked),
        )
        for notice in describe_native_head(model), describe_native_windows(model, labelling):
            if notice is not None:
                self.folder.log.write("notice", sentence=notice)
        if example:
            predicted = self.data.predict_example(model, dict(labelling.decision), example, stacked)
            self.folder.log.write("example", **predicted)


def _name(trial: Trial) -> str:
    """What tells candidates apart: the number of the trial, or that it is the mean of several."""
    return AVERAGED if AVERAGED in trial else str(trial["trial"])
