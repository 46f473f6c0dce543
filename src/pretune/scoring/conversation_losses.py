"""From the losses of held-out replies to a model's loss and perplexity, and to the difference of two models.

S runs (seeds) of a model, N conversations, the same in the same order on both sides. The loss of a run is the sum over
all conversations divided by their tokens, so a long reply counts for more than a short one. The tokens of a
conversation depend on each other, so conversations are resampled, not tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.perplexity import perplexity_of
from pretune.scoring.uncertainty import Difference, FloatArray, bootstrap_difference, bootstrap_over_seeds

IntArray = npt.NDArray[np.int64]


def mean_over_conversations(
    sums: FloatArray, counts: IntArray, bounds: tuple[float, float] = (0.0, math.inf)
) -> tuple[float, tuple[float, float]]:
    """The mean per token of a figure within `bounds`, by default of the loss in nats, with a 95 % interval.

    `sums` (S, N) are summed over the supervised tokens of each conversation, `counts` (N,) are these tokens.
    """
    return bootstrap_over_seeds(
        sums.sum(axis=1) / counts.sum(), lambda weights: _ratios(weights, sums, counts), len(counts), bounds
    )


def loss_difference(a: FloatArray, b: FloatArray, counts: IntArray) -> Difference:
    """The difference of two models' losses per token, a - b, in nats, paired by conversation: below zero, a is better.

    `a` (S_a, N) and `b` (S_b, N) are summed over the tokens of each conversation.
    """
    total = counts.sum()
    return bootstrap_difference(
        a.sum(axis=1) / total,
        b.sum(axis=1) / total,
        lambda weights: (_ratios(weights, a, counts), _ratios(weights, b, counts)),
        len(counts),
        limit=math.inf,
    )


def describe_losses(sums: FloatArray, counts: IntArray) -> dict[str, Any]:
    """The loss and the perplexity of a model as JSON values, with intervals; perplexity is exp(loss)."""
    loss, interval = mean_over_conversations(sums, counts)
    return {
        "n": len(counts),
        "tokens": int(counts.sum()),
        "loss": loss,
        "loss_interval": list(interval),
        "perplexity": perplexity_of(loss),
        "perplexity_interval": [perplexity_of(end) for end in interval],
    }


def _ratios(weights: FloatArray, sums: FloatArray, counts: IntArray) -> FloatArray:
    """(R, S): the loss of each run in each replicate, whose conversations have the weights (R, N)."""
    return np.asarray(weights @ sums.T / (weights @ counts)[:, None], dtype=np.float64)
