from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.insights import RULES
from pretune.run_trace.test_errors import EXAMPLES, EXAMPLES_OF_CELL, read_errors
from pretune.scoring.prediction_files import AVERAGED_PREDICTIONS
from pretune.scoring.uncertainty import wilson_interval
from pretune.trace_schema import Phases, RunTrace

NO_PHASES = Phases(pretrain=None, finetune=None, scratch=None)


def test_the_errors_are_those_of_the_prediction_files(traced: RunTrace) -> None:
    errors = traced.errors
    assert errors is not None
    assert (errors.n, errors.seed, errors.labels) == (40, 0, ["negative", "positive"])
    assert errors.confusion == [[19, 1], [1, 19]]  # rows 4 and 33 are wrong
    assert [(each.row, each.label, each.predicted) for each in errors.examples[:2]] == [(33, 1, 0), (4, 0, 1)]
    assert errors.examples[0].text.endswith("guest number 33.")
    assert len(errors.label) == len(errors.positive_probability) == 40
    right = sum((p >= 0.5) == label for p, label in zip(errors.positive_probability, errors.label, strict=True))
    assert right == 38
    assert [each.model for each in errors.calibration] == ["pretrained", "scratch"]
    low, high = wilson_interval(1, 10)
    unseen = errors.slices[1]
    assert (unseen.slice, unseen.n, unseen.wrong) == ("unseen", 10, 1)
    assert (unseen.low, unseen.high) == (pytest.approx(low, rel=1e-5), pytest.approx(high, rel=1e-5))


def test_rows_of_which_one_contains_another_vary_together(tested_run: Path, traced: RunTrace) -> None:
    """In slices and in the calibration, of the control too: eight of them say less than eight other rows."""
    path = tested_run / "prepare" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    nested = [{**row, "text": f"cold soup number{row['row'] // 8} " * (1 + row["row"] % 8)} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in nested), encoding="utf-8")
    errors = read_errors(tested_run, traced.phases)
    assert errors is not None and traced.errors is not None
    for wide, narrow in zip(errors.calibration, traced.errors.calibration, strict=True):
        assert wide.error == narrow.error
        assert wide.error_by_chance > narrow.error_by_chance
    for wide_slice, slice_error in zip(errors.slices, traced.errors.slices, strict=True):
        assert wide_slice.wrong == slice_error.wrong
        assert wide_slice.high - wide_slice.low > slice_error.high - slice_error.low


def test_many_classes_stay_small(tmp_path: Path) -> None:
    """77 classes and 3,080 rows: each cell that has rows is shown before a cell is shown twice."""
    draw = np.random.default_rng(0)
    (tmp_path / "finetune" / "predictions").mkdir(parents=True)
    (tmp_path / "prepare").mkdir()
    lines, texts = [], []
    for row in range(3080):
        label = row % 77
        predicted = label if draw.random() < 0.9 else int(draw.integers(77))
        odds = np.full(77, 0.3 / 76)
        odds[predicted] = 0.7
        lines.append(json.dumps({"row": row, "label": label, "predicted": predicted, "probabilities": odds.tolist()}))
        texts.append(json.dumps({"row": row, "text": f"Where is my card number {row}? " * 100}))
    (tmp_path / "finetune" / "predictions" / "seed-0.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "prepare" / "test.jsonl").write_text("\n".join(texts), encoding="utf-8")
    errors = read_errors(tmp_path, NO_PHASES)
    assert errors is not None
    assert len(errors.examples) == EXAMPLES
    cells = [(each.label, each.predicted) for each in errors.examples]
    wrong = {cell for cell in cells if cell[0] != cell[1]}
    assert len(wrong) > 150 and max(cells.count(cell) for cell in wrong) <= EXAMPLES_OF_CELL
    assert errors.positive_probability == errors.label == []
    assert errors.labels[76] == "76"
    assert len(json.dumps(to_json(errors))) < 250_000


@pytest.mark.parametrize(
    "content", ["", "{", '{"row": 0}', '{"row": 0, "label": 5, "predicted": 0, "probabilities": [1]}']
)
def test_a_damaged_prediction_file_counts_as_absent(tmp_path: Path, content: str) -> None:
    (tmp_path / "finetune" / "predictions").mkdir(parents=True)
    (tmp_path / "finetune" / "predictions" / "seed-0.jsonl").write_text(content, encoding="utf-8")
    assert read_errors(tmp_path, NO_PHASES) is None


def test_the_chosen_seed_is_shown(tested_run: Path, traced: RunTrace) -> None:
    folder = tested_run / "finetune" / "predictions"
    for name in ("seed-3", "seed-10"):
        (folder / f"{name}.jsonl").write_bytes((folder / "seed-0.jsonl").read_bytes())
    assert read_errors(tested_run, traced.phases).seed == 0  # type: ignore[union-attr]
    (folder / "seed-0.jsonl").unlink()
    assert read_errors(tested_run, NO_PHASES).seed == 3  # type: ignore[union-attr]


def test_the_calibration_of_averaged_weights_is_called_theirs(tested_run: Path, traced: RunTrace) -> None:
    folder = tested_run / "finetune" / "predictions"
    (folder / AVERAGED_PREDICTIONS).write_bytes((folder / "seed-0.jsonl").read_bytes())
    errors = read_errors(tested_run, traced.phases)
    assert errors is not None and errors.seed is None
    assert [each.model for each in errors.calibration] == ["averaged", "scratch"]
    averaged = replace(errors, calibration=[replace(errors.calibration[0], error=0.2, error_by_chance=0.1)])
    (rule,) = (rule for rule in RULES if rule.__name__ == "_calibration")
    assert rule(replace(traced, errors=averaged)) is not None
