from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.run_trace.predicted_rows import TestText, read_test_rows
from pretune.run_trace.task_errors import EXAMPLES, MOST_POINTS, read_entities, read_label_sets, read_scores
from pretune.scoring.regression import summarize_scores

TEXTS = {(row, 0): TestText(text=f"text {row}", pair=f"pair {row}" if row % 2 else None) for row in range(5000)}


def test_labels_are_counted_one_by_one_and_the_worst_rows_come_first() -> None:
    lines = [
        {"row": 0, "label": [0], "predicted": [0]},
        {"row": 1, "label": [0, 1], "predicted": [2]},
        {"row": 2, "label": [], "predicted": [2]},
        {"row": 3, "label": [1], "predicted": [2]},
        {"row": 4, "label": [], "predicted": []},
    ]
    found = read_label_sets(lines, ["joy", "love", "anger"], [0.5, 0.25, 0.125], TEXTS)
    assert [(each.label, each.support, each.predicted, each.hits) for each in found.labels] == [
        ("joy", 2, 1, 1), ("love", 2, 0, 0), ("anger", 0, 3, 0),
    ]  # fmt: skip
    assert [each.threshold for each in found.labels] == [0.5, 0.25, 0.125]
    assert (found.exact, found.micro_f1) == (2, pytest.approx(2 * 1 / (4 + 4)))
    pairs = [(each.missed, each.invented, each.count) for each in found.confusions]
    assert pairs == [(1, 2, 2), (0, 2, 1)]  # love replaced by anger twice, joy by anger once
    assert [each.row for each in found.examples] == [1, 3, 2, 0, 4]
    assert found.examples[0].text_pair == "pair 1" and found.examples[2].text_pair is None


def test_numbers_have_the_figures_of_the_evaluation() -> None:
    true, predicted = [1.0, 2.0, 4.0, 5.0], [1.5, 2.0, 3.0, 7.0]
    rows = zip(range(4), true, predicted, strict=True)
    found = read_scores([{"row": row, "label": a, "predicted": b} for row, a, b in rows], TEXTS)
    figures = summarize_scores(true, predicted)  # type: ignore[arg-type]
    assert found.pearson == pytest.approx(figures["pearson"], rel=1e-5)
    assert found.mean_absolute_error == pytest.approx(0.875)
    assert found.baseline_error == pytest.approx(1.5)  # from the mean, 3
    assert [each.row for each in found.examples] == [3, 2, 0, 1]
    assert found.quantiles[2] == pytest.approx(0.25)


def test_many_numbers_are_thinned_and_all_of_them_are_counted() -> None:
    lines = [{"row": row, "label": row / 10, "predicted": row / 10 + (5 if row == 4999 else 0)} for row in range(5000)]
    found = read_scores(lines, TEXTS)
    assert len(found.label) == len(found.predicted) == MOST_POINTS
    assert found.label[0] == 0 and found.label[-1] == pytest.approx(499.9)
    assert len(found.examples) == EXAMPLES and found.examples[0].row == 4999
    assert found.mean_absolute_error == pytest.approx(5 / 5000)


@pytest.mark.parametrize("lines", [[{"row": 0, "label": 1.0, "predicted": float("nan")}], [{"row": 0, "label": "x"}]])
def test_damaged_predictions_are_refused(lines: list[dict[str, object]]) -> None:
    with pytest.raises((KeyError, ValueError)):
        read_scores(lines, TEXTS)


def test_entities_are_told_apart_by_the_kind_of_error() -> None:
    lines = [
        {"row": 0, "label": [[0, 4, 0]], "predicted": [[0, 4, 0]]},  # right
        {"row": 1, "label": [[0, 4, 0]], "predicted": [[0, 4, 1]]},  # wrong type
        {"row": 2, "label": [[0, 6, 0]], "predicted": [[0, 4, 0]]},  # wrong borders
        {"row": 3, "label": [[0, 6, 0]], "predicted": []},  # missed
        {"row": 4, "label": [], "predicted": [[0, 4, 1]]},  # invented
    ]
    found = read_entities(lines, ["LOC", "PER"], TEXTS)
    kinds = (found.right, found.wrong_type, found.wrong_borders, found.missed, found.invented)
    assert kinds == (1, 1, 1, 1, 1)
    assert found.entity_f1 == pytest.approx(2 / (4 + 4))
    assert [(each.label, each.support, each.predicted) for each in found.types] == [("LOC", 4, 2), ("PER", 0, 2)]
    assert {each.row for each in found.examples[:2]} == {1, 2} and found.examples[-1].row == 0
    assert [(each.start, each.end, each.type) for each in found.examples[0].predicted] == [(0, 4, "PER")]


def test_entities_of_a_text_that_was_cut_are_shown_on_their_own_part(tmp_path: Path) -> None:
    """The parts have the same row, and offsets that count from the start of each part."""
    (tmp_path / "prepare").mkdir()
    parts = [{"row": 7, "text": "Oslo is cold."}, {"row": 7, "part": 1, "text": "So is Bergen."}]
    (tmp_path / "prepare" / "test.jsonl").write_text("\n".join(map(json.dumps, parts)), encoding="utf-8")
    lines = [
        {"row": 7, "label": [[0, 4, 0]], "predicted": []},
        {"row": 7, "part": 1, "label": [[6, 12, 0]], "predicted": []},
    ]
    found = read_entities(lines, ["LOC"], read_test_rows(tmp_path))
    shown = [each.text[span.start : span.end] for each in found.examples for span in each.label]
    assert shown == ["Oslo", "Bergen"]
