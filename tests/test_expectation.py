"""What is said before a run: larger budgets, texts and models take longer, and a disk that is too small is named."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from pretune import expectation
from pretune.expectation import describe, expect
from pretune.recipe import Recipe, override


@pytest.fixture(autouse=True)
def steady_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip of 100 GFLOP/s, so that nothing here is measured."""
    monkeypatch.setattr(expectation, "_matrix_rate", lambda _device, _precision: 100e9)


def seconds(**values: Any) -> float:
    """What a recipe with these settings takes."""
    return expect(override(Recipe(), values)).seconds


def test_minutes_are_taken_at_their_word() -> None:
    assert expect(override(Recipe(), {"pretrain": {"minutes": 2}})).pretrain_seconds == 120


def test_more_takes_longer() -> None:
    small = {"tokens": 1_000_000, "size": "tiny"}
    assert seconds(pretrain=small) < seconds(pretrain=small | {"tokens": 10_000_000})
    assert seconds(pretrain=small) < seconds(pretrain=small | {"size": "small"})
    assert seconds(pretrain=small) < seconds(pretrain=small, collect={"builtin_documents": 2_000_000})
    assert seconds(pretrain=small, finetune={"seeds": 1}) < seconds(pretrain=small, finetune={"seeds": 5})


def test_files_folders_and_patterns_are_weighed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    (tmp_path / "b.txt.zst").write_bytes(b"x" * 1000)
    for corpus in ([str(tmp_path)], [str(tmp_path / "*")], [str(tmp_path / "a.txt"), str(tmp_path / "b.txt.zst"), "-"]):
        found = expect(override(Recipe(), {"corpus": corpus, "pretrain": {"minutes": 1}}))
        assert found.text_seconds == pytest.approx(7000 / 4e6)
        assert found.task_seconds == 0


def test_a_public_data_set_is_weighed_by_its_archive() -> None:
    found = expect(override(Recipe(), {"corpus": ["imdb", "hf:owner/name"], "pretrain": {"minutes": 1}}))
    assert found.text_seconds == pytest.approx(3 * 84_125_825 / 4e6)


def test_a_disk_that_is_too_small_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = expect(override(Recipe(), {"pretrain": {"minutes": 1}}))
    assert len(describe(found, tmp_path / "runs" / "a")) == 1
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 10**6))
    assert describe(found, tmp_path)[1].startswith("Only 1 MB of disk are free")
