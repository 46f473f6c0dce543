"""Freed memory is kept if the C library supports that, unless the user has settings of their own."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

import pytest

from pretune.compute import malloc
from pretune.compute.malloc import keep_freed_memory

IS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


class Recorder:
    """A stand-in for the C library that records the calls of mallopt."""

    def __init__(self, *, is_glibc: bool, result: int = 1) -> None:
        self.calls: list[tuple[int, int]] = []
        self.result = result
        if is_glibc:
            self.gnu_get_libc_version = object()

    def mallopt(self, what: int, value: int) -> int:
        self.calls.append((what, value))
        return self.result


@pytest.fixture(autouse=True)
def no_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)


def call(monkeypatch: pytest.MonkeyPatch, library: Recorder) -> tuple[bool, list[tuple[int, int]]]:
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda _name: library)
    return keep_freed_memory(), library.calls


def test_both_thresholds_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, Recorder(is_glibc=True)) == (True, [(-3, 1 << 25), (-1, (1 << 31) - 1)])


def test_a_failure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, Recorder(is_glibc=True, result=0))[0] is False


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, Recorder(is_glibc=False)) == (False, [])


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")]
)
def test_settings_of_the_user_take_precedence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert call(monkeypatch, Recorder(is_glibc=True)) == (False, [])


@pytest.mark.skipif(not IS_GLIBC, reason="the C library is not glibc")
def test_reused_memory_causes_no_page_faults() -> None:
    """Count page faults while allocating and freeing 4 MB twenty times, in a separate process."""
    script = (
        "import ctypes, resource\n"
        "from pretune.compute.malloc import keep_freed_memory\n"
        "assert keep_freed_memory()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "def once():\n"
        "    block = ctypes.c_void_p(libc.malloc(4 << 20))\n"
        "    ctypes.memset(block, 1, 4 << 20)\n"
        "    libc.free(block)\n"
        "once()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): once()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pages = 20 * (4 << 20) // resource.getpagesize()
    assert int(done.stdout) < pages / 20
