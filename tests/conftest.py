"""What every test shares: the folder of real data, where there is one, and quiet libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("RUST_BACKTRACE", "0")  # the tokenizers library prints traces of its own
os.environ.setdefault("NO_COLOR", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real corpora that the variable PRETUNE_DATA names; the test skips where it is not set."""
    folder = os.environ.get("PRETUNE_DATA")
    if not folder:
        pytest.skip("PRETUNE_DATA is not set: real data is not part of the repository")
    return Path(folder)
