"""Peak memory as the system counts it, and available memory by the system and by a container's limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pretune.runtime import memory
from pretune.runtime.memory import available_memory_bytes

MEMINFO = "MemTotal:       24000 kB\nMemFree:         100 kB\nMemAvailable:    9000 kB\n"


def test_the_peak_is_that_of_the_system() -> None:
    code = "import resource\nfrom pretune.runtime.memory import peak_memory_bytes\nheld = bytearray(60_000_000)\n"
    code += "print(peak_memory_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    if sys.platform == "darwin":
        code = code.replace(" * 1024", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, theirs = map(int, done.stdout.split())
    assert ours >= 60_000_000
    # Only the second number includes the peak of the process that this one was forked from.
    assert ours <= theirs * 1.02


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset the peak")
def test_the_peak_is_reset_for_each_stage() -> None:
    """In a process of its own: one that has done much holds freed memory, from which it would take these numbers."""
    code = (
        "import numpy as np\n"
        "from pretune.runtime.memory import begin_peak, peak_memory_bytes\n"
        "begin_peak()\n"
        "peaks = [peak_memory_bytes()]\n"
        "held = np.ones(25_000_000)\n"
        "peaks.append(peak_memory_bytes())\n"
        "del held\n"
        "begin_peak()\n"
        "print(*peaks, peak_memory_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, held, after = map(int, done.stdout.split())
    assert held >= before + 190_000_000
    assert after < before + 100_000_000


@pytest.mark.parametrize(
    ("limit", "used", "stat", "expected"),
    [
        ("max", "5", None, 9000 * 1024),
        ("3000000", "1000000", None, 2_000_000),
        ("10", "20", None, 0),
        (None, None, None, 9000 * 1024),
        ("3000000", "2900000", "anon 400000\ninactive_file 1500000\nactive_file 1000000\n", 2_600_000),
        ("3000000", "2900000", "anon 2900000\n", 100_000),
        ("3000000", "10", "active_file 20\ninactive_file 0\n", 3_000_000),  # the two are not read at one instant
        ("3000000", "2900000", "in another form", 100_000),
    ],
)
def test_the_smaller_of_system_and_container_counts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    limit: str | None,
    used: str | None,
    stat: str | None,
    expected: int,
) -> None:
    """What a container keeps of files in memory is available: after much preprocessing, training was refused."""
    (tmp_path / "meminfo").write_text(MEMINFO, encoding="ascii")
    if stat is not None:
        (tmp_path / "memory.stat").write_text(stat, encoding="ascii")
    if limit is not None and used is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
        (tmp_path / "memory.current").write_text(f"{used}\n", encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_memory_bytes() == expected


def test_missing_system_files_are_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_memory_bytes() is None
