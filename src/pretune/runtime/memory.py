"""How much memory this process has taken."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory_bytes() -> int:
    """The most memory this process has held since `begin_peak`, or since it began where the system keeps one peak."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        kilobytes = _STATUS.read_text(encoding="ascii", errors="replace").split("VmHWM:")[1].split()[0]
        return int(kilobytes) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def begin_peak() -> None:
    """Measure the peak from here on (Linux: proc(5), clear_refs), so that a stage is not told an earlier one's."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
