"""A setting that a stage cannot work with is refused at once, before anything is read or trained."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from pretune.errors import UsageError
from pretune.settings import (
    ChatTuningConfig,
    CollectConfig,
    FinetuneConfig,
    PrepareConfig,
    PreprocessConfig,
    PretrainConfig,
    Sampling,
    SplitConfig,
    StrategiesConfig,
    to_identity,
)


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (CollectConfig, "builtin_documents", 0),
        (PreprocessConfig, "vocab_size", 0),
        (PreprocessConfig, "validation_fraction", 1.0),
        (PretrainConfig, "minutes", -1.0),
        (PretrainConfig, "minutes", float("nan")),
        (PretrainConfig, "minutes", float("inf")),
        (PretrainConfig, "tokens", 0),
        (PretrainConfig, "learning_rate", 0.0),
        (PretrainConfig, "row_tokens", 0),
        (PretrainConfig, "tokens_per_step", 0),
        (PretrainConfig, "checkpoint_minutes", -1.0),
        (PretrainConfig, "evaluations", 0),
        (PretrainConfig, "mask_prob", 1.0),
        (PretrainConfig, "neighbour_weight", 1.5),
        (PretrainConfig, "decay_fraction", 1.5),
        (FinetuneConfig, "learning_rates", ()),
        (FinetuneConfig, "learning_rates", (1e-3, 0.0)),
        (FinetuneConfig, "epochs", 0),
        (FinetuneConfig, "updates", 0),
        (FinetuneConfig, "patience", 0),
        (FinetuneConfig, "batch_size", 0),
        (FinetuneConfig, "seeds", 0),
        (FinetuneConfig, "mask_augment", 1.0),
        (FinetuneConfig, "self_train_sentences", 199),
        (FinetuneConfig, "weight_decay", -0.1),
        (PreprocessConfig, "max_symbol_ratio", -0.5),
    ],
)
def test_a_value_that_cannot_work_is_refused(config: Any, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is .*; expected .*\\.$"):
        config(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("config", "name"),
    [
        (config, field.name)
        for config in (
            ChatTuningConfig,
            CollectConfig,
            FinetuneConfig,
            PrepareConfig,
            PreprocessConfig,
            PretrainConfig,
            Sampling,
            SplitConfig,
            StrategiesConfig,
        )
        for field in dataclasses.fields(config)
        if "float" in str(field.type) and field.name != "max_symbol_ratio"
    ],
)
def test_no_number_is_endless_or_none(config: Any, name: str, value: float) -> None:
    """`--checkpoint-minutes inf` passed and ended as a bug; so did others, which were compared with one limit only."""
    given = (value,) if name == "learning_rates" else value
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is {value}; expected a finite number"):
        config(**{name: given})


def test_the_rule_of_symbols_may_be_switched_off_by_a_ratio_without_end() -> None:
    """A run that was made so could not be resumed."""
    assert PreprocessConfig(max_symbol_ratio=math.inf).max_symbol_ratio == math.inf
    for value in (-math.inf, math.nan):
        with pytest.raises(UsageError, match=f"^--max-symbol-ratio is {value}; expected a finite number"):
            PreprocessConfig(max_symbol_ratio=value)


def test_the_ends_of_the_ranges_are_fine() -> None:
    PreprocessConfig(validation_fraction=0.0)
    PretrainConfig(long_fraction=0.0, warmup_fraction=0.0, decay_fraction=1.0, evaluations=1)
    FinetuneConfig(mask_augment=0.0, learning_rates=(1e-3,), seeds=1, patience=1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 1, "updates": 10}, "Both --epochs and --updates are given"),
        ({"method": "head", "pattern": "[MASK]"}, "--method head is given with --pattern or --label-words"),
        ({"method": "head", "label_words": ("a=b",)}, "--method head is given with --pattern or --label-words"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        FinetuneConfig(**settings)


@pytest.mark.parametrize("objective", ["causal", "hybrid"])
def test_words_around_a_row_need_masked_rows(objective: Any) -> None:
    with pytest.raises(UsageError, match=f"--neighbour-weight is given, but the objective is {objective}, which"):
        PretrainConfig(objective=objective, neighbour_weight=0.3)
    PretrainConfig(objective="masked", neighbour_weight=0.3)


def test_the_warm_up_ends_before_the_decay_begins() -> None:
    with pytest.raises(
        UsageError, match=r"^--warmup-fraction 0\.5 and --decay-fraction 0\.6 overlap.* is at most 1\.$"
    ):
        PretrainConfig(warmup_fraction=0.5, decay_fraction=0.6)
    for hundredths in range(101):
        PretrainConfig(warmup_fraction=hundredths / 100, decay_fraction=(100 - hundredths) / 100)


@pytest.mark.parametrize("task", ["multilabel", "tokens"])
def test_a_second_text_needs_a_task_that_reads_it(task: Any) -> None:
    with pytest.raises(UsageError, match=f"--text-pair-column is given, but --task {task} reads a single text a row"):
        SplitConfig(task=task, text_pair_column="second")
    SplitConfig(task="regression", text_pair_column="second")


@pytest.mark.parametrize(
    ("config", "name", "value", "expected"),
    [
        (PreprocessConfig, "personal_data", "mask", "one of keep, replace"),
        (PreprocessConfig, "decontaminate", "remove", "one of drop, report, off"),
        (PreprocessConfig, "disabled_rules", "short", "a list, each item text in quotes"),
        (PrepareConfig, "long_texts", "cutt", "one of auto, windows, cut"),
        (SplitConfig, "task", "classify", "one of auto, classification"),
        (SplitConfig, "test_fraction", "0.1", "a number"),
        (FinetuneConfig, "learning_rates", 1e-3, "a list, each item a number"),
        (FinetuneConfig, "epochs", 2.5, "a whole number"),
        (FinetuneConfig, "stack", None, "true or false"),
        (ChatTuningConfig, "adapter", "qlora", "one of none, lora"),
        (Sampling, "top_k", "50", "a whole number"),
        (StrategiesConfig, "minutes", "5", "a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(config: Any, name: str, value: Any, expected: str) -> None:
    """A misspelt word switched the removal of personal data off, and others failed deep in a stage."""
    with pytest.raises(UsageError, match=f"^{name} in {config.__name__} is .*; expected {expected}"):
        config(**{name: value})


def test_values_become_those_of_python() -> None:
    config = FinetuneConfig(learning_rates=np.array([1e-3, 2]), epochs=np.int64(3), weight_decay=np.float32(0.5))
    assert config == FinetuneConfig(learning_rates=(1e-3, 2.0), epochs=3, weight_decay=0.5)
    assert type(config.epochs) is int and type(config.weight_decay) is float
    assert SplitConfig(label_names=["0=bad"]).label_names == ("0=bad",)  # type: ignore[arg-type]
    assert type(PretrainConfig(minutes=20).minutes) is float


def test_sentences_of_no_student_make_no_other_model() -> None:
    """A run with another number trains its control with the same settings, so it needs no --redo."""
    one, other = (FinetuneConfig(self_train=True, self_train_sentences=count) for count in (1000, 2000))
    assert to_identity(one) != to_identity(other)
    assert to_identity(one)["self_train_sentences"] == 1000
    controls = [dataclasses.replace(each, self_train=False, from_scratch=True) for each in (one, other)]
    assert to_identity(controls[0]) == to_identity(controls[1])
