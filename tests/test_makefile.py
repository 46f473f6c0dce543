"""What `make` does before there is an environment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# As Debian's Python without python3-venv: it fails after it has made a part of the environment, without pip.
WITHOUT_VENV = """#!/bin/sh
[ "$1" = -c ] && exit 0
mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
exit 1
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_an_environment_that_could_not_be_made_is_removed(tmp_path: Path) -> None:
    """The next call took it for a whole one, and failed for lack of pip even after python3-venv was installed."""
    python = tmp_path / "python-without-venv"
    python.write_text(WITHOUT_VENV, encoding="utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), ".venv/.python", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout
    assert not (tmp_path / ".venv").exists()
