"""The compare stage: it reads predictions, trains the baselines, and its log adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import InputDataError, UsageError
from pretune.runtime.events import Event, read_events
from pretune.runtime.stage_folder import open_stage
from pretune.stages.compare import compare
from pretune.text.seen_texts import PRETRAINING, save_seen


def draw_runs(skill: float, num_seeds: int, seed: int, num_rows: int) -> np.ndarray:
    """Whether each run (S, N) predicts each row correctly: rows differ in difficulty, runs in luck."""
    random = np.random.default_rng(seed)
    difficulty = np.random.default_rng(99).normal(0, 1, size=num_rows)
    return difficulty + random.normal(0, 0.7, size=(num_seeds, num_rows)) + skill > 0


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_prepared(path: Path, num_test: int = 120, *, has_pairs: bool = False) -> Path:
    folder = open_stage(path, "prepare", config={}, inputs={})
    draw = np.random.default_rng(3)
    for split, count in (("train", 200), ("validation", 60), ("test", num_test)):
        labels = draw.integers(2, size=count).tolist()
        lines = [
            {"row": n, "text": f"{'good fine nice' if y else 'bad poor sad'} {n % 9}", "label": y}
            for n, y in enumerate(labels)
        ]
        if has_pairs:
            lines = [{**line, "text_pair": f"second {line['row']}"} for line in lines]
        if split == "test":
            lines = [{**line, "slice": "seen" if n % 2 else "unseen"} for n, line in enumerate(lines)]
        write_lines(path / f"{split}.jsonl", lines)
    (path / "labels.json").write_text(json.dumps({"task": "classification", "names": ["bad", "good"]}))
    folder.finish(early_stopping_metric="accuracy", synthetic=True)
    return path


def write_network(path: Path, prepared: Path, skill: float, seed: int) -> Path:
    folder = open_stage(path, path.name, config={}, inputs={})
    rows = [json.loads(line) for line in (prepared / "test.jsonl").read_text().splitlines()]
    for number, right in enumerate(draw_runs(skill, 3, seed, len(rows))):
        lines = [
            {"row": row["row"], "label": row["label"], "predicted": row["label"] if ok else 1 - row["label"],
             "probabilities": [0.8, 0.2] if ok == (row["label"] == 0) else [0.2, 0.8], "slice": row["slice"]}
            for row, ok in zip(rows, right, strict=True)
        ]  # fmt: skip
        write_lines(path / "predictions" / f"seed-{number}.jsonl", lines)
    folder.finish()
    return path


def comparison_of(out: Path) -> Event:
    (event,) = [event for event in read_events(out) if event["event"] == "comparison"]
    return event


def test_the_stage_end_to_end(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare")
    scratch = write_network(tmp_path / "scratch", prepared, 0.0, 1)
    finetuned = write_network(tmp_path / "finetune", prepared, 1.5, 2)
    out = tmp_path / "compare"
    manifest = compare(finetuned, scratch, prepared, out)
    event = comparison_of(out)
    assert [row["kind"] for row in event["rows"]] == ["majority", "tfidf", "nbsvm", "scratch", "pretrained"]
    rows = {row["kind"]: row for row in event["rows"]}
    assert rows["tfidf"]["accuracy"] == rows["nbsvm"]["accuracy"] == 1.0
    assert len(rows["scratch"]["seeds"]) == 3
    assert rows["scratch"]["accuracy"] == pytest.approx(np.mean(rows["scratch"]["seeds"]))
    for network in (rows["scratch"], rows["pretrained"]):  # which give 0.8 to whatever they predict
        assert network["calibration_error"] == pytest.approx(np.mean([abs(seed - 0.8) for seed in network["seeds"]]))
        assert network["brier_score"] == pytest.approx(0.64 - 0.6 * network["accuracy"])
    assert rows["tfidf"]["calibration_error"] < 0.2
    assert rows["pretrained"]["slices"].keys() == {"seen", "unseen"}
    assert manifest.summary["verdicts"] == [verdict["sentence"] for verdict in event["verdicts"]]
    assert event["verdicts"][0]["sentence"].startswith("Pre-training helped: +")
    lines = [json.loads(line) for line in (out / "predictions" / "tfidf.jsonl").read_text().splitlines()]
    assert np.mean([line["label"] == line["predicted"] for line in lines]) == rows["tfidf"]["accuracy"]
    assert all(sum(line["probabilities"]) == pytest.approx(1, abs=1e-12) for line in lines)
    log = (out / "events.jsonl").read_bytes()
    assert compare(finetuned, scratch, prepared, out) == manifest
    assert (out / "events.jsonl").read_bytes() == log


def test_without_a_control(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare")
    compare(write_network(tmp_path / "finetune", prepared, 1.0, 2), None, prepared, tmp_path / "compare")
    event = comparison_of(tmp_path / "compare")
    assert [row["kind"] for row in event["rows"]] == ["majority", "tfidf", "nbsvm", "pretrained"]
    assert all(verdict["between"][1] in ("tfidf", "nbsvm") for verdict in event["verdicts"])


def test_predictions_of_other_rows_are_refused(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare")
    other = write_prepared(tmp_path / "other", num_test=50)
    finetuned = write_network(tmp_path / "finetune", other, 1.0, 2)
    with pytest.raises(InputDataError, match=r"seed-0\.jsonl has predictions for rows other than"):
        compare(finetuned, None, prepared, tmp_path / "compare")


def test_missing_folders_and_rows_are_reported(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare", num_test=0)
    finetuned = write_network(tmp_path / "finetune", prepared, 1.0, 2)
    with pytest.raises(InputDataError, match="no test rows"):
        compare(finetuned, None, prepared, tmp_path / "compare")
    assert not (tmp_path / "compare").exists()  # so that the corrected command needs no --redo
    with pytest.raises(InputDataError, match="does not exist"):
        compare(tmp_path / "none", None, prepared, tmp_path / "compare")


def test_rows_that_were_trained_on_are_reported(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare")
    finetuned = write_network(tmp_path / "finetune", prepared, 1.0, 2)
    rows = [json.loads(line) for line in (prepared / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    save_seen(finetuned, PRETRAINING, [row["text"] for row in rows[:7]])
    compare(finetuned, None, prepared, tmp_path / "compare")
    (warning,) = [event for event in read_events(tmp_path / "compare") if event["event"] == "warning"]
    assert "in the pre-training text" in warning["sentence"]
    assert warning["count"] >= 7


def test_a_pair_was_trained_on_only_if_both_texts_were(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare", has_pairs=True)
    rows = [json.loads(line) for line in (prepared / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    finetuned = write_network(tmp_path / "finetune", prepared, 1.0, 2)
    save_seen(finetuned, PRETRAINING, [*(row["text"] for row in rows), "second 4", "second 5"])
    compare(finetuned, None, prepared, tmp_path / "compare")
    (warning,) = [event for event in read_events(tmp_path / "compare") if event["event"] == "warning"]
    assert warning["count"] == 2


def test_conversations_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    """They have no labels.json, which was missed only after the folder had been made."""
    for stage in ("prepare", "finetune"):
        open_stage(tmp_path / stage, stage, config={}, inputs={}).finish(task="chat")
    with pytest.raises(UsageError, match=r"prepare has conversations; expected labelled examples\. .*--strategies"):
        compare(tmp_path / "finetune", None, tmp_path / "prepare", tmp_path / "compare")
    assert not (tmp_path / "compare").exists()
