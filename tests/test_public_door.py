"""`import pretune` costs nothing, and every public name leads somewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pretune


def test_import_is_light() -> None:
    program = "import sys, pretune; print([m for m in ('torch', 'numpy', 'sklearn', 'tokenizers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", pretune.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(pretune, name) is not None
    assert name in dir(pretune)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pretune.nothing
