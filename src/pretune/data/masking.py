"""Which tokens stand for text goes in, the positions to hide come out: a pure function of a seed and counters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator

IntArray = npt.NDArray[np.int64]


def draw_masked_positions(is_ordinary: npt.NDArray[np.bool_], count: int, seed: int, *names: str | int) -> IntArray:
    """`count` positions of ordinary tokens in the flattened batch, ascending; all of them if there are fewer.

    A fixed count per batch, instead of a probability per token, keeps shapes static; all ordinary tokens are equally
    likely.
    """
    candidates = np.flatnonzero(is_ordinary.reshape(-1))
    chosen = generator(seed, *names).choice(candidates, size=min(count, len(candidates)), replace=False)
    chosen.sort()
    return chosen.astype(np.int64)
