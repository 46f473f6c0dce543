"""Verdicts from predictions: a real difference is found, scratch against scratch is none, and the log adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import InputDataError
from pretune.runtime.events import Event, read_events
from pretune.runtime.stage_folder import open_stage
from pretune.stages.compare import Contender, HeldOutRows, compare, describe_coverage, judge
from pretune.text.seen_texts import PRETRAINING, save_seen

NUM_ROWS = 400


def draw_runs(skill: float, num_seeds: int, seed: int, num_rows: int = NUM_ROWS) -> np.ndarray:
    """Whether each run (S, N) gets each row right: rows differ in difficulty, runs in skill, and both in luck."""
    random = np.random.default_rng(seed)
    difficulty = np.random.default_rng(99).normal(0, 1, size=num_rows)
    luck = random.normal(0, 0.7, size=(num_seeds, num_rows)) + random.normal(0, 0.1, size=(num_seeds, 1))
    return difficulty + luck + skill > 0


LABELS = np.random.default_rng(7).integers(2, size=NUM_ROWS)
PARTS = ["seen" if n % 2 else "unseen" for n in range(NUM_ROWS)]


def contender(kind: str, right: np.ndarray, labels: np.ndarray = LABELS) -> Contender:
    return contender_of(kind, np.where(right, labels, 1 - labels))


def contender_of(kind: str, predicted: np.ndarray) -> Contender:
    """With a probability of 0.8 for whatever is predicted."""
    return Contender(
        name=kind, kind=kind, predicted=predicted, probabilities=np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
    )


def make_test_rows(parts: list[str | None] | None = None, labels: np.ndarray = LABELS) -> HeldOutRows:
    return HeldOutRows(
        rows=list(range(len(labels))), labels=labels, slices=parts or [None] * len(labels), num_classes=2
    )


def test_scratch_against_scratch_is_no_clear_difference() -> None:
    """Two sets of runs of the same kind; over many draws about one in twenty may look like a difference."""
    clear = 0
    for seed in range(60):
        control = contender("scratch", draw_runs(0.5, 3, 2 * seed))
        other = contender("pretrained", draw_runs(0.5, 3, 2 * seed + 1))
        (verdict,) = judge([control, other], make_test_rows())
        clear += not verdict["sentence"].startswith("No clear difference: ")
    assert clear <= 6


def test_pre_training_that_helped() -> None:
    (verdict,) = judge(
        [contender("scratch", draw_runs(0.2, 3, 1)), contender("pretrained", draw_runs(1.2, 3, 2))], make_test_rows()
    )
    assert verdict["sentence"].startswith("Pre-training helped: +")
    assert verdict["sentence"].endswith("over the same network from scratch.")
    assert verdict["between"] == ["pretrained", "scratch"]
    assert 0 < verdict["difference_interval"][0] < verdict["difference"] < verdict["difference_interval"][1]
    assert verdict["p_value"] < 0.01


def test_pre_training_that_did_harm() -> None:
    runs = [contender("scratch", draw_runs(1.2, 3, 1)), contender("pretrained", draw_runs(0.2, 3, 2))]
    (verdict,) = judge(runs, make_test_rows())
    assert verdict["sentence"].startswith("Pre-training hurt: −")


def test_the_best_baseline_is_the_one_to_beat() -> None:
    runs = [
        contender("majority", draw_runs(2.0, 1, 3)),
        contender("tfidf", draw_runs(0.1, 1, 4)),
        contender("nbsvm", draw_runs(0.4, 1, 5)),
        contender("pretrained", draw_runs(1.5, 3, 6)),
    ]
    (verdict,) = judge(runs, make_test_rows())
    assert verdict["between"] == ["pretrained", "nbsvm"]
    assert verdict["sentence"].startswith("The pre-trained model beats nbsvm: +")
    (verdict,) = judge([runs[0], contender("tfidf", draw_runs(2.5, 1, 4)), runs[3]], make_test_rows())
    assert verdict["sentence"].startswith("The pre-trained model is worse than tfidf: −")


def test_one_seed_is_said() -> None:
    runs = [contender("scratch", draw_runs(0.0, 1, 1)), contender("pretrained", draw_runs(1.5, 1, 2))]
    assert "one seed was run" in describe_coverage(runs, [])
    runs = [contender("scratch", draw_runs(0.0, 3, 1)), contender("pretrained", draw_runs(1.5, 3, 2))]
    assert describe_coverage(runs, [{}, {}]) == (
        "The intervals cover the choice of test rows and of fine-tuning seeds; another pre-training run may differ."
    )


def test_parts_have_verdicts_of_their_own() -> None:
    right = draw_runs(0.0, 3, 2)
    right[:, [part == "unseen" for part in PARTS]] = True
    verdicts = judge(
        [contender("scratch", draw_runs(0.0, 3, 1)), contender("pretrained", right)], make_test_rows(PARTS)
    )
    sentences = {verdict.get("slice"): verdict["sentence"] for verdict in verdicts}
    assert describe_coverage([], verdicts).endswith(
        " The verdicts on parts are corrected for 2 comparisons (Holm), their intervals not."
    )
    assert sentences["seen"].startswith("No clear difference on the part 'seen': ")
    assert sentences["unseen"].startswith("Pre-training helped on the part 'unseen': +")


def test_many_parts_give_no_false_alarm() -> None:
    """Without a correction 32 % of comparisons with ten parts and no difference called some part clear."""
    parts: list[str | None] = [f"part {n % 10}" for n in range(NUM_ROWS)]
    alarms = 0
    for seed in range(60):
        runs = [
            contender("scratch", draw_runs(0.5, 3, 2 * seed)),
            contender("pretrained", draw_runs(0.5, 3, 2 * seed + 1)),
        ]
        verdicts = judge(runs, make_test_rows(parts))
        assert all(verdict["p_value"] >= verdict["uncorrected_p_value"] for verdict in verdicts[1:])
        alarms += any(not verdict["sentence"].startswith("No clear difference") for verdict in verdicts[1:])
    assert alarms <= 6


def test_imbalance_is_judged_by_macro_f1() -> None:
    labels = (np.arange(NUM_ROWS) % 33 == 0).astype(np.int64)
    never = contender_of("scratch", np.zeros((3, NUM_ROWS), dtype=np.int64))
    often = np.where(np.random.default_rng(0).random((3, NUM_ROWS)) < 0.98, labels, 1 - labels)
    runs = [never, contender_of("pretrained", often)]
    (verdict,) = judge(runs, make_test_rows(labels=labels), "macro_f1")
    assert verdict["metric"] == "macro_f1"
    assert verdict["difference"] > 0.2
    assert "points of macro-F1" in verdict["sentence"]
    (plain,) = judge(runs, make_test_rows(labels=labels))
    assert plain["sentence"].startswith("No clear difference")


# -- the stage ---------------------------------------------------------------------------------------------------------


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_prepared(path: Path, num_test: int = 120) -> Path:
    folder = open_stage(path, "prepare", config={}, inputs={})
    draw = np.random.default_rng(3)
    for split, count in (("train", 200), ("validation", 60), ("test", num_test)):
        labels = draw.integers(2, size=count).tolist()
        lines = [
            {"row": n, "text": f"{'good fine nice' if y else 'bad poor sad'} {n % 9}", "label": y}
            for n, y in enumerate(labels)
        ]
        if split == "test":
            lines = [{**line, "slice": PARTS[n]} for n, line in enumerate(lines)]
        write_lines(path / f"{split}.jsonl", lines)
    (path / "labels.json").write_text(json.dumps({"names": ["bad", "good"]}))
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
    with pytest.raises(InputDataError, match=r"seed-0\.jsonl holds predictions for other rows"):
        compare(finetuned, None, prepared, tmp_path / "compare")


def test_what_is_not_there(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare", num_test=0)
    finetuned = write_network(tmp_path / "finetune", prepared, 1.0, 2)
    with pytest.raises(InputDataError, match="no test rows"):
        compare(finetuned, None, prepared, tmp_path / "compare")
    assert not (tmp_path / "compare").exists()  # so that the corrected command needs no --redo
    with pytest.raises(InputDataError, match="does not exist"):
        compare(tmp_path / "none", None, prepared, tmp_path / "compare")


def test_test_rows_that_were_learned_from_are_said(tmp_path: Path) -> None:
    prepared = write_prepared(tmp_path / "prepare")
    finetuned = write_network(tmp_path / "finetune", prepared, 1.0, 2)
    rows = [json.loads(line) for line in (prepared / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    save_seen(finetuned, PRETRAINING, [row["text"] for row in rows[:7]])
    compare(finetuned, None, prepared, tmp_path / "compare")
    (warning,) = [event for event in read_events(tmp_path / "compare") if event["event"] == "warning"]
    assert "in the pre-training text" in warning["sentence"]
    assert warning["count"] >= 7
