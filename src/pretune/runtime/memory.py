"""The peak memory of this process, the memory that is still available to it, and whether there was too little."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
# In the messages of native libraries, on CPUs and elsewhere.
_FULL = ("not enough memory", "can't allocate memory", "Cannot allocate memory", "out of memory")


def peak_memory_bytes() -> int:
    """The peak memory of this process since `begin_peak`, or since its start if the system cannot reset the peak."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        kilobytes = _STATUS.read_text(encoding="ascii", errors="replace").split("VmHWM:")[1].split()[0]
        return int(kilobytes) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def begin_peak() -> None:
    """Reset the peak (Linux: proc(5), clear_refs), so that a stage does not report that of the one before."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def available_memory_bytes() -> int | None:
    """The memory that new work can use without swapping: what the system reports as available, or what is left of a
    container's limit if that is less. None if the system reports neither."""
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
    """The memory left under the limit of a cgroup (version 2); the file contains `max` if there is no limit."""
    try:
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return None
    return max(0, limit - max(0, used - _cached_bytes()))


def _cached_bytes() -> int:
    """The content of files that the cgroup keeps in memory: `memory.current` counts it, but the kernel drops it as soon
    as new work needs the memory, which is why MemAvailable includes it, too."""
    with contextlib.suppress(OSError, ValueError):
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        counts = dict(line.split() for line in lines)
        return sum(int(counts.get(name, 0)) for name in ("active_file", "inactive_file"))
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed. Torch raises a class of its own on GPUs, and a RuntimeError on CPUs."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
