"""Memory that tensors give back stays with the process: asking the system for it again costs a page fault every 4 KB.

A training step frees its activations and needs as much again a moment later. glibc hands blocks above 128 KB back to
the system at once, and the top of its heap soon after, so that every step touches fresh pages: a quarter of a
fine-tuning step on short texts (docs/guide/performance.md).
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_KEPT = 1 << 25  # the most that glibc takes as a threshold; larger blocks still come from the system
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, and say whether it does; a user's own settings hold."""
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept = library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    return bool(kept and library.mallopt(_M_TRIM_THRESHOLD, _NEVER))
