"""Arrays in files, read by several threads."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_LOCK = Lock()


def load_array(path: str | Path, *, mmap_mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    """The array that `np.save` wrote; with `mmap_mode`, its values are read when they are used.

    One thread at a time: numpy parses the header with `ast.literal_eval`, and Python 3.11's parser keeps its depth in a
    place that threads share, so it now and then raises a SystemError ("recursion depth mismatch",
    github.com/python/cpython/issues/106905).
    """
    with _LOCK:
        return np.asanyarray(np.load(path, mmap_mode=mmap_mode))
