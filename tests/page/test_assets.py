"""The package carries the bundle, and says what to do where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.errors import UsageError
from pretune.page import assets


def test_the_package_has_both() -> None:
    found = assets.read_assets()
    assert found.script
    assert found.style


def test_a_tree_without_a_bundle_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "files", lambda _package: tmp_path)
    with pytest.raises(UsageError, match="`make page`"):
        assets.read_assets.__wrapped__()


def test_the_script_stays_small() -> None:
    """It is in every report; a library or a data set in it would show here (ADR 0023)."""
    assert len(assets.read_assets().script.encode()) < 240_000
