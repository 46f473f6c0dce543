"""A preprocess folder and settings in; the time, memory and disk of their pre-training out, from a few trial updates.

Nothing is written. The minutes follow from the pace of these updates with the real rows and model on this machine, the
memory from their peak, the disk from the size of checkpoints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from pretune.compute.device import (
    Compute,
    choose_compute,
    device_at_hand,
    refuse_without_compiler,
    use_threads,
)
from pretune.data.prefetch import Batches, feed
from pretune.data.pretraining_data import Corpus
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.config import PRESETS, ModelConfig, name_shape
from pretune.model.transformer import LanguageModel, initialize
from pretune.runtime.manifest import read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.base_model import fit_to_base, open_base, resolve_objective
from pretune.stages.pretrain.choices import (
    budget_of,
    check_memory,
    choose_size,
    is_worth_compiling,
    optimizer_config,
    row_settings,
    shape_of,
)
from pretune.stages.pretrain.estimate import (
    STARTING_SECONDS,
    disk_bytes,
    pace_on,
    seconds_before_plan,
    seconds_of_plan,
    tokenizer_bytes,
    vector_bytes,
)
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.budget import Pace, median_seconds, plan_run
from pretune.training.guard import Guard
from pretune.training.loop import evaluate, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer
from pretune.training.pretraining_run import CLIP_NORM
from pretune.training.schedule import Plan
from pretune.training.threaded_objective import in_lanes

_TRIAL_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a pre-training will take, and the plan for its budget."""

    size: str
    parameters: int
    compute: Compute
    plan: Plan
    step_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def describe(self) -> list[str]:
        """The forecast in sentences, with the measurement that it rests on."""
        tokens, minutes = self.plan.steps * self.plan.tokens_per_step, self.seconds / 60
        return [
            f"{self.size}, {self.parameters:,} parameters, on {self.compute.describe()}: {self.plan.steps:,} updates, "
            f"{tokens:,} tokens.",
            f"Expected: {minutes:.{2 if minutes < 10 else 0}f} minutes, {self.memory_bytes / 1e9:.2f} GB of memory, "
            f"{self.disk_bytes / 1e6:.0f} MB of disk.",
            f"This follows from trial updates on this machine, {self.step_seconds:.2f} s each, uncompiled; other work "
            "on the machine makes everything take longer. Nothing was written.",
        ]


def forecast(preprocessed: Path, config: PretrainConfig, *, base: Path | None = None) -> Forecast:
    """Run a few updates of the pre-training with these settings, and predict what all of it will take.

    With `base`, of a model of its shape.

    Raises the errors that the stage raises before it begins: InputDataError for the text or too small a budget,
    OutOfResourcesError if model or batch do not fit into memory, UsageError for the settings.
    """
    use_threads(config.threads)
    refuse_without_compiler(config.compile)
    preprocessed = Path(preprocessed)
    source = read_manifest(preprocessed, "preprocess")
    base_model = None if base is None else open_base(base, config, source)
    config = fit_to_base(config, base_model)
    tokenizer, budget = load_tokenizer(preprocessed), budget_of(config)
    rows = row_settings(config, budget, device_at_hand())
    corpus = Corpus(preprocessed, rows, special_ids(tokenizer), tokenizer.is_sentence_end)
    compute = choose_compute(
        precision=config.precision,
        compile=config.compile,
        is_worth_compiling=is_worth_compiling(budget, corpus.tokens_per_epoch),
    )
    if base_model is not None:
        model_config = base_model.config
    else:
        size = choose_size(config.size, budget, corpus.tokens_per_epoch, compute)
        model_config = replace(PRESETS[size](tokenizer.vocab_size), objective=resolve_objective(config, None))
    check_memory(model_config, config, corpus, compute.device, has_base=base_model is not None)
    peak_before = peak_memory_bytes()
    uncompiled = _measure_pace(model_config, config, corpus, compute)
    has_long_rows = corpus.long is not None
    before = STARTING_SECONDS + seconds_before_plan(
        config, model_config, compute, uncompiled, corpus.tokens_per_epoch, has_long_rows=has_long_rows
    )
    pace = pace_on(compute, uncompiled)
    plan = plan_run(
        budget,
        shape_of(config, corpus),
        pace,
        tokens_per_epoch=corpus.tokens_per_epoch,
        elapsed_seconds=before,
    )
    vectors = vector_bytes(config, model_config, corpus.tokens_per_epoch)
    return Forecast(
        size=name_shape(model_config),
        parameters=cost.count_parameters(model_config),
        compute=compute,
        plan=plan,
        step_seconds=uncompiled.short_step_seconds,
        seconds=before + seconds_of_plan(plan, pace, config),
        memory_bytes=max(peak_memory_bytes(), peak_before + vectors),
        disk_bytes=disk_bytes(config, model_config, plan, pace, tokenizer_bytes(preprocessed)),
    )


def _measure_pace(model_config: ModelConfig, config: PretrainConfig, corpus: Corpus, compute: Compute) -> Pace:
    """Seconds of an update with short and with long rows and of an evaluation, uncompiled."""
    model = LanguageModel(model_config).to(compute.device)
    initialize(model, config.seed)
    uncompiled = replace(compute, is_compiled=False)
    objective = in_lanes(TokenObjective(model, compute.dtype, compiled=False), model, uncompiled)
    optimizer = Optimizer(model, optimizer_config(config, compute))

    def seconds(rows: Batches) -> float:
        steps = train_steps(
            model,
            objective,
            optimizer,
            feed(rows, compute.device),
            rate=lambda _step: 1.0,
            first_step=1,
            clip_norm=CLIP_NORM,
            guard=Guard(),
            microbatch_split=MicrobatchSplit(),
        )
        return median_seconds(steps, _TRIAL_STEPS)

    short = seconds(corpus.short_batches)
    long = seconds(corpus.long_batches) if corpus.long is not None else short
    first = [batch.to(compute.device) for batch in corpus.first_validation()]
    evaluate(objective, first)
    start = time.monotonic()
    evaluate(objective, first)
    batch_seconds = time.monotonic() - start
    return Pace(
        short_step_seconds=short,
        long_step_seconds=long,
        evaluation_seconds=batch_seconds * max(len(corpus.masked_validation), len(corpus.causal_validation)),
    )
