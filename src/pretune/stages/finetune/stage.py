"""Stage 5: a pre-trained model and prepared rows in; a classifier, or its control from scratch, out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretune.compute.device import device_at_hand, use_threads
from pretune.compute.ranks import ALONE, Ranks, join_ranks, open_together
from pretune.data.labelled_rows import LabelledBatches
from pretune.errors import CorruptModelError, InterruptedByUserError, StoppedError
from pretune.model import cost
from pretune.model.base_folder import CHECKPOINT_NAME, fingerprint_of
from pretune.model.config import ForeignConfig
from pretune.model.folder import LoadedModel, load_model_folder
from pretune.model.hub import local_folder
from pretune.runtime.atomic import remove_folder
from pretune.runtime.interruption import StopFlag
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, check_hashes, hash_file, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.scoring.metric_titles import write_metric
from pretune.settings import LATE, FinetuneConfig, to_identity
from pretune.stages.finetune.candidates import Candidates
from pretune.stages.finetune.corpus_sentences import choose_corpus
from pretune.stages.finetune.delivered import AVERAGED, STUDENT, describe_delivered
from pretune.stages.finetune.notices import starting_notices
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.rows import texts_of
from pretune.stages.finetune.self_training import EVALUATIONS, PSEUDO_LABELS, student_batches
from pretune.stages.finetune.starting_weights import StartingWeights
from pretune.tasks.task import refuse_self_training
from pretune.text.chat.prepared_folder import refuse_conversations
from pretune.text.document_store import CORPUS_ENDING
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, join_pair, join_seen, load_seen, save_seen
from pretune.text.splits import SPLITS
from pretune.training.checkpoint import load_best
from pretune.training.finetuning_trial import FinetuningTrial, TrialSettings
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
    corpus: Path | None = None,
    redo: bool = False,
    alone: bool = False,
) -> Manifest:
    """Train a classifier on the rows in `prepared`, starting from the model in `pretrained`, into `out/checkpoint`.

    `pretrained` is the folder of stage 3, any model folder, a GGUF file, or `hf:OWNER/NAME`.

    Learning rates are tried with the first seed, and the best on validation is used for all seeds; with fewer than 200
    validation rows, training chooses no epoch and no seed on them, and a rate only if several are given (see
    `pretune.training.few_labels`). The test rows are read once, at the end. With `config.from_scratch`, only the shape
    and the tokenizer of the model are used. With `config.self_train`, the result labels sentences of the `corpus`, an
    output folder of preprocess or its run, and a student learns from these, too; without a `corpus`, it is that of the
    run of the model. A corpus of no use is refused before any training.

    The same call resumes after an interruption, also with another `config.stack`, which acts after all training unless
    the corpus is labelled. The processes of a launch train together, unless only this one makes the call, with `alone`.
    Raises ModelNotFoundError or CorruptModelError for the model, InputDataError for the rows, UsageError for
    conversations, for a pattern or label words that do not work, and for a corpus that is not found or of no use,
    InterruptedByUserError or StoppedError after a signal and a commit.
    """
    use_threads(config.threads)
    prepared = Path(prepared)
    source = read_manifest(prepared, "prepare")
    refuse_conversations(prepared, source, "To train on conversations, use pretune.tune_chat or `pretune finetune`.")
    loaded = load_model_folder(model_folder_of(local_folder(pretrained)))
    stage, ranks = "scratch" if config.from_scratch else "finetune", ALONE if alone else join_ranks()
    inputs = {"pretrained": _fingerprint(loaded.path), "prepared": source.fingerprint}
    if (corpus := choose_corpus(Path(pretrained), corpus, config)) is not None:
        inputs["corpus"] = read_manifest(corpus, "preprocess").fingerprint

    def open_folder() -> StageFolder:
        late = () if config.self_train else LATE  # linear models take part in labelling the corpus
        return open_stage(Path(out), stage, config=to_identity(config), inputs=inputs, redo=redo, late=late)

    folder = open_together(ranks, Path(out), open_folder)
    if folder.is_finished:
        if ranks.is_first:  # still there only if the stage was killed at the very end
            remove_folder(folder.path / CHECKPOINTS)
        return folder.manifest

    def check_inputs() -> None:
        check_hashes(prepared, source)
        if corpus is not None:
            check_hashes(corpus, read_manifest(corpus, "preprocess"), (CORPUS_ENDING,))

    with at_training(folder, ranks, check_inputs) as stop:
        _Finetuning(Path(pretrained), loaded, prepared, source, folder, config, ranks, corpus).run(stop)
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
        corpus: Path | None,
    ) -> None:
        ranks.open_group(device_at_hand(), _HANG_SECONDS, keep_note=lambda note: folder.note(**note))
        self.start = time.monotonic() - (folder.manifest.summary.get("spent_seconds") or 0.0)
        self.loaded, self.prepared, self.source, self.folder = loaded, prepared, source, folder
        self.config, self.ranks, self.corpus = config, ranks, corpus
        self.compute = choose_compute_together(ranks, config.precision)
        width = 8 if self.compute.device == "cuda" else 1
        self.data = data = PreparedRows(prepared, source, loaded, config, width_multiple=width, given=given)
        if corpus is not None:
            texts = [row["text"] for row in data.rows["validation"]]
            refuse_self_training(data.task, texts, has_pairs=data.labelling.has_pairs)
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
        self.candidates = Candidates(
            folder=folder,
            data=self.data,
            config=config,
            start_weights=self.start_weights,
            device=self.compute.device,
            tokenizer_folder=loaded.tokenizer_path,
            validation=self.validation,
            test_rows=self.data.batches("test", config.seed),
            folder_of=self._trial_folder,
        )

    def run(self, stop: StopFlag) -> None:
        """Run all trials, choose one, and test."""
        trials = self.ranks.answer(self._trials_done, "the trials that are done")
        if (corpus := self.corpus) is not None:
            self.ranks.answer(lambda: self.candidates.read_corpus(corpus), "reading the corpus")
        if not self.ranks.answer(self._trial_folder(0).parent.is_dir, "the trials that have begun"):
            if self.folder.is_resumed:
                self.folder.log.write("resumed", from_step=0)
            self._log_start()
        elif len(trials) >= len(self.planned_trials) and not self._has_begun(len(trials)):
            self.folder.log.write("resumed", trial=len(trials), from_step=0)  # what follows the last trial runs again
        with self._noting(trials):
            for planned in self.planned_trials[len(trials) :]:
                rate = planned.learning_rate or max(trials, key=self.candidates.score)["learning_rate"]
                trials.append(self._run_trial(replace(planned, learning_rate=rate), stop))
                self._note(trials)
            reported = [trial for trial in trials if not trial["is_search"] and not trial.get(STUDENT)]
            chosen = teacher = self.ranks.answer(lambda: self.candidates.choose(reported), "the mean of the seeds")
            if self.corpus is not None:
                chosen = self._self_train(trials, teacher, stop)
        self.folder.log.write(
            "chosen",
            trial=chosen["trial"],
            learning_rate=chosen["learning_rate"],
            seed=chosen["seed"],
            **{name: chosen[name] for name in (AVERAGED, STUDENT) if name in chosen},
            sentence=self._describe_choice(chosen, reported if chosen is teacher else [teacher]),
        )
        tests = self.ranks.answer(lambda: self._conclude(reported, chosen, teacher), "the test")
        self._finish(trials, chosen, tests)

    def _self_train(self, trials: list[dict[str, Any]], teacher: dict[str, Any], stop: StopFlag) -> dict[str, Any]:
        """Let the teacher label sentences of the corpus, and train a student; returns the better of the two.

        The labels are written once, so that an interrupted student resumes with the same ones.
        """
        written = self.folder.path / PSEUDO_LABELS
        if not self.ranks.answer(written.is_file, "the labels of the corpus"):
            given = teacher, len(self.planned_trials), stop
            self.ranks.answer(lambda: self.candidates.label_corpus(*given), "labelling the corpus")
        student = next((trial for trial in trials if trial.get(STUDENT)), None)
        if student is None:
            student = self._run_student(self._student_rate(teacher), stop)
            trials.append(student)
            self._note(trials)
        if self.ranks.answer(lambda: self.candidates.prefers(student, teacher), "the choice of the student"):
            return student
        sentence = "The student is worse on validation than the model that labelled the corpus, so it is not delivered."
        self.folder.log.write("notice", sentence=sentence)
        return teacher

    def _student_rate(self, teacher: dict[str, Any]) -> float:
        """The rate that was chosen for the teacher; if none was, because there are few rows, a usual one for the many
        rows of a student, between those that would be tried."""
        if self.data.is_picking or self.config.learning_rates is not None:
            return float(teacher["learning_rate"])
        tried = default_rates(self.loaded.config)
        return float(f"{math.prod(tried) ** (1 / len(tried)):.1g}")

    def _run_student(self, learning_rate: float, stop: StopFlag) -> dict[str, Any]:
        batches = student_batches(self.folder.path, self.data, self.config.seed)
        planned = PlannedTrial(
            trial=len(self.planned_trials),
            learning_rate=learning_rate,
            seed=self.config.seed,
            epochs=1,
            num_rows=len(batches.data),
            is_search=False,
        )
        return {**self._run_trial(planned, stop, student=batches), STUDENT: True}

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
                for later in range(number + 1, len(self.planned_trials) + 1):  # a student comes after all others
                    remove_folder(self._trial_folder(later))
                if number < len(self.planned_trials):  # of the teacher, which labels the corpus again
                    (self.folder.path / PSEUDO_LABELS).unlink(missing_ok=True)
                self._note(trials[:number])
                return trials[:number]
        return trials

    def _has_begun(self, number: int) -> bool:
        """Whether a trial, such as a student, has begun and is not finished; it logs itself where it resumes."""
        return self.ranks.answer(self._trial_folder(number).is_dir, "the trials that have begun")

    @contextmanager
    def _noting(self, trials: list[dict[str, Any]]) -> Iterator[None]:
        """A block of training; the time spent on what is stopped in it counts, too."""
        try:
            yield
        except (InterruptedByUserError, StoppedError):
            self._note(trials)
            raise

    def _note(self, trials: list[dict[str, Any]]) -> None:
        """Record the finished trials and the time spent, from which the next attempt resumes."""
        self.folder.note(trials=trials, spent_seconds=time.monotonic() - self.start)

    # -- trials --------------------------------------------------------------------------------------------------

    def _run_trial(
        self, planned: PlannedTrial, stop: StopFlag, *, student: LabelledBatches | None = None
    ) -> dict[str, Any]:
        """Train on the labelled rows, or on those of a student."""
        train = student or self.data.batches("train", planned.seed, planned.num_rows)
        settings = TrialSettings(
            trial=planned.trial,
            learning_rate=planned.learning_rate,
            seed=planned.seed,
            epochs=planned.epochs,
            patience=self.config.patience if student is None else EVALUATIONS,
            weight_decay=self.config.weight_decay,
            metric=self.data.metric,
            is_search=planned.is_search,
            updates=planned.updates,
            keeps_last=not self.data.is_picking and not planned.is_search,
            dtype=self.compute.dtype,
            device=self.compute.device,
            evaluations=None if student is None else EVALUATIONS,
            is_student=student is not None,
        )
        model = self.start_weights.make(planned.seed)
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
            validation_weights=self.data.validation_weights(
                self.data.targets["train"] if student is not None else train.targets
            ),
            validation_groups=self.data.groups["validation"],
        ).run(stop)
        return {**vars(planned), **best}

    def _trial_folder(self, number: int) -> Path:
        return self.folder.path / CHECKPOINTS / f"trial-{number:02d}"

    def _conclude(
        self, reported: list[dict[str, Any]], chosen: dict[str, Any], teacher: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Read the test rows, once, and write the checkpoint."""
        tests = self.candidates.test(reported, chosen, teacher)
        self.candidates.save(chosen, self.source.summary.get("example"))
        return tests

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
            for trial in (chosen, max(reported, key=self.candidates.score))
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
            lambda: self._save_seen(chosen),
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

    def _save_seen(self, chosen: dict[str, Any]) -> None:
        """Record the texts that the new model was trained on: those of its base, if any, and its own rows; of a student
        also its sentences."""
        rows = [texts_of(row) for row in self.data.rows["train"]]
        texts = [join_pair(*row) if len(row) == 2 else row[0] for row in rows]
        before = None
        if self.config.from_scratch:
            save_seen(self.folder.path, PRETRAINING)
        else:
            if chosen.get(STUDENT):
                self._save_seen_sentences()
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

    def _save_seen_sentences(self) -> None:
        """Record the sentences of the corpus with the pre-training text of the base: they have no true labels."""
        before = load_seen(self.loaded.path, PRETRAINING)
        save_seen(
            self.folder.path,
            PRETRAINING,
            [line["text"] for line in read_json_lines(self.folder.path / PSEUDO_LABELS)],
            [] if before is None else [before.hashes],
            is_complete=before is not None and before.is_complete,
        )
