"""Worker: matrix products alone, in turns, for what share of the chip's rate a training step reaches."""

from __future__ import annotations

import json
import sys

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
from contenders import Turns
from machine import matrix_gflops

if __name__ == "__main__":
    dtype = json.loads(sys.argv[1])["dtype"]
    matrix_gflops(dtype, 0.2)
    turns = Turns()
    going = turns.ready()
    while going:
        going = turns.end(gflops=matrix_gflops(dtype, 1.5))
