"""The learning rate as a pure function of the step: warm-up, constant, decay to zero."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The schedule of a run, fixed before its first step; after that everything is a function of the step.

    Steps count from 1. Rows are long after step `long_start_step`.
    """

    steps: int
    warmup_steps: int
    decay_start_step: int
    long_start_step: int
    tokens_per_step: int
    is_corrected: bool = False  # one correction of the length is allowed, when the decay begins

    def rate(self, step: int) -> float:
        """The fraction of the peak rate at update number `step` (from 1): warm-up, stable, linear decay (WSD)."""
        if step <= self.warmup_steps:
            return step / max(1, self.warmup_steps)
        if step <= self.decay_start_step:
            return 1.0
        return max(0.0, (self.steps - step + 1) / (self.steps - self.decay_start_step + 1))

    def with_steps(self, steps: int) -> Plan:
        """The same schedule with its end moved, and with long rows in the same fraction of the decay."""
        decay, long = self.steps - self.decay_start_step, self.steps - self.long_start_step
        new_decay = max(1, steps - self.decay_start_step)
        new_long = round(long * new_decay / max(1, decay))
        return replace(self, steps=steps, long_start_step=steps - new_long, is_corrected=True)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_steps(
    steps: int, *, warmup_fraction: float, decay_fraction: float, long_fraction: float, tokens_per_step: int
) -> Plan:
    """The schedule of `steps` updates. Long rows are within the decay, so that a correction may move them."""
    decay = max(1, round(steps * decay_fraction))
    return Plan(
        steps=steps,
        warmup_steps=max(1, round(steps * warmup_fraction)),
        decay_start_step=steps - decay,
        long_start_step=steps - min(round(steps * long_fraction), decay),
        tokens_per_step=tokens_per_step,
    )
