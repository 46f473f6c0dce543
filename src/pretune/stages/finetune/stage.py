"""Stage 5: a pre-trained model and prepared rows in; a classifier, or its control from scratch, out."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.compute.device import Compute, choose_compute, device_at_hand, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.data.labelled_rows import LabelledBatches
from pretune.data.masked_rows import special_ids
from pretune.data.targets import Targets
from pretune.errors import CorruptModelError, InputDataError, InterruptedByUserError, StoppedError
from pretune.model import cost
from pretune.model.config import ForeignConfig
from pretune.model.folder import LoadedModel, describe_native_head, load_model_folder, save_model_folder
from pretune.model.hub import local_folder
from pretune.model.transformer import SequenceClassifier, TaskModel, TokenClassifier, initialize
from pretune.model.weights import weights_file
from pretune.runtime.atomic import remove_folder
from pretune.runtime.interruption import StopFlag, stop_on_signals
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, check_hashes, hash_file, read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.runtime.randomness import derive_seed
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.scoring.metric_titles import write_metric
from pretune.scoring.row_statistics import describe_part
from pretune.settings import FinetuneConfig, to_identity
from pretune.stages.finetune.rows import make_batches, read_rows, texts_of, write_predictions
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.labelling import COLUMN_NAMES, Labelling
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, load_seen, save_seen
from pretune.text.tokenizer.rows import encode_rows
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.checkpoint import load_best
from pretune.training.finetuning_trial import DECISION, FinetuningTrial, Scores, TrialSettings, predict_outputs
from pretune.training.objective import TaskObjective
from pretune.training.parallel import Parallel
from pretune.training.trial_plan import FOREIGN_RATES, RATES, PlannedTrial, plan_trials

_SPLITS = ("train", "validation", "test")
_TRIALS_NAME = "checkpoints"
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

    `pretrained` is the folder of stage 3, any model folder, or `hf:OWNER/NAME`.

    With `config.from_scratch`, only the shape and the tokenizer of that model are used. Learning rates are tried with
    the first seed, and the best on validation is used for all seeds; the test rows are read once, at the end. The same
    call resumes after an interruption. The processes of a launch train together, unless only this one makes the call,
    with `alone`. Raises ModelNotFoundError or CorruptModelError for the model, InputDataError for the rows,
    InterruptedByUserError or StoppedError after a signal and a commit.
    """
    use_threads(config.threads)
    prepared = Path(prepared)
    source = read_manifest(prepared, "prepare")
    loaded = load_model_folder(model_folder_of(local_folder(pretrained)))
    stage, ranks = "scratch" if config.from_scratch else "finetune", ALONE if alone else join_ranks()
    inputs = {"pretrained": _fingerprint(loaded.path), "prepared": source.fingerprint}

    def open_folder() -> StageFolder:
        return open_stage(Path(out), stage, config=to_identity(config), inputs=inputs, redo=redo)

    folder = open_together(ranks, Path(out), open_folder)
    if folder.is_finished:
        if ranks.is_first:  # still there only if the stage was killed at the very end
            remove_folder(folder.path / _TRIALS_NAME)
        return folder.manifest
    try:
        ranks.answer(lambda: check_hashes(prepared, source), "comparing the rows")
        with stop_on_signals() as stop, ranks.naming_losses():
            _Finetuning(loaded, prepared, source, folder, config, ranks).run(stop)
    except InputDataError:
        # Refused before it began, so that the corrected command needs no --redo.
        if ranks.is_first and not (folder.path / _TRIALS_NAME).is_dir():
            folder.close()
            remove_folder(folder.path)
        raise
    finally:
        folder.close()
        ranks.close_group()
    return folder.manifest


def model_folder_of(path: Path) -> Path:
    """The model folder inside a stage folder, or the path itself if it is a model folder."""
    return path / "checkpoint" if (path / "checkpoint").is_dir() else path


def _fingerprint(folder: Path) -> str:
    manifest = folder / MANIFEST_NAME
    return hash_file(manifest if manifest.is_file() else weights_file(folder))


