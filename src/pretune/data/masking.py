"""Which tokens stand for text goes in, the positions to hide come out: a pure function of a seed and counters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_FREQUENT = 1e-3  # the fraction of all tokens from which a token is hidden less often; in English, some 120 tokens


def is_frequent(counts: IntArray) -> npt.NDArray[np.bool_]:
    """(V,): whether a token with these counts (V,) makes up more than a thousandth of the text."""
    return np.asarray(counts > _FREQUENT * counts.sum())


def frequency_weights(counts: IntArray) -> FloatArray:
    """The logarithm of the weight (V,) with which each token is hidden: the inverse root of its frequency, at most 1.

    `counts` (V,) are those of the training text. Marks and function words make up half of a text and are soon learned;
    the words that tell texts apart are rare. The weights are those with which word2vec keeps words (arXiv:1310.4546,
    section 2.3).
    """
    shares = counts / max(1, counts.sum())
    return np.asarray(0.5 * np.minimum(0.0, np.log(_FREQUENT / np.maximum(shares, 1e-12))))


def draw_masked_positions(
    is_ordinary: npt.NDArray[np.bool_],
    count: int,
    seed: int,
    *names: str | int,
    log_weights: FloatArray | None = None,
) -> IntArray:
    """`count` positions of ordinary tokens in the flattened batch, ascending; all of them if there are fewer.

    A fixed count per batch, instead of a probability per token, keeps shapes static. All ordinary tokens are equally
    likely, or, with `log_weights` of the positions, each in proportion to its weight among those that are left (the
    largest of Gumbel-distributed keys, arXiv:1903.06059).
    """
    candidates = np.flatnonzero(is_ordinary.reshape(-1))
    count, random = min(count, len(candidates)), generator(seed, *names)
    if log_weights is None:
        chosen = random.choice(candidates, size=count, replace=False)
    else:
        keys = log_weights.reshape(-1)[candidates] + random.gumbel(size=len(candidates))
        chosen = candidates[np.argsort(-keys, kind="stable")[:count]]
    chosen.sort()
    return chosen.astype(np.int64)
