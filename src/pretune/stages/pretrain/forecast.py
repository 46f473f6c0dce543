"""A preprocess folder and settings in; the time, memory and disk of their pre-training out, from a few trial updates.

Nothing is written. The minutes follow from the pace of these updates with the real rows and model on this machine, the
memory from their peak, the disk from the size of checkpoints.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pretune.compute.device import (
    Compute,
    choose_compute,
    device_at_hand,
    refuse_without_compiler,
    use_threads,
)
from pretune.data.pretraining_data import Corpus
from pretune.data.rank_slice import RankSlice
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.config import PRESETS, ModelConfig, name_shape
from pretune.model.transformer import LanguageModel, initialize
from pretune.runtime.launch import read_launch
from pretune.runtime.manifest import read_manifest
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
    disk_bytes,
    pace_on,
    seconds_before_plan,
    seconds_of_plan,
    tokenizer_bytes,
    vector_bytes,
)
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.budget import Pace, plan_run
from pretune.training.forecast import STARTING_SECONDS, Forecast, trial_memory_bytes, trial_pace
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.threaded_objective import in_lanes


def forecast(preprocessed: Path, config: PretrainConfig, *, base: Path | None = None) -> Forecast:
    """Run a few updates of the pre-training with these settings, and predict what all of it will take.

    With `base`, of a model of its shape. For several processes, the updates are the part of the first one.

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
    base_config = None if base_model is None else base_model.config
    rows = row_settings(config, budget, device_at_hand(), base=base_config)
    processes = RankSlice(size=read_launch().size)
    corpus = Corpus(preprocessed, rows, special_ids(tokenizer), tokenizer.is_sentence_end, processes)
    compute = choose_compute(
        precision=config.precision,
        compile=config.compile,
        is_worth_compiling=is_worth_compiling(budget, corpus.tokens_per_epoch),
    )
    if base_config is not None:
        model_config = base_config
    else:
        size = choose_size(config.size, budget, corpus.tokens_per_epoch, compute)
        model_config = replace(PRESETS[size](tokenizer.vocab_size), objective=resolve_objective(config, None))
    check_memory(model_config, config, corpus, compute.device, has_base=base_config is not None)
    peak_before = trial_memory_bytes(compute.device)
    optimizer = optimizer_config(config, compute, base_config)
    uncompiled = _measure_pace(model_config, config.seed, optimizer, corpus, compute)
    has_long_rows = corpus.long is not None
    before = STARTING_SECONDS + seconds_before_plan(
        config, model_config, compute, uncompiled, corpus.tokens_per_epoch, has_long_rows=has_long_rows
    )
    pace = pace_on(compute, uncompiled)
    plan = plan_run(
        budget,
        shape_of(config, corpus, has_base=base_config is not None),
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
        memory_bytes=max(trial_memory_bytes(compute.device), peak_before + vectors),
        disk_bytes=disk_bytes(config, model_config, plan, pace, tokenizer_bytes(preprocessed)),
        processes=processes.size,
    )


def _measure_pace(
    model_config: ModelConfig, seed: int, optimizer: OptimizerConfig, corpus: Corpus, compute: Compute
) -> Pace:
    """Seconds of an update with short and with long rows and of an evaluation, uncompiled."""
    model = LanguageModel(model_config).to(compute.device)
    initialize(model, seed)
    uncompiled, validation = replace(compute, is_compiled=False), (corpus.masked_validation, corpus.causal_validation)
    return trial_pace(
        model,
        in_lanes(TokenObjective(model, compute.dtype, compiled=False), model, uncompiled),
        Optimizer(model, optimizer),
        corpus,
        compute.device,
        evaluation_rounds=-(-max(map(len, validation)) // corpus.rank_slice.size),
    )
