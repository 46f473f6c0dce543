"""Stage 5: a pre-trained model and prepared rows in; a classifier, or its control from scratch, out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.compute.device import device_at_hand, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.errors import CorruptModelError, InterruptedByUserError, StoppedError
from pretune.model import cost
from pretune.model.base_folder import CHECKPOINT_NAME, fingerprint_of
from pretune.model.config import ForeignConfig
from pretune.model.folder import (
    LoadedModel,
    describe_native_head,
    describe_native_windows,
    load_model_folder,
    save_model_folder,
)
from pretune.model.hub import local_folder
from pretune.runtime.atomic import remove_folder
from pretune.runtime.interruption import StopFlag
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, check_hashes, hash_file, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.scoring.metric_titles import write_metric
from pretune.scoring.prediction_files import AVERAGED_PREDICTIONS, PREDICTIONS, STACK_PREDICTIONS
from pretune.scoring.stacked_model import StackedModel, save_stacked
from pretune.settings import LATE, FinetuneConfig, to_identity
from pretune.stages.finetune.delivered import AVERAGED, average_seeds, delivered_weights, describe_delivered
from pretune.stages.finetune.notices import starting_notices
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.rows import texts_of
from pretune.stages.finetune.stacking import can_stack, train_stack, write_stack_predictions
from pretune.stages.finetune.starting_weights import StartingWeights
from pretune.text.chat.prepared_folder import refuse_conversations
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, join_pair, join_seen, load_seen, save_seen
from pretune.text.splits import SPLITS
from pretune.training.checkpoint import load_best
from pretune.training.finetuning_trial import DECISION, FinetuningTrial, TrialSettings, predict_outputs
from pretune.training.objective import TaskObjective
from pretune.training.parallel import Parallel
from pretune.training.training_stage import (
    CHECKPOINTS,
    at_training,
    choose_compute_together,
    finish_together,
    noted_split,
)
from pretune.training.trial_plan import PlannedTrial, default_rates, plan_trials

_HANG_SECONDS = 60.0  # a process that the others wait for longer counts as hung


def finetune(
    pretrained: Path,
    prepared: Path,
    out: Path,
    config: FinetuneConfig = FinetuneConfig(),
    *,
    redo: bool = False,
    alone: bool = False,
) -> Manifest:
    """Train a classifier on the rows in `prepared`, starting from the model in `pretrained`, into `out/checkpoint`.

    `pretrained` is the folder of stage 3, any model folder, a GGUF file, or `hf:OWNER/NAME`.

    With `config.from_scratch`, only the shape and the tokenizer of that model are used. Learning rates are tried with
    the first seed, and the best on validation is used for all seeds; with fewer than 200 validation rows, training
    chooses no epoch and no seed on them, and a rate only if several are given (see `pretune.training.few_labels`). The
    test rows are read once, at the end. The same call resumes after an interruption, also with another `config.stack`,
    which acts after all training. The processes of a launch train together, unless only this one makes the call, with
    `alone`. Raises ModelNotFoundError or CorruptModelError for the model, InputDataError for the rows, UsageError for
    conversations and for a pattern or label words that do not work, InterruptedByUserError or StoppedError after a
    signal and a commit.
    """
    use_threads(config.threads)
    prepared = Path(prepared)
    source = read_manifest(prepared, "prepare")
    refuse_conversations(prepared, source, "To train on conversations, use pretune.tune_chat or `pretune finetune`.")
    loaded = load_model_folder(model_folder_of(local_folder(pretrained)))
    stage, ranks = "scratch" if config.from_scratch else "finetune", ALONE if alone else join_ranks()
    inputs = {"pretrained": _fingerprint(loaded.path), "prepared": source.fingerprint}

    def open_folder() -> StageFolder:
        return open_stage(Path(out), stage, config=to_identity(config), inputs=inputs, redo=redo, late=LATE)

    folder = open_together(ranks, Path(out), open_folder)
    if folder.is_finished:
        if ranks.is_first:  # still there only if the stage was killed at the very end
            remove_folder(folder.path / CHECKPOINTS)
        return folder.manifest
    with at_training(folder, ranks, lambda: check_hashes(prepared, source)) as stop:
        _Finetuning(Path(pretrained), loaded, prepared, source, folder, config, ranks).run(stop)
    return folder.manifest


def model_folder_of(path: Path) -> Path:
    """The model folder inside a stage folder, or the path itself if it is a model folder."""
    return path / CHECKPOINT_NAME if (path / CHECKPOINT_NAME).is_dir() else path


def _fingerprint(folder: Path) -> str:
    """The identity of a model folder: its manifest has the hashes of its files, unless it was made elsewhere."""
    manifest = folder / MANIFEST_NAME
    return hash_file(manifest) if manifest.is_file() else fingerprint_of(folder)


class _Finetuning:
    """One run of the stage: the trials in order, then the test rows once."""

    def __init__(
        self,
        given: Path,
        loaded: LoadedModel,
        prepared: Path,
        source: Manifest,
        folder: StageFolder,
        config: FinetuneConfig,
        ranks: Ranks,
    ) -> None:
        ranks.open_group(device_at_hand(), _HANG_SECONDS, keep_note=lambda note: folder.note(**note))
        self.start = time.monotonic() - (folder.manifest.summary.get("spent_seconds") or 0.0)
        self.loaded, self.prepared, self.source, self.folder = loaded, prepared, source, folder
        self.config, self.ranks = config, ranks
        self.compute = choose_compute_together(ranks, config.precision)
        width = 8 if self.compute.device == "cuda" else 1
        self.data = data = PreparedRows(prepared, source, loaded, config, width_multiple=width, given=given)
        self.model_config = replace(loaded.config, max_seq_len=data.max_seq_len)
        self.start_weights = StartingWeights(
            loaded,
            self.data.labelling,
            self.model_config,
            self.compute.device,
            from_scratch=config.from_scratch,
            shared_seed=None if config.from_scratch else config.seed,
            fits_head=not self.data.is_picking,
            is_balanced=self.data.is_balanced,
            read_train=lambda: self.data.batches("train", config.seed).data,
            window_rule=self.data.window_rule,
        )
        self.planned_trials = plan_trials(
            rates=config.learning_rates or default_rates(loaded.config),
            search_rows=config.search_rows,
            epochs=config.epochs,
            seeds=config.seeds,
            first_seed=config.seed,
            from_scratch=config.from_scratch,
            lengths=self.data.batches("train", config.seed).lengths,
            updates=config.updates,
            batch_size=config.batch_size,
            is_searching=self.data.is_picking or config.learning_rates is not None,
            reads_windows=self.data.window_rule is not None,
        )
        self.validation = self.data.batches("validation", config.seed)
        self.test = self.data.batches("test", config.seed)

    def run(self, stop: StopFlag) -> None:
        """Run all trials, choose one, and test."""
        trials = self.ranks.answer(self._trials_done, "the trials that are done")
        if not self.ranks.answer(self._trial_folder(0).parent.is_dir, "the trials that have begun"):
            if self.folder.is_resumed:
                self.folder.log.write("resumed", from_step=0)
            self._log_start()
        elif len(trials) == len(self.planned_trials):  # the steps after the last trial run again
            self.folder.log.write("resumed", trial=len(trials), from_step=0)
        for planned in self.planned_trials[len(trials) :]:
            rate = planned.learning_rate or max(trials, key=self._score)["learning_rate"]
            try:
                trials.append(self._run_trial(replace(planned, learning_rate=rate), stop))
            except (InterruptedByUserError, StoppedError):
                self._note(trials)
                raise
            self._note(trials)
        reported = [trial for trial in trials if not trial["is_search"]]
        chosen = self._choose(reported)
        self.folder.log.write(
            "chosen",
            trial=chosen["trial"],
            learning_rate=chosen["learning_rate"],
            seed=chosen["seed"],
            **{name: chosen[name] for name in (AVERAGED,) if name in chosen},
            sentence=self._describe_choice(chosen, reported),
        )
        tests = self.ranks.answer(lambda: self._test(reported, chosen), "the test")
        self._finish(trials, chosen, tests)

    def _trials_done(self) -> list[dict[str, Any]]:
        """The finished trials of earlier attempts, before the first whose weights are needed but damaged.

        That one resumes from an older checkpoint, and later ones start over.
        """
        trials = list(self.folder.manifest.summary.get("trials", []))
        for number, trial in enumerate(trials):
            if trial["is_search"]:
                continue
            try:
                load_best(self._trial_folder(number))
            except CorruptModelError:
                for later in range(number + 1, len(self.planned_trials)):
                    remove_folder(self._trial_folder(later))
                self._note(trials[:number])
                return trials[:number]
        return trials

    def _note(self, trials: list[dict[str, Any]]) -> None:
        """Record the finished trials and the time spent, from which the next attempt resumes."""
        self.folder.note(trials=trials, spent_seconds=time.monotonic() - self.start)

    # -- trials --------------------------------------------------------------------------------------------------

    def _run_trial(self, planned: PlannedTrial, stop: StopFlag) -> dict[str, Any]:
        settings = TrialSettings(
            trial=planned.trial,
            learning_rate=planned.learning_rate,
            seed=planned.seed,
            epochs=planned.epochs,
            patience=self.config.patience,
            weight_decay=self.config.weight_decay,
            metric=self.data.metric,
            is_search=planned.is_search,
            updates=planned.updates,
            keeps_last=not self.data.is_picking and not planned.is_search,
            dtype=self.compute.dtype,
            device=self.compute.device,
        )
        model, train = (
            self.start_weights.make(planned.seed),
            self.data.batches("train", planned.seed, planned.num_rows),
        )
        best = FinetuningTrial(
            model,
            train,
            self.validation,
            settings,
            task=self.data.task,
            folder=self._trial_folder(planned.trial),
            tokenizer_folder=self.loaded.tokenizer_path,
            labelling=self.data.labelling,
            log=self.folder.log,
            measure=self.data.measure_validation,
            parallel=Parallel(model, self.ranks),
            compute=self.compute.to_dict(),
            split_count=noted_split(self.folder),
            validation_weights=self.data.validation_weights(train.targets),
            validation_groups=self.data.groups["validation"],
        ).run(stop)
        return {**vars(planned), **best}

    def _choose(self, reported: list[dict[str, Any]]) -> dict[str, Any]:
        """The trial to deliver, or the mean of all."""
        single = max(reported, key=self._score) if self.data.is_picking else reported[-1]
        if len(reported) == 1 or self.config.from_scratch:  # from scratch, the seeds start from different weights
            return single
        model = self.start_weights.new_model()
        objective = TaskObjective(model, self.data.task.losses, torch.float32, compiled=False)
        return self.ranks.answer(
            lambda: average_seeds(
                reported,
                single,
                self._trial_folder,
                objective,
                self.validation,
                self.data.groups["validation"],
                self.data.task,
                self.data.measure_validation,
                self._score if self.data.is_picking else None,
            ),
            "the mean of the seeds",
        )

    def _score(self, trial: dict[str, Any]) -> tuple[float, float]:
        return trial[self.data.metric], -trial["loss"]

    def _trial_folder(self, number: int) -> Path:
        return self.folder.path / CHECKPOINTS / f"trial-{number:02d}"

    # -- the test rows, once -------------------------------------------------------------------------------------

    def _test(self, reported: list[dict[str, Any]], chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """The results on the test rows, which only the first process reads: of each seed, and of their mean if that is
        delivered."""
        folder = self.folder.path / PREDICTIONS
        folder.mkdir(exist_ok=True)
        for name in (AVERAGED_PREDICTIONS, STACK_PREDICTIONS):  # of an attempt before this one
            (folder / name).unlink(missing_ok=True)
        model = self.start_weights.new_model()
        objective = TaskObjective(model, self.data.task.losses, torch.float32, compiled=False)
        tests: list[dict[str, Any]] = []
        if not len(self.test.targets):
            self.folder.log.write("notice", sentence="There are no test rows, so there are results on validation only.")
        logits = None
        others = [t for t in reported if AVERAGED in chosen or t["trial"] != chosen["trial"]]
        for trial in [*others, chosen]:  # the chosen weights stay in the model
            model.load_state_dict(delivered_weights(trial, self._trial_folder))
            if len(self.test.targets):
                logits = predict_outputs(objective, self.test, self.compute.device)
                tests.append(self.data.test(trial, logits, folder))
                self.folder.log.write("test", **tests[-1])
        labelling = replace(self.data.labelling, decision=chosen.get(DECISION, self.data.labelling.decision))
        stacked = self._stack(objective, logits)
        save_model_folder(
            self.folder.path / CHECKPOINT_NAME,
            model,
            self.loaded.tokenizer_path,
            labelling,
            write_more=None if stacked is None else lambda partial: save_stacked(partial, stacked),
        )
        for notice in describe_native_head(model), describe_native_windows(model, labelling):
            if notice is not None:
                self.folder.log.write("notice", sentence=notice)
        if example := self.source.summary.get("example"):
            predicted = self.data.predict_example(model, dict(labelling.decision), example, stacked)
            self.folder.log.write("example", **predicted)
        return tests

    def _stack(self, objective: TaskObjective, test_logits: npt.NDArray[np.float64] | None) -> StackedModel | None:
        """The linear models that are stacked on the chosen weights, if that is better on validation."""
        if not can_stack(self.config):
            return None
        logits = predict_outputs(objective, self.validation, self.compute.device)
        stacked = train_stack(
            self.folder,
            self.data.task,
            self.data.labelling,
            self.data.rows,
            logits,
            self.validation.targets,
            self.data.metric,
        )
        if stacked is not None and test_logits is not None:
            write_stack_predictions(
                self.folder.path / PREDICTIONS,
                self.data.task,
                self.data.rows["test"],
                self.test.targets,
                test_logits,
                stacked,
            )
        return stacked

    # -- logging -------------------------------------------------------------------------------------------------

    def _log_start(self) -> None:
        log, config = self.folder.log, self.config
        log.write(
            "stage_started",
            config=to_identity(config),
            inputs=self.folder.manifest.inputs,
            synthetic=self.source.summary.get("synthetic", False),
        )
        references = self.data.task.references(
            self.data.targets["train"], self.data.targets["validation"], len(self.data.labelling.outputs)
        )
        log.write("references", **references)
        for sentence in starting_notices(self.loaded, self.data, config, self.planned_trials):
            log.write("notice", sentence=sentence)

    def _describe_choice(self, chosen: dict[str, Any], reported: list[dict[str, Any]]) -> str:
        shown, single = (
            write_metric(self.data.metric, trial[self.data.metric])
            for trial in (chosen, max(reported, key=self._score))
        )
        num_rows = None if self.data.is_picking else len(self.data.rows["validation"])
        return describe_delivered(chosen, len(reported), num_rows, shown, single)

    def _finish(self, trials: list[dict[str, Any]], chosen: dict[str, Any], tests: list[dict[str, Any]]) -> None:
        num_rows = {f"{split} rows": len(self.data.rows[split]) for split in SPLITS}
        self.folder.log_flow(
            {**num_rows, "parameters": self._count_parameters()},
            {self.data.task.counted_as: len(self.data.labelling.names), "trials": len(trials)},
            seconds=time.monotonic() - self.start,
        )
        finish_together(
            self.ranks,
            self.folder,
            self._save_seen,
            leftovers=self._trial_folder(0).parent,  # last, because a run resumed just before reads from it
            chosen=chosen,
            tests=tests,
            label_names=list(self.data.labelling.names),
            synthetic=self.source.summary.get("synthetic", False),
            spent_seconds=None,  # it is in the log; the summaries of two equal runs are equal
        )

    def _count_parameters(self) -> int:
        if not isinstance(self.loaded.config, ForeignConfig):
            return cost.count_parameters(self.model_config)
        return sum(parameter.numel() for parameter in self.loaded.model.transformer.parameters())

    def _save_seen(self) -> None:
        """Record the texts that the new model was trained on: those of its base, if any, and its own rows."""
        rows = [texts_of(row) for row in self.data.rows["train"]]
        texts = [join_pair(*row) if len(row) == 2 else row[0] for row in rows]
        before = None
        if self.config.from_scratch:
            save_seen(self.folder.path, PRETRAINING)
        else:
            hand_on_seen(self.loaded.path, self.folder.path, PRETRAINING)
            before = load_seen(self.loaded.path, TRAINING)
        known = join_seen(before, load_seen(self.prepared, TRAINING))
        save_seen(
            self.folder.path,
            TRAINING,
            texts,
            [] if known is None else [known.hashes],
            is_complete=before is None or before.is_complete,
        )
