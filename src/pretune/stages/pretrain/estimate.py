"""The arithmetic of every estimate of a pre-training: a pace and a plan in; seconds, memory and disk out.

The pace is worked out from the chip's matrix rate (`estimate_run`), from a few trial updates (`forecast`), or measured
by the stage itself when it starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.compute.device import Compute, has_compiled_before
from pretune.data.pretraining_data import Corpus
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.choices import most_predicted_fraction
from pretune.text.tokenizer.tokenizer import tokenizer_files
from pretune.training.budget import Pace, calibration_steps
from pretune.training.forecast import count_checkpoints
from pretune.training.initial_embedding import MAX_TOKENS, MAX_WORDS
from pretune.training.schedule import Plan

_COMPILING_SECONDS = {False: 30.0, True: 6.0}  # by whether its cache has been filled before
_COMPILED_FRACTION = 0.9  # of an uncompiled update's time (docs/experiments.md)
_VECTOR_SECONDS_PER_TOKEN = 1.0e-6
_VECTOR_SECONDS_PER_ENTRY = 1.0e-7  # of the table of words by words
_VECTOR_BYTES_PER_TOKEN, _VECTOR_BYTES_PER_ENTRY = 45, 20


def pace_on(compute: Compute, uncompiled: Pace) -> Pace:
    """The pace after compiling, if the run is compiled."""
    factor = _COMPILED_FRACTION if compute.is_compiled else 1.0
    return Pace(
        short_step_seconds=factor * uncompiled.short_step_seconds,
        long_step_seconds=factor * uncompiled.long_step_seconds,
        evaluation_seconds=uncompiled.evaluation_seconds,
    )


def seconds_before_plan(
    config: PretrainConfig,
    model: ModelConfig,
    compute: Compute,
    uncompiled: Pace,
    tokens_per_epoch: int,
    *,
    has_long_rows: bool,
) -> float:
    """Seconds of the initial vectors, of compiling, and of the calibration, after which the stage makes its plan."""
    step_seconds = uncompiled.short_step_seconds + (uncompiled.long_step_seconds if has_long_rows else 0.0)
    seconds = (1 + calibration_steps(model, compute.device)) * step_seconds + 2 * uncompiled.evaluation_seconds
    if compute.is_compiled:
        seconds += _COMPILING_SECONDS[has_compiled_before()]
    if config.initial_embedding == "vectors":
        seconds += _VECTOR_SECONDS_PER_TOKEN * min(tokens_per_epoch, MAX_TOKENS)
        seconds += _VECTOR_SECONDS_PER_ENTRY * min(model.vocab_size, MAX_WORDS) ** 2
    return seconds


def seconds_of_plan(plan: Plan, pace: Pace, config: PretrainConfig) -> float:
    """Seconds from the plan to the end: its updates, and its evaluations with that of the untrained model."""
    return pace.seconds(plan, config.evaluations + 1)


def memory_bytes(
    config: PretrainConfig, model: ModelConfig, compute: Compute, micro_batch_tokens: int, corpus: Corpus | None = None
) -> int:
    """Peak memory in training; on a GPU, that of the GPU."""
    by_spans = compute.device == "cuda" and compute.precision == "bf16"
    predicted = most_predicted_fraction(config, micro_batch_tokens, corpus)
    return cost.train_memory_bytes(
        model, micro_batch_tokens, config.row_tokens, predicted, device=compute.device, by_spans=by_spans
    )


def vector_bytes(config: PretrainConfig, model: ModelConfig, tokens_per_epoch: int) -> int:
    """Memory of the tables of counts from which the initial vectors are made."""
    if config.initial_embedding != "vectors":
        return 0
    entries = min(model.vocab_size, MAX_WORDS) ** 2
    return _VECTOR_BYTES_PER_ENTRY * entries + _VECTOR_BYTES_PER_TOKEN * min(tokens_per_epoch, MAX_TOKENS)


def disk_bytes(config: PretrainConfig, model: ModelConfig, plan: Plan, pace: Pace, tokenizer: int) -> int:
    """Size of the stage's folder at its end: the model and its checkpoints.

    Each of them includes the files of the tokenizer, of `tokenizer` bytes.
    """
    checkpoints = count_checkpoints(plan, pace, config.checkpoint_minutes)
    each = cost.checkpoint_bytes(model, config.optimizer)
    return checkpoints * (each + tokenizer) + cost.count_parameters(model) * 4 + tokenizer


def tokenizer_bytes(preprocessed: Path) -> int:
    """Size of the tokenizer's files in a preprocess folder."""
    return sum(file.stat().st_size for file in tokenizer_files(preprocessed))


def estimate_fields(
    config: PretrainConfig, model: ModelConfig, compute: Compute, corpus: Corpus, pace: Pace
) -> dict[str, Any]:
    """The fields of an `estimate` event that do not depend on the plan."""
    return {
        "tokens_per_second": corpus.tokens_per_step / pace.short_step_seconds,
        "memory_bytes": memory_bytes(config, model, compute, corpus.micro_batch_tokens, corpus),
        "parameters": cost.count_parameters(model),
        "objective": model.objective,
        **{name: value for name, value in compute.to_dict().items() if name != "torch_version"},
    }
