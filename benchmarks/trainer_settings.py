"""The settings of Hugging Face's example, as it comes and as a user would tune it; how good settings are searched.

Nothing here imports torch or transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

_MOST_LIMIT = 1024  # run_mlm.py makes no longer rows unless it is asked to
_LOWEST = {"learning_rate": 1e-5, "rows_per_step": 1}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """What the worker timed_trainer.py trains with. None leaves a value to `run_mlm.py` and transformers.

    `row_tokens` is the length of a row of concatenated texts; `attention` is `sdpa` or `eager`, which computes it in
    plain products.
    """

    row_tokens: int | None = None
    rows_per_step: int | None = None
    learning_rate: float | None = None
    warmup_fraction: float = 0.0
    weight_decay: float | None = None
    adam_beta2: float | None = None
    mask_prob: float = 0.15
    attention: str | None = None
    bf16: bool = False
    compiled: bool = False

    def training_arguments(self) -> dict[str, Any]:
        """The arguments of transformers' TrainingArguments that differ from its defaults."""
        given = {
            "per_device_train_batch_size": self.rows_per_step,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "adam_beta2": self.adam_beta2,
            "bf16": self.bf16 or None,
            "torch_compile": self.compiled or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def describe(self) -> dict[str, Any]:
        """What differs from the example as it comes."""
        default = asdict(DEFAULT)
        return {name: value for name, value in asdict(self).items() if value != default[name]}


DEFAULT = TrainerSettings()


def tuned_start(row_tokens: int, rows_per_step: int, *, has_bf16: bool) -> TrainerSettings:
    """Where the search begins: our rows and updates, a usual rate for small models, and what the chip has."""
    return TrainerSettings(
        row_tokens=row_tokens,
        rows_per_step=rows_per_step,
        learning_rate=1e-3,
        warmup_fraction=0.05,
        weight_decay=0.01,
        adam_beta2=0.98,
        bf16=has_bf16,
        compiled=has_bf16,
    )


def search(start: TrainerSettings, score: Callable[[TrainerSettings], float]) -> TrainerSettings:
    """The settings with the highest score that are found by changing one at a time, each for good if it helps.

    The learning rate and the rows per update are doubled, or else halved, as long as that helps. Then twice the masks
    are tried, the other attention, and compiled code if the start has none.
    """
    best = _climb(start, "learning_rate", score)
    best = _climb(best, "rows_per_step", score)
    others = {"mask_prob": 0.3, "attention": "eager", "compiled": True}
    for name, value in others.items():
        changed = _changed(best, name, value)
        if changed != best and score(changed) > score(best):
            best = changed
    return best


def _climb(start: TrainerSettings, name: str, score: Callable[[TrainerSettings], float]) -> TrainerSettings:
    best = start
    for factor in (2.0, 0.5):
        while True:
            value = getattr(best, name)
            changed = _changed(best, name, type(value)(value * factor))
            if getattr(changed, name) < _LOWEST[name] or score(changed) <= score(best):
                break
            best = changed
        if best != start:
            break
    return best


def _changed(settings: TrainerSettings, name: str, value: Any) -> TrainerSettings:
    fields: dict[str, Any] = {name: value}
    return replace(settings, **fields)


def rate_at(fraction: float, warmup_fraction: float) -> float:
    """The learning rate, as a fraction of its peak, when this fraction of the time is over: up, then down to zero,
    both linearly."""
    if fraction < warmup_fraction:
        return fraction / warmup_fraction
    return max(0.0, (1 - fraction) / (1 - warmup_fraction))


def default_row_tokens(limits: Sequence[int]) -> int:
    """The length of a row for `run_mlm.py` without --max_seq_length: as much as tokenizer and model allow, up to
    1,024 tokens."""
    return min(_MOST_LIMIT, *limits)
