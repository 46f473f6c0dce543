"""Named random numbers: every draw is a pure function of (seed, name, counters), so no state needs to be stored."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose and of the order of calls."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator (Philox, counter-based) for one purpose."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, *names)))


def permutation(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of `count` items in one epoch; the same on every machine."""
    return generator(seed, "order", epoch).permutation(count)
