"""Loss and gradient norm of an update go in, a refusal comes out if the update would harm the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW_STEPS = 128
DEVIATIONS = 6.0
PATIENCE = 5  # after so many refused updates in a row, a better batch will not help
_LEAST_DEVIATION = 0.01  # as a fraction of the mean, or every change of a loss that hardly varies would be a spike


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an update was skipped: one of two words, and a sentence."""

    reason: str  # "not finite" or "spike"
    sentence: str


@dataclass(kw_only=True)
class Guard:
    """Checks loss and gradient norm of each update before it is made. Its fields are JSON values, kept in checkpoints.

    It refuses values that are not finite and, if `watches_spikes`, values more than six deviations above the mean of
    the last 128 steps (as OLMo does: github.com/allenai/OLMo-core, SkipStepOptimizer). A spike enters the window cut to
    the limit, so a single one is soon forgotten and a lasting change is accepted after a few. Nothing is a spike before
    the window is full.
    """

    watches_spikes: bool = True
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    refused_in_a_row: int = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether so many updates in a row were refused that the weights must be at fault."""
        return self.refused_in_a_row >= PATIENCE

    def judge(self, step: int, loss: float, grad_norm: float) -> Refusal | None:
        """The refusal of this step's update, or None if it should be made."""
        refusal = self._find_fault(step, loss, grad_norm)
        self.refused_in_a_row = 0 if refusal is None else self.refused_in_a_row + 1
        return refusal

    def forget(self) -> None:
        """Start a new window, because the values change for another reason than training."""
        self.losses, self.grad_norms = [], []

    def _find_fault(self, step: int, loss: float, grad_norm: float) -> Refusal | None:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            sentence = f"The loss or gradient of step {step:,} was not finite. Skipped this update."
            return Refusal(reason="not finite", sentence=sentence)
        limits = {"loss": _admit(self.losses, loss), "gradient norm": _admit(self.grad_norms, grad_norm)}
        if not self.watches_spikes:
            return None
        for (name, limit), value in zip(limits.items(), (loss, grad_norm), strict=True):
            if value > limit:
                sentence = (
                    f"The {name} of step {step:,} was {value:.3g}; the last {WINDOW_STEPS} steps predicted at most "
                    f"{limit:.3g}. Skipped this update."
                )
                return Refusal(reason="spike", sentence=sentence)
        return None


def _admit(window: list[float], value: float) -> float:
    """The limit above which a value is a spike. The value enters the window, cut to the limit."""
    limit = math.inf
    if len(window) == WINDOW_STEPS:
        mean = math.fsum(window) / WINDOW_STEPS
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in window) / WINDOW_STEPS)
        limit = mean + DEVIATIONS * max(deviation, _LEAST_DEVIATION * abs(mean))
    window.append(min(value, limit))
    del window[:-WINDOW_STEPS]
    return limit
