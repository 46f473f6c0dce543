"""Events in, and out the tokens per second of the latest updates.

The mean since the start would include compilation, and that of a resumed stage the time between two attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

RATE_SECONDS = 15.0  # over which the current rate is measured
_BREAKS = ("stage_started", "resumed", "rolled_back", "trial_started", "evaluation")  # no time of updates


class UpdateRate:
    """The rate of the last few seconds, without evaluations and the checkpoints that are saved after them."""

    def __init__(self) -> None:
        self._recent = deque[tuple[float, int]]()  # time and tokens of the latest updates

    def follow(self, event: Mapping[str, Any]) -> None:
        """Take an event into account."""
        if event["event"] in _BREAKS:
            self._recent.clear()
        if event["event"] != "train" or "tokens" not in event:
            return
        if self._recent and event["time"] < self._recent[-1][0]:  # the clock was set back
            self._recent.clear()
        self._recent.append((event["time"], event["tokens"]))
        while event["time"] - self._recent[0][0] > RATE_SECONDS and len(self._recent) > 2:
            self._recent.popleft()

    def per_second(self) -> float | None:
        """Tokens per second; None until two updates are known."""
        if len(self._recent) < 2:
            return None
        (start, before), (end, tokens) = self._recent[0], self._recent[-1]
        return (tokens - before) / (end - start) if end > start else None
