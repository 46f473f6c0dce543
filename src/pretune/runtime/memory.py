"""How much memory this process has taken, and how much it can still have."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


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


def available_memory_bytes() -> int | None:
    """What new work can have without swapping: what the system calls available, or what is left of a container's
    limit, if that is less. None where the system does not say."""
    found = [value for value in (_system_available(), _left_of_limit()) if value is not None]
    return min(found, default=None)


def _system_available() -> int | None:
    if not _MEMINFO.is_file():
        return None
    for line in _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_of_limit() -> int | None:
    """Version 2 of control groups says `max` where there is no limit."""
    try:
        limit, used = (
            (_CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current")
        )
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None
