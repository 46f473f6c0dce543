"""The settings, a model and a machine in; the choices that were left open out: budget, rates, sizes of updates."""

from __future__ import annotations

from typing import Any

from pretune.compute.device import Compute, available_bytes
from pretune.errors import OutOfResourcesError, UsageError
from pretune.model import cost
from pretune.model.config import ModelConfig, name_shape
from pretune.model.lora import TARGETS, LoraConfig
from pretune.runtime.launch import read_launch
from pretune.settings import ChatTuningConfig, to_identity
from pretune.stages.chat_tuning.conversations import ChatCorpus, ChatShape, PreparedChat
from pretune.training.budget import Budget, Shape
from pretune.training.optimizer import OptimizerConfig

_WARMUP_FRACTION, _DECAY_FRACTION = 0.05, 0.5
_EPOCHS, _RANK = 3, 16
_BATCH, _SMALL_BATCH = 32, 8  # conversations; small if an update takes long
# Peak rates by (narrow, wide).
_FULL_RATES, _LORA_RATES = (3e-3, 2e-4), (5e-3, 1e-3)
_SCRATCH_RATES = (0.02, 3e-3)  # of matrices (Muon) and of the rest, as in pre-training
_SLOW_SCRATCH_RATE = 1e-3  # AdamW's, for a large model without a GPU
_WEIGHT_DECAY = 0.01
MICRO_BATCH_TOKENS = {"cpu": 8_192, "cuda": 32_768}
_FITTING = 0.8  # of the free memory, so that the estimate may be wrong by a fifth
_MOST_EVALUATION_TOKENS = 64_000


def budget_of(config: ChatTuningConfig) -> Budget:
    """The given budget, or three epochs."""
    if config.minutes is None and config.tokens is None and config.updates is None:
        return Budget(epochs=float(config.epochs or _EPOCHS))
    return Budget(minutes=config.minutes, tokens=config.tokens, updates=config.updates)


def lora_config(config: ChatTuningConfig) -> LoraConfig | None:
    """The corrections to train; None if the weights themselves are trained."""
    if config.adapter == "none":
        return None
    rank = config.rank or _RANK
    alpha = 2.0 * rank if config.lora_alpha is None else config.lora_alpha
    return LoraConfig(rank=rank, alpha=alpha, targets=config.lora_targets or TARGETS)


def identity_of(config: ChatTuningConfig) -> dict[str, Any]:
    """The settings that determine the result; the rank as folders have always recorded it, if it is left open."""
    return to_identity(config) | {"rank": config.rank or _RANK}


def optimizer_config(config: ChatTuningConfig, model: ModelConfig, compute: Compute) -> OptimizerConfig:
    """AdamW, but Muon from scratch, where it is what pre-training uses.

    Muon makes all singular values of an update equal. That suits a matrix that is learned as a whole; in LoRA each
    factor is only meaningful together with the other one, which starts at zero, and the published rates are for AdamW.
    Its cost does not depend on the tokens, so without a GPU it would double the time of a large model's small updates.
    """
    is_wide = cost.is_wide(model)
    is_muon = config.from_scratch and not cost.is_slow(model, compute.device)
    if is_muon:
        matrix_rate, other_rate = config.learning_rate or _SCRATCH_RATES[0], _SCRATCH_RATES[1]
    elif config.from_scratch:
        matrix_rate = other_rate = config.learning_rate or _SLOW_SCRATCH_RATE
    else:
        rates = _LORA_RATES if config.adapter == "lora" else _FULL_RATES
        matrix_rate = other_rate = config.learning_rate or rates[is_wide]
    return OptimizerConfig(
        kind="muon" if is_muon else "adamw",
        matrix_rate=matrix_rate,
        other_rate=other_rate,
        weight_decay=0.0 if config.adapter == "lora" else _WEIGHT_DECAY,
        precision=compute.precision,
    )


def batch_size_of(config: ChatTuningConfig, model: ModelConfig, device: str) -> int:
    """Conversations per update."""
    return config.batch_size or (_SMALL_BATCH if cost.is_slow(model, device) else _BATCH)


def choose_shape(
    config: ChatTuningConfig, model: ModelConfig, chat: PreparedChat, num_optimized: int, device: str
) -> ChatShape:
    """The conversations of an update, the positions of a micro-batch that fits, and the tokens of an evaluation.

    Raises OutOfResourcesError if a single row does not fit.
    """
    batch_size = batch_size_of(config, model, device)
    step_tokens = chat.step_tokens(batch_size)
    return ChatShape(
        batch_size=batch_size,
        micro_batch_tokens=fit_memory(
            model, num_optimized, chat.row_tokens, step_tokens, chat.supervised_fraction, device
        ),
        evaluation_tokens=min(_MOST_EVALUATION_TOKENS, cost.evaluation_tokens(model, device)),
    )


def shape_of(config: ChatTuningConfig, corpus: ChatCorpus) -> Shape:
    """How the run is divided."""
    return Shape(
        warmup_fraction=_WARMUP_FRACTION,
        decay_fraction=_DECAY_FRACTION,
        long_fraction=0.0,
        tokens_per_step=corpus.tokens_per_step,
        evaluations=config.evaluations,
        faster="--batch-size",
        smaller="--batch-size",
        has_whole_epochs=True,
    )


def memory_bytes(
    model: ModelConfig, num_optimized: int, tokens_at_once: int, row_tokens: int, supervised: float, device: str
) -> int:
    """Peak memory: all weights, with gradients and moments of the `num_optimized`, activations and logits.

    `supervised` is the fraction of the tokens that the model learns to predict.
    """
    whole = cost.train_memory_bytes(model, tokens_at_once, row_tokens, supervised, device=device)
    of_trained, of_frozen = cost.trained_bytes(device), 4
    frozen = max(0, cost.count_parameters(model) - num_optimized)
    adapter = max(0, num_optimized - cost.count_parameters(model))
    return whole - (of_trained - of_frozen) * frozen + of_trained * adapter


def fit_memory(
    model: ModelConfig, num_optimized: int, row_tokens: int, step_tokens: int, supervised: float, device: str
) -> int:
    """The tokens of a micro-batch: the whole update, or as many of its rows as fit into memory.

    Raises OutOfResourcesError if a single row does not fit.
    """
    available = available_bytes(device)
    tokens = max(row_tokens, min(step_tokens, MICRO_BATCH_TOKENS[device]))
    while available is not None:
        needed = memory_bytes(model, num_optimized, tokens, row_tokens, supervised, device)
        if needed <= _FITTING * available:
            break
        if tokens == row_tokens:
            each = " for each process" if read_launch().local_size > 1 else ""
            raise OutOfResourcesError(
                f"Training {name_shape(model)} ({cost.count_parameters(model):,} parameters) on a single row of "
                f"{row_tokens:,} tokens needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are "
                f"free{each}; give --adapter lora or --freeze, prepare with a smaller --max-seq-len, or free some "
                "memory."
            )
        tokens = max(row_tokens, tokens // 2)
    return tokens


def check_freeze(config: ChatTuningConfig, model: ModelConfig) -> None:
    """Raise UsageError if a model does not have as many layers as are to be frozen."""
    if config.freeze > model.num_layers:
        raise UsageError(
            f"--freeze is {config.freeze}, but the model has {model.num_layers} layers; give a smaller number."
        )