class _Finetuning:
    """One run of the stage: the trials in order, then the test rows once."""

    def __init__(
        self,
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
        self.compute = self._choose_compute()
        # A prediction must not read more of a text than training does.
        max_seq_len = source.summary.get("max_seq_len", loaded.config.max_seq_len)
        self.model_config = replace(loaded.config, max_seq_len=max_seq_len)
        labels = json.loads((prepared / "labels.json").read_text(encoding="utf-8"))
        self.task = task_named(labels["task"])
        self.rows = {split: read_rows(prepared / f"{split}.jsonl") for split in _SPLITS}
        self.labelling = Labelling(
            names=tuple(labels["names"]),
            task=self.task.name,
            output_names=tuple(self.task.output_names(labels["names"])),
            decision=self.task.prepare_decision(self.rows["train"]),
            columns={name: labels[name] for name in COLUMN_NAMES if name in labels},
        )
        self.tokenizer = load_tokenizer(loaded.tokenizer_path)
        if self.tokenizer.backend.to_str() != load_tokenizer(prepared).backend.to_str():
            raise InputDataError(
                f"{prepared} was encoded with a different tokenizer than that of {loaded.path}; run prepare with "
                f"--base {loaded.path.parent}."
            )
        self.is_foreign = isinstance(loaded.config, ForeignConfig)
        self.special = special_ids(self.tokenizer)
        self.metric: str = source.summary.get("early_stopping_metric", "accuracy")
        self.targets = {split: self._read_targets(split) for split in _SPLITS}
        # `prepare` found out from all rows whether the classes are imbalanced; macro-F1 and class weights depend on it.
        self.is_balanced = config.class_weights == "balanced" or (
            config.class_weights == "auto" and self.metric == "macro_f1"
        )
        self.planned_trials = plan_trials(
            rates=config.learning_rates or (FOREIGN_RATES if self.is_foreign else RATES),
            search_rows=config.search_rows,
            epochs=config.epochs,
            seeds=config.seeds,
            first_seed=config.seed,
            from_scratch=config.from_scratch,
            lengths=self._make_batches("train", config.seed).lengths,
        )
        self.validation = self._make_batches("validation", config.seed)
        self.test = self._make_batches("test", config.seed)

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
        chosen = max(reported, key=self._score)
        self.folder.log.write(
            "chosen",
            trial=chosen["trial"],
            learning_rate=chosen["learning_rate"],
            seed=chosen["seed"],
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
            metric=self.metric,
            is_search=planned.is_search,
            dtype=self.compute.dtype,
            device=self.compute.device,
        )
        model, train = self._make_model(planned.seed), self._make_batches("train", planned.seed, planned.num_rows)
        best = FinetuningTrial(
            model,
            train,
            self.validation,
            settings,
            task=self.task,
            folder=self._trial_folder(planned.trial),
            tokenizer_folder=self.loaded.tokenizer_path,
            labelling=self.labelling,
            log=self.folder.log,
            measure=self._measure_validation,
            parallel=Parallel(model, self.ranks),
            compute=self.compute.to_dict(),
            # As many as an earlier attempt ended with because a process ran out of memory.
            pieces=int(self.folder.manifest.summary.get("pieces", 1)),
            validation_weights=self._label_weights(train.targets, self.validation.targets)
            if self.is_balanced
            else None,
        ).run(stop)
        return {**vars(planned), **best}

    def _choose_compute(self) -> Compute:
        """The device of this process; precision as chosen by the first process."""
        own = choose_compute(precision=self.config.precision, compile="off", processes=self.ranks.size)
        precision = self.ranks.answer(lambda: own.precision, "the start")
        return replace(own, precision=precision)

    def _make_model(self, seed: int) -> TaskModel:
        """The network at the start of a trial: random, or pre-trained with a random head.

        A base with a head for the same task and labels keeps its head.
        """
        model = self._new_model()
        initialize(model, derive_seed(seed, "classifier"))
        if not self.config.from_scratch:
            base, labelling = self.loaded.model, self.loaded.labelling
            model.transformer.load_state_dict(base.transformer.state_dict())
            is_same = labelling is not None and (labelling.task, labelling.names) == (
                self.labelling.task,
                self.labelling.names,
            )
            if is_same and isinstance(base, TaskModel):
                model.classifier.load_state_dict(base.classifier.state_dict())
        return model.to(self.compute.device)

    def _new_model(self) -> TaskModel:
        kind = TokenClassifier if self.task.is_token_level else SequenceClassifier
        return kind(self.model_config, len(self.labelling.outputs))

    def _read_targets(self, split: str) -> Targets:
        return self.task.targets(
            self.rows[split],
            len(self.labelling.names),
            dict(self.labelling.decision),
            self.tokenizer,
            self.model_config.max_seq_len,
        )

    def _make_batches(self, split: str, seed: int, num_rows: int | None = None) -> LabelledBatches:
        return make_batches(
            self.prepared,
            split,
            self.targets[split],
            self.special,
            self.config,
            seed,
            label_weights=(lambda targets: self._label_weights(targets, targets)) if self.is_balanced else None,
            width_multiple=8 if self.compute.device == "cuda" else 1,
            num_rows=num_rows,
        )

    def _label_weights(self, train: Targets, targets: Targets) -> npt.NDArray[np.float32]:
        return self.task.label_weights(train, targets, len(self.labelling.outputs))

    def _measure_validation(self, logits: npt.NDArray[np.float64]) -> Scores:
        """The scores of outputs for the validation rows, with the decision that these rows choose."""
        decision = self.task.decide(logits, self.validation.targets, dict(self.labelling.decision))
        scores = self._measure(logits, "validation", decision)
        return {**scores, DECISION: decision} if decision else scores

    def _measure(self, logits: npt.NDArray[np.float64], split: str, decision: dict[str, Any]) -> Scores:
        names, targets = self.labelling.names, self.targets[split]
        true = self.task.true_values(self.rows[split], names)
        figures = self.task.figures(true, self.task.decode(logits, targets, decision), names)
        figures["loss"] = float(self.task.score_targets(logits, targets)[0].mean())
        return {name: value for name, value in figures.items() if not isinstance(value, list) or len(value) == 2}

    def _score(self, trial: dict[str, Any]) -> tuple[float, float]:
        return trial[self.metric], -trial["loss"]

    def _trial_folder(self, number: int) -> Path:
        return self.folder.path / _TRIALS_NAME / f"trial-{number:02d}"

    # -- the test rows, once -------------------------------------------------------------------------------------

    def _test(self, reported: list[dict[str, Any]], chosen: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of each seed on the test rows, which only the first process reads."""
        (self.folder.path / "predictions").mkdir(exist_ok=True)
        model = self._new_model().to(self.compute.device)
        objective = TaskObjective(model, self.task.losses, torch.float32, compiled=False)
        tests: list[dict[str, Any]] = []
        if not len(self.test.targets):
            self.folder.log.write("notice", sentence="There are no test rows, so there are results on validation only.")
        for trial in [t for t in reported if t is not chosen] + [chosen]:  # the chosen weights stay in the model
            model.load_state_dict(load_best(self._trial_folder(trial["trial"])))
            if len(self.test.targets):
                tests.append(self._log_test(trial, predict_outputs(objective, self.test, self.compute.device)))
        labelling = replace(self.labelling, decision=chosen.get(DECISION, self.labelling.decision))
        save_model_folder(self.folder.path / "checkpoint", model, self.loaded.tokenizer_path, labelling)
        if (notice := describe_native_head(model)) is not None:
            self.folder.log.write("notice", sentence=notice)
        self._write_example(model, dict(labelling.decision))
        return tests

    def _log_test(self, trial: dict[str, Any], logits: npt.NDArray[np.float64]) -> dict[str, Any]:
        """Write the predictions of one seed, and log its figures, on all rows and on each slice."""
        task, names, rows = self.task, self.labelling.names, self.rows["test"]
        decision = trial.get(DECISION, dict(self.labelling.decision))
        outputs, true = task.decode(logits, self.test.targets, decision), task.true_values(rows, names)
        target = self.folder.path / "predictions" / f"seed-{trial['seed']}.jsonl"
        write_predictions(target, rows, lambda index: task.to_fields(outputs, index))
        figures = {"trial": trial["trial"], "seed": trial["seed"], **self._measure(logits, "test", decision)}
        slices = np.array([row.get("slice", "") for row in rows])
        named = [name for name in sorted(set(slices.tolist())) if name]
        if named:
            statistics = task.statistics(task.usual_metric, true, outputs, names)
            figures["slices"] = {name: describe_part([statistics.select(slices == name)]) for name in named}
        self.folder.log.write("test", **figures)
        return figures

    def _write_example(self, model: TaskModel, decision: dict[str, Any]) -> None:
        example = self.source.summary.get("example")
        if not example:
            return
        line = {**example, "text": clean_text(example["text"])}
        [ids], _ = encode_rows(self.tokenizer, [(line["text"], line.get("text_pair"))], self.model_config.max_seq_len)
        targets = self.task.places([line], self.tokenizer, self.model_config.max_seq_len)
        input_ids = torch.tensor([ids], device=self.compute.device)
        with torch.no_grad():
            logits = model(input_ids, torch.zeros_like(input_ids))[0].float().cpu().double().numpy()
        outputs = self.task.decode(logits[None] if logits.ndim == 1 else logits[targets.positions], targets, decision)
        found = self.task.to_prediction(outputs, 0, self.labelling.names, example["text"], example.get("text_pair"))
        self.folder.log.write(
            "example",
            text=example["text"],
            label=example["label"],
            predicted=found.label,
            probability=found.probability,
        )

    # -- logging -------------------------------------------------------------------------------------------------

    def _log_start(self) -> None:
        log, config = self.folder.log, self.config
        log.write(
            "stage_started",
            config=to_identity(config),
            inputs=self.folder.manifest.inputs,
            synthetic=self.source.summary.get("synthetic", False),
        )
        if self.loaded.notice is not None:
            log.write("notice", sentence=self.loaded.notice)
        references = self.task.references(
            self.targets["train"], self.targets["validation"], len(self.labelling.outputs)
        )
        log.write("references", **references)
        if self.is_balanced:
            sentence = (
                "The classes are imbalanced, so rows of rare classes have larger weights in training. The training "
                "loss is therefore on a different scale than the validation loss, and they are not shown on one axis."
            )
            log.write("notice", sentence=sentence)
        if self.metric == "macro_f1":
            log.write(
                "notice",
                sentence="Early stopping uses macro-F1 on validation, which gives every class the same weight.",
            )

    def _describe_choice(self, chosen: dict[str, Any], reported: list[dict[str, Any]]) -> str:
        best_of = f", the best of {len(reported)} seeds" if len(reported) > 1 else ""
        shown = write_metric(self.metric, chosen[self.metric])
        return (
            f"Chosen: learning rate {chosen['learning_rate']:g}, seed {chosen['seed']}{best_of} "
            f"(validation {shown} at epoch {chosen['epoch']:g})."
        )

    def _finish(self, trials: list[dict[str, Any]], chosen: dict[str, Any], tests: list[dict[str, Any]]) -> None:
        seconds = time.monotonic() - self.start
        peak = peak_memory_bytes()
        self.folder.log.write(
            "flow",
            shape_in=[{"name": f"{split} rows", "value": len(self.rows[split])} for split in _SPLITS]
            + [{"name": "parameters", "value": self._count_parameters()}],
            shape_out=[
                {"name": "classes", "value": len(self.labelling.names)},
                {"name": "trial" if len(trials) == 1 else "trials", "value": len(trials)},
            ],
            dropped=[],
            seconds=seconds,
            peak_memory_bytes=peak,
        )
        self.folder.log.write("stage_finished", seconds=seconds, peak_memory_bytes=peak)
        if self.ranks.is_first:
            self._save_seen()
        self.folder.finish(
            chosen=chosen,
            tests=tests,
            label_names=list(self.labelling.names),
            synthetic=self.source.summary.get("synthetic", False),
            spent_seconds=None,  # it is in the log; the summaries of two equal runs are equal
        )
        if self.ranks.is_first:  # last, because a run resumed just before reads from it
            remove_folder(self._trial_folder(0).parent)

    def _count_parameters(self) -> int:
        if not self.is_foreign:
            return cost.count_parameters(self.model_config)
        return sum(parameter.numel() for parameter in self.loaded.model.transformer.parameters())

    def _save_seen(self) -> None:
        """Record the texts that the new model was trained on: those of its base, if any, and its own rows."""
        texts, before = [text for row in self.rows["train"] for text in texts_of(row)], None
        if self.config.from_scratch:
            save_seen(self.folder.path, PRETRAINING)
        else:
            hand_on_seen(self.loaded.path, self.folder.path, PRETRAINING)
            before = load_seen(self.loaded.path, TRAINING)
        save_seen(self.folder.path, TRAINING, texts, None if before is None else before.hashes)
