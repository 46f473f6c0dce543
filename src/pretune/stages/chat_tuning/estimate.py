"""The arithmetic of the estimates of a tuning on conversations: a pace and a plan in; seconds and disk out."""

from __future__ import annotations

from pathlib import Path

from pretune.model import cost
from pretune.model.lora import lora_layers
from pretune.model.transformer import LanguageModel
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning.conversations import ChatCorpus
from pretune.text.tokenizer.tokenizer import tokenizer_files
from pretune.training.budget import Pace
from pretune.training.checkpoint import trained_tensors
from pretune.training.forecast import count_checkpoints
from pretune.training.schedule import Plan

_BYTES = 4


def tests_in_evaluations(corpus: ChatCorpus) -> float:
    """How many evaluations take as long as measuring the test conversations once."""
    return len(corpus.test) / len(corpus.validation)


def seconds_before_plan(pace: Pace, calibration_steps: int) -> float:
    """Seconds of measuring the base, as long on the test conversations as after training, and of the calibration, after
    which the stage makes its plan."""
    steps = (1 + calibration_steps) * pace.short_step_seconds
    return steps + 2 * pace.evaluation_seconds + pace.closing_seconds


def seconds_of_plan(plan: Plan, pace: Pace, config: ChatTuningConfig) -> float:
    """Seconds from the plan to the end: its updates, its evaluations with that of the base, and the test."""
    return pace.seconds(plan, config.evaluations + 1)


def disk_bytes(
    config: ChatTuningConfig, model: LanguageModel, optimizer: str, plan: Plan, pace: Pace, prepared: Path
) -> int:
    """The most disk space that the stage needs at once, when it saves the model beside its last checkpoints.

    A checkpoint has the weights that are trained, their state in the optimizer, and the best weights so far; that of a
    model without frozen weights has the files of the tokenizer, too.
    """
    tokenizer = sum(file.stat().st_size for file in tokenizer_files(prepared))
    num_weights = cost.count_parameters(model.config)
    if config.from_scratch:
        each = cost.checkpoint_bytes(model.config, optimizer) + _BYTES * num_weights + tokenizer
    else:
        num_trained = sum(tensor.numel() for tensor in trained_tensors(model).values())
        is_whole = all(parameter.requires_grad for parameter in model.parameters())
        each = 4 * _BYTES * num_trained + (tokenizer if is_whole else 0)
    adapter = _BYTES * sum(layer.lora_a.numel() + layer.lora_b.numel() for layer in lora_layers(model).values())
    if adapter:
        adapter += tokenizer
    checkpoints = count_checkpoints(plan, pace, config.checkpoint_minutes)
    return checkpoints * each + _BYTES * num_weights + tokenizer + adapter
