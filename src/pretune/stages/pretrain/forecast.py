"""What a pre-training will take, found out without doing it: some updates are tried out, the rest is arithmetic.

Nothing is written. Minutes come from the pace of those updates on the rows, the model and the machine in question,
memory from what they took, disk from the weights that checkpoints hold.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from pretune.compute.device import (
    Compute,
    choose_compute,
    device_at_hand,
    has_compiled_before,
    refuse_without_compiler,
    use_threads,
)
from pretune.data.masked_rows import special_ids
from pretune.data.prefetch import Batches, feed
from pretune.data.pretraining_data import Corpus
from pretune.model import cost
from pretune.model.config import PRESETS, ModelConfig
from pretune.model.transformer import LanguageModel, initialize
from pretune.runtime.artifacts import read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.choices import (
    budget_of,
    check_memory,
    choose_size,
    disk_bytes,
    is_worth_compiling,
    optimizer_config,
    row_settings,
    shape_of,
)
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.budget import Pace, median_seconds, plan_run
from pretune.training.guard import Guard
from pretune.training.initial_embedding import MAX_TOKENS, MAX_WORDS
from pretune.training.loop import evaluate, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import MaskedObjective
from pretune.training.optimizer import Optimizer
from pretune.training.schedule import Plan
from pretune.training.threaded_objective import in_lanes

_TRIED_STEPS = 3
_CALIBRATION_STEPS = 7  # of each row length, by the stage itself before its plan
_COMPILED_SHARE = 0.9  # of an uncompiled update's time (docs/performance.md)
_COMPILING_SECONDS = {False: 30.0, True: 6.0}  # by whether its cache has been filled before
_STARTING_SECONDS = 4.0  # loading libraries and the corpus
_VECTOR_SECONDS_PER_TOKEN = 1.0e-6
_VECTOR_SECONDS_PER_ENTRY = 1.0e-7  # of the table of words by words
_VECTOR_BYTES_PER_TOKEN, _VECTOR_BYTES_PER_ENTRY = 45, 20


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a pre-training will take: in all, and what `plan` makes of its budget."""

    size: str
    parameters: int
    compute: Compute
    plan: Plan
    step_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def describe(self) -> list[str]:
        """The forecast in sentences, with what it rests on."""
        tokens, minutes = self.plan.steps * self.plan.tokens_per_step, self.seconds / 60
        return [
            f"{self.size}, {self.parameters:,} parameters, on {self.compute.describe()}: {self.plan.steps:,} updates, "
            f"{tokens:,} tokens.",
            f"Expected: {minutes:.{2 if minutes < 10 else 0}f} minutes, {self.memory_bytes / 1e9:.2f} GB of memory, "
            f"{self.disk_bytes / 1e6:.0f} MB of disk.",
            f"That rests on updates tried out here just now, {self.step_seconds:.2f} s each, uncompiled; beside other "
            "work everything takes longer. Nothing was written.",
        ]


