"""Benchmarks that append lines to a file leave out what was measured under the same conditions, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import few_labels
import long_texts
import pytest


def make_base(folder: Path) -> str:
    """A model folder with nothing but the files that identify it."""
    folder.mkdir()
    for name, content in (("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", folder.name)):
        (folder / name).write_text(content, encoding="utf-8")
    return str(folder)


def run_main(module: Any, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    monkeypatch.setattr(module.torch, "set_num_threads", lambda _count: None)  # of the process of all tests
    module.main()


def test_few_labels_measures_another_base_and_other_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_draw(_bench: Any, _count: int, _draw: int, arms: list[str], _settings: Any) -> Iterator[dict[str, Any]]:
        for arm in arms:
            yield {"arm": arm, "singles": [{"accuracy": 0.5, "loss": 0.7}], "seconds": 0.1}

    monkeypatch.setattr(few_labels, "Bench", lambda *_: None)
    monkeypatch.setattr(few_labels, "read_sst2", lambda _data: None)
    monkeypatch.setattr(few_labels, "run_draw", run_draw)
    out = tmp_path / "lines.jsonl"
    options = ["--out", str(out), "--tasks", "sst2", "--labels", "8", "--draws", "0", "--arms", "head", "probe"]
    first, second = (make_base(tmp_path / name) for name in ("first", "second"))
    counts = []
    for words in ([first], [first], [second], [second, "--test-rows", "500"], [second, "--rate", "1e-3"]):
        run_main(few_labels, [*words, *options], monkeypatch)
        counts.append(len(out.read_text(encoding="utf-8").splitlines()))
    assert counts == [2, 2, 4, 6, 7]  # a rate is of the arms that are trained
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(few_labels.summarize(lines[:2], "chip", "commit")["rows"]) == 2
    with pytest.raises(SystemExit, match="several bases"):
        few_labels.summarize(lines, "chip", "commit")


def test_a_line_of_few_labels_that_does_not_name_its_base_is_measured_again() -> None:
    line = {"task": "sst2", "labels": 8, "draw": 0, "arm": "probe"}
    assert few_labels._key(line) != few_labels._key({**line, "base": "a", "test_rows": 872})


def test_long_texts_measures_another_base_and_other_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load_tokenizer", "write_shards"):
        monkeypatch.setattr(long_texts, name, lambda *_: None)
    monkeypatch.setattr(long_texts, "run_arm", lambda *_: {"updates": 1})
    out, reviews = tmp_path / "lines.jsonl", tmp_path / "reviews"
    first, second = (make_base(tmp_path / name) for name in ("first", "second"))
    counts = []
    for base, text in ((first, "good"), (first, "good"), (second, "good"), (second, "bad")):
        reviews.write_text(text, encoding="utf-8")
        words = [str(out), "--base", base, "--reviews", str(reviews), "--arms", "cut"]
        run_main(long_texts, words, monkeypatch)
        counts.append(len(out.read_text(encoding="utf-8").splitlines()))
    assert counts == [1, 1, 2, 3]
