from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import to_json
from pretune.run_trace.recorded import Recorded, read_recorded, traced_model
from pretune.runtime.manifest import read_manifest, sealed
from pretune.runtime.stage_folder import open_stage
from pretune.trace_schema import RunTrace


def finish(folder: Path, stage: str, content: str) -> str:
    """Make a finished stage folder with one file; its fingerprint."""
    opened = open_stage(folder, stage, config={}, inputs={})
    (folder / "model.bin").write_text(content, encoding="utf-8")
    opened.finish()
    return read_manifest(folder).fingerprint


def test_the_traced_model_is_the_fine_tuned_one_or_else_the_pre_trained_one(tmp_path: Path) -> None:
    assert traced_model(tmp_path) is None
    pretrained = finish(tmp_path / "pretrain", "pretrain", "a")
    assert traced_model(tmp_path) == pretrained
    assert traced_model(tmp_path) != finish(tmp_path / "finetune", "finetune", "b") == traced_model(tmp_path)


def test_predictions_of_the_same_model_are_kept_and_of_another_are_not(tmp_path: Path, traced: RunTrace) -> None:
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    finish(tmp_path / "finetune", "finetune", "a")
    made = build_run_trace(tmp_path, predictions=traced.predictions, fills=traced.fills)
    (tmp_path / "trace.json").write_text(json.dumps(sealed(to_json(made))), encoding="utf-8")
    assert made.fingerprint == traced_model(tmp_path)
    assert build_run_trace(tmp_path) == made
    other = json.dumps(sealed(to_json(made) | {"fingerprint": "of another model"}))
    (tmp_path / "trace.json").write_text(other, encoding="utf-8")
    again = build_run_trace(tmp_path)
    assert (again.predictions, again.fills, again.fingerprint) == ([], [], None)


def test_no_file_and_one_of_the_former_form_count_as_absent(tmp_path: Path) -> None:
    assert read_recorded(tmp_path) == Recorded()
    (tmp_path / "trace.json").write_text('{"layers": {}, "text": "a"}', encoding="utf-8")
    assert read_recorded(tmp_path) == Recorded()
    (tmp_path / "trace.json").write_text('{"schema": "trace/9.0"}', encoding="utf-8")
    assert read_recorded(tmp_path) == Recorded()


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "trace/1.0"}', "\x00"])
def test_what_cannot_be_read_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "trace.json").write_text(content, encoding="utf-8")
    assert read_recorded(tmp_path).is_damaged


def test_a_broken_seal_is_no_hash(tmp_path: Path, traced: RunTrace) -> None:
    data = sealed(to_json(traced))
    (tmp_path / "trace.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_recorded(tmp_path).sha256 == data["sha256"]
    (tmp_path / "trace.json").write_text(json.dumps(data | {"excerpts": 0}), encoding="utf-8")
    assert read_recorded(tmp_path).sha256 is None


def test_a_file_that_nests_too_deeply_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("[" * 100_000, encoding="utf-8")
    assert read_recorded(tmp_path) == Recorded(is_damaged=True)
