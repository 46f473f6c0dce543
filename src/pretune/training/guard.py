"""Which updates are refused because they would harm the run, and when it is time to go back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW_STEPS = 128
DEVIATIONS = 6.0
PATIENCE = 5  # refused updates in a row after which waiting for a better batch is hopeless
_LEAST_DEVIATION = 0.01  # of the mean: a loss that hardly varies must not make every change a spike


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an update was not made, in a word and in a sentence."""

    reason: str  # "not finite" or "spike"
    sentence: str


@dataclass(kw_only=True)
class Guard:
    """Judges loss and gradient norm of each update before it is made. Its fields are JSON values, kept in checkpoints.

    Refused is what is not finite, and where `watches_spikes` what lies more than six deviations above the mean of the
    last 128 steps (as OLMo does: github.com/allenai/OLMo-core, SkipStepOptimizer). A spike enters the window as high as
    it was allowed to be, so that one is soon forgotten and a lasting change is accepted after some. Nothing is a spike
    before the window is full.
    """

    watches_spikes: bool = True
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    refused_in_a_row: int = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether so many updates in a row were refused that the fault must lie in the weights."""
        return self.refused_in_a_row >= PATIENCE

    def judge(self, step: int, loss: float, grad_norm: float) -> Refusal | None:
        """What speaks against the update of this step; None where nothing does."""
        refusal = self._find_fault(step, loss, grad_norm)
        self.refused_in_a_row = 0 if refusal is None else self.refused_in_a_row + 1
        return refusal

    def forget(self) -> None:
        """Begin a new window, where what is measured changes its nature."""
        self.losses, self.grad_norms = [], []

    def _find_fault(self, step: int, loss: float, grad_norm: float) -> Refusal | None:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            sentence = f"The loss or gradient of step {step:,} was not finite, so the weights were left as they were."
            return Refusal(reason="not finite", sentence=sentence)
        limits = {"loss": _admit(self.losses, loss), "gradient norm": _admit(self.grad_norms, grad_norm)}
        if not self.watches_spikes:
            return None
        for (name, limit), value in zip(limits.items(), (loss, grad_norm), strict=True):
            if value > limit:
                sentence = (
                    f"The {name} of step {step:,} was {value:.3g}, where the last {WINDOW_STEPS} steps let expect at "
                    f"most {limit:.3g}, so the weights were left as they were."
                )
                return Refusal(reason="spike", sentence=sentence)
        return None


def _admit(window: list[float], value: float) -> float:
    """The highest value that is no spike; the value enters the window, cut to it."""
    limit = math.inf
    if len(window) == WINDOW_STEPS:
        mean = math.fsum(window) / WINDOW_STEPS
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in window) / WINDOW_STEPS)
        limit = mean + DEVIATIONS * max(deviation, _LEAST_DEVIATION * abs(mean))
    window.append(min(value, limit))
    del window[:-WINDOW_STEPS]
    return limit
