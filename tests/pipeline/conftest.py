"""Commands given by several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run_together() -> Callable[[list[dict[str, Any]]], list[list[tuple[int, str]]]]:
    """Give each command of a plan (see together.py), one after the other: exit status and stderr of each process."""

    def run(plan: list[dict[str, Any]]) -> list[list[tuple[int, str]]]:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("together.py"))],
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            },
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [[(status, told) for status, told in each] for each in json.loads(done.stdout)]

    return run
