"""The peak of memory, as the system counts it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pretune.runtime.memory import begin_peak, peak_memory_bytes


def test_the_peak_is_that_of_the_system() -> None:
    code = "import resource\nfrom pretune.runtime.memory import peak_memory_bytes\nheld = bytearray(60_000_000)\n"
    code += "print(peak_memory_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    if sys.platform == "darwin":
        code = code.replace(" * 1024", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, theirs = map(int, done.stdout.split())
    assert ours >= 60_000_000
    # A process begins with the peak of the one it was forked from in the second figure only
    assert ours <= theirs * 1.02


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets a peak")
def test_a_stage_is_not_told_the_peak_of_an_earlier_one() -> None:
    begin_peak()
    before = peak_memory_bytes()
    held = np.ones(25_000_000)
    assert peak_memory_bytes() >= before + 190_000_000
    del held
    begin_peak()
    assert peak_memory_bytes() < before + 100_000_000
