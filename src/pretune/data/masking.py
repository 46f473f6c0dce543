"""Which tokens are hidden, as a pure function of seed and counters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator

IntArray = npt.NDArray[np.int64]


def draw_masked_positions(
    input_ids: IntArray, count: int, first_ordinary_id: int, seed: int, *names: str | int
) -> IntArray:
    """`count` places of the flattened batch, sorted, that hold ordinary tokens; fewer where there are fewer.

    A fixed count per batch instead of a coin per token keeps shapes static; every ordinary token is equally likely.
    """
    candidates = np.flatnonzero(input_ids.reshape(-1) >= first_ordinary_id)
    chosen = generator(seed, *names).choice(candidates, size=min(count, len(candidates)), replace=False)
    chosen.sort()
    return chosen.astype(np.int64)