def forecast(preprocessed: Path, config: PretrainConfig) -> Forecast:
    """Try some updates of the pre-training that these settings would do, and tell what all of it will take.

    Raises what the stage itself would raise before it begins: InputDataError for the text or a budget too small,
    OutOfResourcesError where model or batch do not fit in memory, UsageError for the settings.
    """
    use_threads(config.threads)
    refuse_without_compiler(config.compile)
    preprocessed = Path(preprocessed)
    read_manifest(preprocessed, "preprocess")
    tokenizer, budget = load_tokenizer(preprocessed), budget_of(config)
    rows = row_settings(config, budget, device_at_hand())
    corpus = Corpus(preprocessed, rows, special_ids(tokenizer), tokenizer.is_sentence_end)
    compute = choose_compute(
        precision=config.precision,
        compile=config.compile,
        is_worth_compiling=is_worth_compiling(budget, corpus.tokens_per_epoch),
    )
    size = choose_size(config.size, budget, corpus.tokens_per_epoch, compute)
    model_config = PRESETS[size](tokenizer.vocab_size)
    check_memory(size, model_config, config, corpus, compute.device)
    base = peak_memory_bytes()
    pace = _try_out(model_config, config, corpus, compute)
    before = _STARTING_SECONDS + _seconds_before_plan(model_config, config, corpus, compute, pace)
    share = _COMPILED_SHARE if compute.is_compiled else 1.0
    expected = Pace(
        short_step_seconds=share * pace.short_step_seconds,
        long_step_seconds=share * pace.long_step_seconds,
        evaluation_seconds=pace.evaluation_seconds,
    )
    plan = plan_run(
        budget,
        shape_of(config, corpus),
        expected,
        tokens_per_epoch=corpus.tokens_per_epoch,
        elapsed_seconds=before,
    )
    training = expected.seconds(plan, config.evaluations) + pace.evaluation_seconds
    vectors = _vector_bytes(model_config, corpus) if config.initial_embedding == "vectors" else 0
    return Forecast(
        size=size,
        parameters=cost.count_parameters(model_config),
        compute=compute,
        plan=plan,
        step_seconds=pace.short_step_seconds,
        seconds=before + training,
        memory_bytes=max(peak_memory_bytes(), base + vectors),
        disk_bytes=disk_bytes(model_config, config, preprocessed, expected, plan),
    )


def _try_out(model_config: ModelConfig, config: PretrainConfig, corpus: Corpus, compute: Compute) -> Pace:
    """Seconds of an update with short and with long rows and of an evaluation, uncompiled."""
    model = LanguageModel(model_config).to(compute.device)
    initialize(model, config.seed)
    uncompiled = replace(compute, is_compiled=False)
    objective = in_lanes(MaskedObjective(model, compute.dtype, compiled=False), model, uncompiled)
    optimizer = Optimizer(model, optimizer_config(config, compute))

    def seconds(rows: Batches) -> float:
        steps = train_steps(
            model,
            objective,
            optimizer,
            feed(rows, compute.device),
            rate=lambda _step: 1.0,
            first_step=1,
            clip_norm=1.0,
            guard=Guard(),
            microbatch_split=MicrobatchSplit(),
        )
        return median_seconds(steps, _TRIED_STEPS)

    short = seconds(corpus.short_batches)
    long = seconds(corpus.long_batches) if corpus.long is not None else short
    first = [corpus.validation[0].to(compute.device)]
    evaluate(objective, first)
    start = time.monotonic()
    evaluate(objective, first)
    one = time.monotonic() - start
    return Pace(short_step_seconds=short, long_step_seconds=long, evaluation_seconds=one * len(corpus.validation))


def _seconds_before_plan(
    model: ModelConfig, config: PretrainConfig, corpus: Corpus, compute: Compute, pace: Pace
) -> float:
    """Initial vectors, compiling, and the updates by which the stage itself finds its pace."""
    seconds = _CALIBRATION_STEPS * pace.short_step_seconds + 2 * pace.evaluation_seconds
    if corpus.long is not None:
        seconds += _CALIBRATION_STEPS * pace.long_step_seconds
    if compute.is_compiled:
        seconds += _COMPILING_SECONDS[has_compiled_before()]
    if config.initial_embedding == "vectors":
        seconds += _VECTOR_SECONDS_PER_TOKEN * min(corpus.tokens_per_epoch, MAX_TOKENS)
        seconds += _VECTOR_SECONDS_PER_ENTRY * min(model.vocab_size, MAX_WORDS) ** 2
    return seconds


def _vector_bytes(model: ModelConfig, corpus: Corpus) -> int:
    """The tables of counts from which the initial vectors are made."""
    entries = min(model.vocab_size, MAX_WORDS) ** 2
    tokens = min(corpus.tokens_per_epoch, MAX_TOKENS)
    return _VECTOR_BYTES_PER_ENTRY * entries + _VECTOR_BYTES_PER_TOKEN * tokens
