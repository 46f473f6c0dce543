"""The estimate before a run: larger budgets, texts and models take longer; a disk that is too small is named."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from pretune import estimate_run as module
from pretune.errors import UsageError
from pretune.estimate_run import RunEstimate, describe, estimate_run
from pretune.recipe import Recipe, override


@pytest.fixture(autouse=True)
def steady_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip of 100 GFLOP/s, so that nothing here is measured."""
    monkeypatch.setattr(module, "_matrix_rate", lambda _device, _precision: 100e9)


def seconds(**values: Any) -> float:
    """Estimated seconds of a run with these settings."""
    return estimate_run(override(Recipe(), values)).seconds


def test_a_budget_in_minutes_takes_these_minutes() -> None:
    assert estimate_run(override(Recipe(), {"pretrain": {"minutes": 2}})).pretrain_seconds == 120


def test_more_takes_longer() -> None:
    small = {"tokens": 1_000_000, "size": "tiny"}
    assert seconds(pretrain=small) < seconds(pretrain=small | {"tokens": 10_000_000})
    assert seconds(pretrain=small) < seconds(pretrain=small | {"size": "small"})
    assert seconds(pretrain=small) < seconds(pretrain=small, collect={"builtin_documents": 2_000_000})
    assert seconds(pretrain=small, finetune={"seeds": 1}) < seconds(pretrain=small, finetune={"seeds": 5})


def test_a_base_brings_its_shape_and_needs_no_vectors(run_folder: Path) -> None:
    pretrain = {"tokens": 10_000_000}
    base = str(run_folder)
    from_base = estimate_run(override(Recipe(), {"base": base, "pretrain": pretrain}))
    assert from_base.pretrain_seconds < seconds_of_pretraining({**pretrain, "size": "tiny"})
    with pytest.raises(UsageError, match="--size is tiny, but the base has its shape"):
        estimate_run(override(Recipe(), {"base": base, "pretrain": {**pretrain, "size": "tiny"}}))


def seconds_of_pretraining(pretrain: dict[str, Any]) -> float:
    return estimate_run(override(Recipe(), {"pretrain": pretrain})).pretrain_seconds


def test_self_training_takes_longer() -> None:
    settings: list[dict[str, Any]] = [
        {"self_train": count > 0, "self_train_sentences": max(count, 200)} for count in (0, 1000, 100_000)
    ]
    without, few, many = (estimate_run(override(Recipe(), {"finetune": each})) for each in settings)
    assert without.task_seconds < few.task_seconds < many.task_seconds
    assert few.disk_bytes == many.disk_bytes > without.disk_bytes


def test_the_control_may_be_skipped() -> None:
    pretrain = {"minutes": 1, "size": "small"}
    both = estimate_run(override(Recipe(), {"pretrain": pretrain}))
    without = estimate_run(override(Recipe(), {"control": False, "pretrain": pretrain}))
    assert both.control_seconds > both.task_seconds > 0
    assert both.control_seconds == pytest.approx(3 * both.task_seconds)
    assert without.control_seconds == 0
    assert without.seconds < both.seconds


def test_the_number_of_updates_and_the_batch_size_count() -> None:
    """They were ignored: 50 updates were estimated as whole epochs of a large file."""
    pretrain = {"minutes": 1, "size": "tiny"}

    def task_seconds(**finetune: Any) -> float:
        finetune |= {"seeds": 1, "learning_rates": [1e-3]}
        return estimate_run(override(Recipe(), {"pretrain": pretrain, "finetune": finetune})).task_seconds

    some = task_seconds(updates=50)
    assert task_seconds(updates=100) == pytest.approx(2 * some)
    assert task_seconds(updates=50, batch_size=64) == pytest.approx(2 * some)
    assert some < task_seconds(epochs=1) < task_seconds(epochs=2)


def test_the_memory_of_the_initial_vectors_counts() -> None:
    """They take more than the training of a small model on much text."""

    def memory(**pretrain: Any) -> float:
        given = {"collect": {"builtin_documents": 5_000_000}, "pretrain": {"minutes": 1, "size": "tiny", **pretrain}}
        return estimate_run(override(Recipe(), given)).memory_bytes

    assert memory(initial_embedding="vectors") > 1.5 * memory(initial_embedding="random")


