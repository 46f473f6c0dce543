"""A base, prepared conversations and settings in; the time, memory and disk of their tuning out, from a few trial
updates. Nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pretune.compute.device import choose_compute, use_threads
from pretune.data.rank_slice import RankSlice
from pretune.model import cost
from pretune.model.config import name_shape
from pretune.runtime.launch import read_launch
from pretune.runtime.manifest import read_manifest
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning import choices
from pretune.stages.chat_tuning.conversations import ChatCorpus, PreparedChat
from pretune.stages.chat_tuning.estimate import disk_bytes, seconds_before_plan, seconds_of_plan, tests_in_evaluations
from pretune.stages.chat_tuning.starting_model import open_start
from pretune.training.budget import calibration_steps, plan_run
from pretune.training.checkpoint import trained_tensors
from pretune.training.forecast import STARTING_SECONDS, Forecast, trial_memory_bytes, trial_pace
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer
from pretune.training.threaded_objective import in_lanes

_BEST_BYTES = 4  # of a weight in the optimizer: a run keeps the best ones in main memory


def forecast(pretrained: Path, prepared: Path, config: ChatTuningConfig = ChatTuningConfig()) -> Forecast:
    """Run a few updates of the tuning with these settings, and predict what all of it will take. For several processes,
    the updates are the part of the first one.

    Raises the errors that the stage raises before it begins: those of `open_start` for the base, InputDataError for the
    conversations or too small a budget, OutOfResourcesError if a single row does not fit into memory.
    """
    use_threads(config.threads)
    prepared = Path(prepared)
    read_manifest(prepared, "prepare")
    start = open_start(Path(pretrained), prepared, config)
    compute = choose_compute(precision=config.precision, compile="off")
    model = start.make(config).to(compute.device)
    num_optimized = sum(tensor.numel() for tensor in trained_tensors(model).values())
    num_trained = start.count_trained(model, config)
    chat = PreparedChat(prepared, start.model.config.max_seq_len)
    shape = choices.choose_shape(config, start.config, chat, num_optimized, compute.device)
    processes = RankSlice(size=read_launch().size)
    corpus = ChatCorpus(chat, shape, config.seed, processes)
    optimizer = choices.optimizer_config(config, start.config, compute)
    pace = trial_pace(
        model,
        in_lanes(TokenObjective(model, compute.dtype, compiled=False), model, compute),
        Optimizer(model, optimizer),
        corpus,
        compute.device,
        evaluation_rounds=-(-len(corpus.validation) // processes.size),
    )
    pace = replace(pace, closing_seconds=tests_in_evaluations(corpus) * pace.evaluation_seconds)
    before = seconds_before_plan(pace, calibration_steps(start.config, compute.device))
    before += STARTING_SECONDS
    plan = plan_run(
        choices.budget_of(config),
        choices.shape_of(config, corpus),
        pace,
        tokens_per_epoch=corpus.tokens_per_epoch,
        elapsed_seconds=before,
    )
    best_bytes = _BEST_BYTES * num_optimized if compute.device == "cpu" else 0
    num_parameters = cost.count_parameters(start.config)
    return Forecast(
        size=name_shape(start.config),
        parameters=num_parameters,
        trained_parameters=None if num_trained == num_parameters else num_trained,
        compute=compute,
        plan=plan,
        step_seconds=pace.short_step_seconds,
        seconds=before + seconds_of_plan(plan, pace, config),
        memory_bytes=trial_memory_bytes(compute.device) + best_bytes,
        disk_bytes=disk_bytes(config, model, optimizer.kind, plan, pace, prepared),
        processes=processes.size,
    )
