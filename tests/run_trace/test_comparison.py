from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.comparison import find_verdict, name_test
from pretune.trace_schema import RunTrace, Verdict


def test_disagreements_count_every_row_once(traced: RunTrace) -> None:
    assert traced.comparison is not None
    overall, *on_slices = [each for each in traced.comparison.disagreements if each.other == "scratch"]
    assert overall.slice is None
    # Rows 0, 3, 6, ... 39 are wrong from scratch, 4 and 33 are wrong with pre-training: 33 is in both.
    counts = (overall.both_right, overall.only_pretrained_right, overall.only_other_right, overall.both_wrong)
    assert counts == (25, 13, 1, 1)
    assert [each.slice for each in on_slices] == ["seen", "unseen"]
    assert sum(each.only_pretrained_right for each in on_slices) == 13


def test_predictions_of_other_rows_are_not_compared(tested_run: Path) -> None:
    file = tested_run / "scratch" / "predictions" / "seed-0.jsonl"
    file.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    comparison = build_run_trace(tested_run).comparison
    assert comparison is not None
    assert comparison.disagreements == []


@pytest.mark.parametrize(
    ("interval", "p_value", "outcome"),
    [
        ([0.1, 0.2], 0.001, "better"),
        ([-0.2, -0.1], 0.001, "worse"),
        ([-0.1, 0.2], 0.4, "no clear difference"),
        ([0.01, 0.2], 0.06, "no clear difference"),  # as on a slice, after the correction for several
    ],
)
def test_a_difference_is_clear_if_interval_and_p_value_say_so(
    full_run: Any, interval: list[float], p_value: float, outcome: str
) -> None:
    (event,) = [event for event in full_run.events if event["event"] == "comparison"]
    event["verdicts"][0] |= {"difference": sum(interval) / 2, "difference_interval": interval, "p_value": p_value}
    verdict = find_verdict(full_run.trace.comparison, "scratch")
    assert verdict is not None
    assert verdict.outcome == outcome


@pytest.mark.parametrize(
    ("slice_name", "sentence"),
    [
        (None, "An exact test gives p = 0.090."),
        ("seen", "Corrected for the number of comparisons of slices, p = 0.090."),
    ],
)
def test_the_p_value_of_a_slice_is_said_to_be_corrected(slice_name: str | None, sentence: str) -> None:
    fields = {"between": ["pretrained", "scratch"], "metric": "accuracy", "slice": slice_name, "sentence": ""}
    figures = {"outcome": "no clear difference", "difference": 0.1, "low": 0.01, "high": 0.2, "p_value": 0.09}
    assert name_test(Verdict(**fields, **figures)) == sentence  # type: ignore[arg-type]


def test_a_verdict_on_all_rows_is_found_by_model(full_run: Any) -> None:
    comparison = full_run.trace.comparison
    assert find_verdict(comparison, "scratch").difference == 0.21  # type: ignore[union-attr]
    assert [each.difference for each in comparison.verdicts if each.slice == "unseen_words"] == [0.414]
    assert find_verdict(comparison, "nbsvm") is None
    assert find_verdict(None, "scratch") is None