def test_a_long_control_mentions_how_to_skip_it(tmp_path: Path) -> None:
    values = {"starting_seconds": 0.0, "text_seconds": 0.0, "task_seconds": 1.0, "memory_bytes": 1.0, "disk_bytes": 1.0}
    for pretrain_seconds, control_seconds, is_mentioned in ((60, 500, False), (60, 700, True), (900, 700, False)):
        found = RunEstimate(pretrain_seconds=pretrain_seconds, control_seconds=control_seconds, **values)
        assert ("--without-control" in " ".join(describe(found, tmp_path))) == is_mentioned


def test_an_estimate_for_several_processes_says_for_which_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = RunEstimate(
        starting_seconds=1.0,
        text_seconds=1.0,
        pretrain_seconds=600.0,
        task_seconds=1.0,
        control_seconds=1.0,
        memory_bytes=1e9,
        disk_bytes=1.0,
    )
    assert len(describe(found, tmp_path)) == 1
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert describe(found, tmp_path)[1] == "This is for one process; 4 share the updates of pre-training."


def test_files_folders_and_patterns_are_weighed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    (tmp_path / "b.txt.zst").write_bytes(b"x" * 1000)
    (tmp_path / "c.txt").symlink_to(tmp_path / "gone.txt")  # it weighs nothing, and collect reports it
    for corpus in ([str(tmp_path)], [str(tmp_path / "*")], [str(tmp_path / "a.txt"), str(tmp_path / "b.txt.zst"), "-"]):
        found = estimate_run(override(Recipe(), {"corpus": corpus, "pretrain": {"minutes": 1}}))
        assert found.text_seconds == pytest.approx(7000 / 4e6)
        assert found.task_seconds == found.control_seconds == 0


def test_what_is_not_read_is_not_weighed(tmp_path: Path) -> None:
    """Hidden folders, pictures and pretune's own runs were, and the bytes of a docx or PDF counted as text."""
    for name in (".git/pack", "photo.jpg", "run/pretrain/checkpoint/model.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 1_000_000)
    for name in ("run/recipe.toml", "run/pretrain/manifest.json", "run/pretrain/events.jsonl"):
        (tmp_path / name).write_text("{}")
    for name in ("a.txt", "b.pdf", "c.docx", "d.html"):
        (tmp_path / name).write_bytes(b"x" * 4000)
    found = estimate_run(override(Recipe(), {"corpus": [str(tmp_path)], "pretrain": {"minutes": 1}}))
    assert found.text_seconds == pytest.approx((4000 + 800 + 2000 + 1400) / 4e6)


def test_a_folder_and_a_file_in_it_are_weighed_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    corpus = [str(tmp_path), str(tmp_path / "a.txt")]
    found = estimate_run(override(Recipe(), {"corpus": corpus, "pretrain": {"minutes": 1}}))
    assert found.text_seconds == pytest.approx(4000 / 4e6)


def test_a_file_that_a_pattern_matches_in_several_ways_is_weighed_once(tmp_path: Path) -> None:
    """A pattern with ** matches each folder above a file, too, which were all weighed with what is in them."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_bytes(b"x" * 4000)
    for pattern in ("**", "**/*.txt", "*"):
        found = estimate_run(override(Recipe(), {"corpus": [str(tmp_path / pattern)], "pretrain": {"minutes": 1}}))
        assert found.text_seconds == pytest.approx(4000 / 4e6)


def test_a_public_data_set_is_weighed_by_its_archive() -> None:
    found = estimate_run(override(Recipe(), {"corpus": ["imdb", "hf:owner/name"], "pretrain": {"minutes": 1}}))
    assert found.text_seconds == pytest.approx(3 * 84_125_825 / 4e6)


def test_a_disk_that_is_too_small_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = estimate_run(override(Recipe(), {"control": False, "pretrain": {"minutes": 1}}))
    assert len(describe(found, tmp_path / "runs" / "a")) == 1
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 10**6))
    assert describe(found, tmp_path)[1].startswith("Only 1.0 MB of disk space is free")
