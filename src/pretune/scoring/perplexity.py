"""From a loss in nats per token to its perplexity."""

from __future__ import annotations

import math

_LARGEST_LOSS = 700.0  # whose exponential is a number that JSON can hold


def perplexity_of(loss: float) -> float:
    """The number of equally likely tokens that a loss in nats stands for; at most e^700."""
    return math.exp(min(loss, _LARGEST_LOSS))
