"""Stage 3: token shards in, a model that predicts missing words out; with its trace, and exact under interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch

from pretune.compute.device import Compute, choose_compute
from pretune.data.batch import Batch
from pretune.data.corpus import Corpus
from pretune.data.pretraining import special_ids
from pretune.data.word_vectors import build_word_vectors
from pretune.errors import InputDataError
from pretune.evaluation.uncertainty import wilson_interval
from pretune.model import cost
from pretune.model.config import PRESETS, ModelConfig, with_special_tokens
from pretune.model.folder import save_model_folder
from pretune.model.transformer import INITIAL_DEVIATION, LanguageModel, initialize
from pretune.runtime.artifacts import Manifest, StageFolder, open_stage, read_manifest, remove_folder
from pretune.runtime.interruption import StopFlag, stop_on_signals
from pretune.runtime.memory import peak_memory_bytes
from pretune.runtime.randomness import derive_seed
from pretune.stages.config import PretrainConfig, to_dict
from pretune.stages.pretrain_settings import (
    budget_of,
    choose_size,
    describe_budget,
    describe_compute,
    estimate,
    is_worth_compiling,
    row_settings,
    shape_of,
)
from pretune.text.corpus import iter_corpus
from pretune.text.tokenizer import Tokenizer, load_tokenizer
from pretune.text.world import SUNRISE
from pretune.training.budget import Pace, median_seconds, plan_run, replan
from pretune.training.checkpoint import TrainingState, go_on, save_checkpoint
from pretune.training.loop import StepResult, evaluate, train_steps
from pretune.training.objective import MaskedObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.schedule import Plan
from pretune.training.watched import HiddenWord, hide_word, hide_words, predict_hidden

CLIP_NORM = 1.0
LOG_SECONDS = 2.0  # between two `train` events
_PEAK_RATES = {"muon": 0.02, "adamw": 2e-3}
_OTHER_RATE = 3e-3  # of embeddings and norms, by AdamW
_CALIBRATION_STEPS = 6
_NUM_WATCHED = 6
_WATCHED_POOL = 2000  # validation documents among which the watched sentences are drawn


def pretrain(
    preprocessed: Path, out: Path, config: PretrainConfig = PretrainConfig(), *, redo: bool = False
) -> Manifest:
    """Train a transformer to predict masked tokens of the shards in `preprocessed`, into `out/checkpoint`.

    The same call goes on after an interruption, with the same result as if there had been none. Raises InputDataError
    where the text is too small for the budget, InterruptedByUserError or StoppedError after a signal and a commit.
    """
    source = read_manifest(Path(preprocessed), "preprocess")
    folder = open_stage(
        Path(out), "pretrain", config=to_dict(config), inputs={"preprocessed": source.fingerprint}, redo=redo
    )
    if folder.is_finished:
        return folder.manifest
    try:
        with stop_on_signals() as stop:
            _Pretraining(Path(preprocessed), source, folder, config).run(stop)
    except InputDataError:
        if not (folder.path / "checkpoints").is_dir():  # refused before it began: the corrected command needs no --redo
            folder.close()
            remove_folder(folder.path)
        raise
    finally:
        folder.close()
    return folder.manifest


class _Pretraining:
    """One run of the stage: what the steps share, and the steps in order."""

    def __init__(self, preprocessed: Path, source: Manifest, folder: StageFolder, config: PretrainConfig) -> None:
        self.start = time.monotonic()
        self.source_path, self.source, self.folder, self.config = preprocessed, source, folder, config
        self.tokenizer: Tokenizer = load_tokenizer(preprocessed)
        self.budget = budget_of(config)
        self.corpus = Corpus(
            preprocessed,
            row_settings(config, self.budget),
            special_ids(self.tokenizer),
            self.tokenizer.is_sentence_end,
        )
        self.shape = shape_of(config, self.corpus)
        self.watched, self.example = self._choose_watched()
        self.compute: Compute = choose_compute(
            precision=config.precision, compile=config.compile, is_worth_compiling=self._wants_compiling()
        )
        self.model_config = self._choose_model()
        self.model = LanguageModel(self.model_config).to(self.compute.device)
        self.objective = MaskedObjective(self.model, self.compute.dtype, compiled=self.compute.is_compiled)
        self.state = TrainingState(compute=self.compute.to_dict())

    def run(self, stop: StopFlag) -> None:
        """Restore or begin, train to the end of the plan, save the model."""
        self._begin()
        was_begun, log = self.folder.is_resumed, self.folder.log
        restored = go_on(self._checkpoints, self.model, self.optimizer, log, was_begun=was_begun)
        if restored is not None:
            self._resume(restored)
        else:
            self._start_anew()
        self._train(stop)
        self._finish()

    # -- before the first step -----------------------------------------------------------------------------------

    def _choose_model(self) -> ModelConfig:
        begun = self.folder.manifest.summary.get("size")  # another machine, where the run goes on, might choose another
        self.size = begun or choose_size(self.config.size, self.budget, self.corpus.tokens_per_epoch, self.compute)
        ids = self.tokenizer.special_ids
        config = PRESETS[self.size](self.tokenizer.vocab_size)
        return with_special_tokens(config, pad=ids["pad"], bos=ids["bos"], eos=ids["eos"], mask=ids["mask"])

    def _choose_watched(self) -> tuple[list[HiddenWord], HiddenWord | None]:
        """Held-out sentences to watch, the sunrise first on built-in data, and the example that all stages carry."""
        summary, tokenizer, seed = self.source.summary, self.tokenizer, self.config.seed
        watched: list[HiddenWord] = []
        if summary.get("synthetic"):
            sunrise = hide_word(SUNRISE, tokenizer, seed, word="east")
            watched = [sunrise] if sunrise is not None else []
        held_out = (row["text"] for row in iter_corpus(self.source_path) if row["split"] == "validation")
        texts = islice(held_out, _WATCHED_POOL)
        watched += hide_words(texts, tokenizer, _NUM_WATCHED - len(watched), seed)
        example = summary.get("example")
        return watched, hide_word(example["text"], tokenizer, seed) if example else None

    def _begin(self) -> None:
        config = self.config
        rate = config.learning_rate or _PEAK_RATES[config.optimizer]
        self.optimizer_config = OptimizerConfig(
            kind=config.optimizer, matrix_rate=rate, other_rate=_OTHER_RATE, weight_decay=0.01
        )
        self.optimizer = Optimizer(self.model, self.optimizer_config)

    def _initialize(self) -> None:
        initialize(self.model, derive_seed(self.config.seed, "weights"))
        if self.config.initial_embedding == "vectors":
            embedding = self.model.transformer.embed_tokens.weight
            with torch.no_grad():
                embedding[torch.from_numpy(self.vectors[0])] = torch.from_numpy(self.vectors[1]).to(embedding.device)
        self.optimizer = Optimizer(self.model, self.optimizer_config)

    def _start_anew(self) -> None:
        log = self.folder.log
        log.write(
            "stage_started",
            config=to_dict(self.config),
            inputs=self.folder.manifest.inputs,
            synthetic=self.source.summary.get("synthetic", False),
        )
        for sentence in describe_compute(self.compute, self.config, wants_compiling=self._wants_compiling()):
            log.write("notice", sentence=sentence)
        log.write("references", **self.corpus.references(self.model_config.vocab_size))
        if self.config.initial_embedding == "vectors":
            size, seed = self.model_config.hidden_size, self.config.seed
            self.vectors = build_word_vectors(self.corpus.train, self.tokenizer, size, seed, INITIAL_DEVIATION)
        self._initialize()
        pace = self._calibrate()
        self.plan = plan_run(
            self.budget,
            self.shape,
            pace,
            tokens_per_epoch=self.corpus.tokens_per_epoch,
            elapsed_seconds=self._elapsed(),
        )
        self.state.plan = self.plan.to_dict()
        self.folder.note(plan=self.state.plan, size=self.size)
        log.write(
            "estimate",
            **estimate(self.config, self.model_config, self.compute, self.corpus, pace),
            minutes=(self._elapsed() + pace.seconds(self.plan, self.config.evaluations)) / 60,
            size=self.size,
        )
        log.write("plan", **self.plan.to_dict(), **describe_budget(self.budget, self.plan))
        self._initialize()
        self.state.more["seconds_before_training"] = self._elapsed()
        self._evaluate()
        self._save()

    def _calibrate(self) -> Pace:
        """Seconds of a step with short and with long rows, and of an evaluation, on weights that are thrown away.

        Compiling happens here, so that its time is known before the plan is made.
        """
        short = self._seconds_per_step(self.corpus.short_batches)
        long = self._seconds_per_step(self.corpus.long_batches) if self.corpus.long is not None else short
        evaluate(self.objective, self._validation[:1])
        start = time.monotonic()
        evaluate(self.objective, self._validation)
        predict_hidden(self.model, self.watched, self.tokenizer)
        seconds = time.monotonic() - start
        return Pace(short_step_seconds=short, long_step_seconds=long, evaluation_seconds=seconds)

    def _seconds_per_step(self, batches: Callable[[int], list[Batch]]) -> float:
        return median_seconds(self._steps(batches, first_step=1, rate=lambda _: 1.0), _CALIBRATION_STEPS)

    def _resume(self, state: TrainingState) -> None:
        self.state = state
        self.plan = Plan(**state.plan)
        changed = [k for k, v in self.compute.to_dict().items() if state.compute.get(k) != v]
        if changed:
            self.folder.log.write(
                "warning",
                sentence=f"This run began with another {', '.join(changed)}; it goes on, but the result equals that of "
                "an uninterrupted run only within rounding.",
            )
            self.state.compute = self.compute.to_dict()
        self.start = time.monotonic() - state.elapsed_seconds

    # -- training ------------------------------------------------------------------------------------------------

    def _steps(
        self, batches: Callable[[int], list[Batch]], *, first_step: int, rate: Callable[[int], float]
    ) -> Iterator[StepResult]:
        device = self.compute.device
        return train_steps(
            self.model,
            self.objective,
            self.optimizer,
            lambda step: [batch.to(device) for batch in batches(step)],
            rate=rate,
            first_step=first_step,
            clip_norm=CLIP_NORM,
        )

    def _train(self, stop: StopFlag) -> None:
        last_log = last_save = time.monotonic()
        if self.state.step >= self.plan.steps:
            return
        for result in self._steps(
            lambda step: self.corpus.batches(step, self.plan.long_start_step),
            first_step=self.state.step + 1,
            rate=lambda step: self.plan.rate(step),
        ):
            self._count(result)
            now = time.monotonic()
            if now - last_log >= LOG_SECONDS and not result.is_skipped:
                self._log_step(result)
                last_log = now
            is_decay_start = self.state.step == self.plan.decay_start_step
            if is_decay_start:
                self._correct_plan()
            if self.state.step in self._evaluation_steps():
                self._evaluate()
            is_due = now - last_save >= self.config.checkpoint_minutes * 60
            if is_decay_start or is_due or stop.is_set or self.state.step >= self.plan.steps:
                self._save()
                last_save = time.monotonic()
            if self.state.step >= self.plan.steps:
                return
            if stop.is_set:
                raise stop.error(
                    f"Stopped at step {self.state.step:,} of {self.plan.steps:,} with everything saved in "
                    f"{self.folder.path}; give the same command again to go on."
                )

    def _count(self, result: StepResult) -> None:
        self.state.count(result.loss, result.accuracy, result.num_labels, result.num_tokens)
        if result.is_skipped:
            self.folder.log.write("skipped_update", **result.describe_skip())

    def _log_step(self, result: StepResult) -> None:
        elapsed = self._elapsed()
        self.folder.log.write(
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
        )

    def _correct_plan(self) -> None:
        """Where the decay begins, move the end of a run that was given in minutes to where the clock says."""
        if self.budget.minutes is None or self.plan.is_corrected:
            return
        before, elapsed = self.plan.steps, self._elapsed()
        self.plan = replan(
            self.plan,
            self.budget.minutes,
            elapsed_seconds=elapsed,
            training_seconds=elapsed - self.state.more["seconds_before_training"],
        )
        self.state.plan = self.plan.to_dict()
        self.folder.log.write(
            "plan_corrected",
            step=self.state.step,
            steps_before=before,
            steps=self.plan.steps,
            decay_start_step=self.plan.decay_start_step,
        )

    def _evaluation_steps(self) -> set[int]:
        count = min(self.config.evaluations, self.plan.steps)
        return {round(i * self.plan.steps / count) for i in range(1, count + 1)}

    def _evaluate(self) -> None:
        train_loss, train_accuracy = self.state.take_means()
        loss, accuracy, n = evaluate(self.objective, self._validation)
        self.state.more["last_evaluation"] = {"loss": loss, "accuracy": accuracy, "masked_positions": n}
        self.folder.log.write(
            "evaluation",
            step=self.state.step,
            epoch=self._epoch(),
            tokens=self.state.tokens,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            loss=loss,
            accuracy=accuracy,
            accuracy_interval=list(wilson_interval(accuracy * n, n)),
            n=n,
            elapsed_seconds=self._elapsed(),
            sentences=predict_hidden(self.model, self.watched, self.tokenizer),
        )

    # -- saving --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self.state.elapsed_seconds = self._elapsed()
        path = save_checkpoint(
            self._checkpoints,
            self.model,
            self.optimizer,
            self.state,
            self.source_path,
            keep=lambda step: step == self.plan.decay_start_step,
        )
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        self.folder.log.write("checkpoint", step=self.state.step, path=path.name, size_bytes=size)

    def _finish(self) -> None:
        log, final = self.folder.log, self.state.more["last_evaluation"]
        save_model_folder(self.folder.path / "checkpoint", self.model, self.source_path, step=self.state.step)
        if self.example is not None:
            [shown] = predict_hidden(self.model, [self.example], self.tokenizer)
            log.write("example", text=self.example.text, **shown)
        spent = {"seconds": self._elapsed(), "peak_memory_bytes": peak_memory_bytes()}
        log.write(
            "flow",
            shape_in=[
                {"name": "training documents", "value": self.corpus.num_documents},
                {"name": "training tokens", "value": self.corpus.tokens_per_epoch},
            ],
            shape_out=[
                {"name": "parameters", "value": cost.count_parameters(self.model_config)},
                {"name": "tokens seen", "value": self.state.tokens},
            ],
            dropped=[],
            **spent,
        )
        log.write("stage_finished", **spent)
        self.folder.finish(
            model=vars(self.model_config),
            tokens=self.state.tokens,
            steps=self.state.step,
            compute=self.state.compute,
            synthetic=self.source.summary.get("synthetic", False),
            example=self.source.summary.get("example"),
            **final,
        )

    # -- small things --------------------------------------------------------------------------------------------

    @property
    def _checkpoints(self) -> Path:
        return self.folder.path / "checkpoints"

    @property
    def _validation(self) -> list[Batch]:
        return [batch.to(self.compute.device) for batch in self.corpus.validation]

    def _wants_compiling(self) -> bool:
        return is_worth_compiling(self.budget, self.corpus.tokens_per_epoch)

    def _elapsed(self) -> float:
        return time.monotonic() - self.start

    def _epoch(self) -> float:
        return self.state.tokens / self.corpus.tokens_per_epoch
