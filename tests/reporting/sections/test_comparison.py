from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from pretune.reporting.sections.comparison import NO_CONTROL, render_comparison
from pretune.run_trace.headline import NOT_COMPARED
from pretune.terminal import Page, to_text


def rendered(run: Any, width: int = 100) -> str:
    page = Page(width)
    return to_text(render_comparison(run.trace, page), page)


def test_every_model_is_listed_with_an_interval_and_a_mark_on_the_ruler(full_run: Any) -> None:
    lines = rendered(full_run).splitlines()
    assert " majority class                  50.8 %   47.7 to 53.9    ├●┤                  0.337" in lines
    assert (
        " pre-trained                     95.6 %   94.3 to 96.9                 ├●      0.956  95.2 95.6 96.0" in lines
    )


def test_slices_and_verdicts_carry_their_numbers(full_run: Any) -> None:
    text = rendered(full_run)
    assert " from scratch                   96.2 %  94.5 to 97.9    52.0 %  47.6 to 56.4" in text
    assert " ● Pre-training helped: 21.0 points above the same network from scratch." in text
    assert "\n   p < 0.001, seeds: 3 vs. 3\n" in text
    assert text.count("21.0 points") == 1  # the sentence is not repeated
    assert "all models on the same 998 test texts" in text


@pytest.mark.parametrize("width", [60, 80, 98, 100, 140])
def test_no_line_is_wider_than_the_page(full_run: Any, width: int) -> None:
    assert max(cell_len(line) for line in rendered(full_run, width).splitlines()) <= width


def test_a_comparison_that_was_not_run_is_reported_as_missing(builder: Any) -> None:
    assert "Not measured in this run" in rendered(builder)


def test_without_the_control_the_question_stays_open(full_run: Any) -> None:
    assert NO_CONTROL not in rendered(full_run)
    (comparison,) = [event for event in full_run.events if event["event"] == "comparison"]
    comparison["rows"] = [row for row in comparison["rows"] if row["kind"] != "scratch"]
    assert f" ● {NO_CONTROL}" in rendered(full_run)
    full_run.add("scratch", "stage_finished", seconds=60.0)
    assert f" ● {NOT_COMPARED}" in rendered(full_run)
    assert NO_CONTROL not in rendered(full_run)


def test_equal_accuracies_can_be_drawn(builder: Any) -> None:
    row = {"accuracy": 1.0, "accuracy_interval": [1.0, 1.0], "macro_f1": 1.0, "seeds": [1.0], "n": 9}
    rows = [{"name": kind, "kind": kind, **row} for kind in ("majority", "pretrained")]
    builder.add("compare", "comparison", rows=rows, verdicts=[])
    assert "●" in rendered(builder, 120)


def test_only_one_model_is_marked_as_delivered(full_run: Any) -> None:
    (comparison,) = [event for event in full_run.events if event["event"] == "comparison"]
    last = comparison["rows"][-1]
    comparison["rows"] += [{**last, "kind": kind, "name": kind} for kind in ("averaged", "teacher", "student")]
    page = Page(100)
    marked = {
        line.plain.split()[0]
        for line in render_comparison(full_run.trace, page)
        if any("green" in str(span.style) for span in line.spans)
    }
    assert marked == {"pre-trained", "student"}


def test_the_calibration_is_one_sentence(full_run: Any) -> None:
    assert "calibration" not in rendered(full_run)  # as in the log of an older version
    (comparison,) = [event for event in full_run.events if event["event"] == "comparison"]
    for number, row in enumerate(comparison["rows"]):
        row |= {"calibration_error": 0.01 * number, "brier_score": 0.1}
    text = " ".join(rendered(full_run).split())
    assert "lower is better: TF-IDF + logistic regression 1.0 %, 0.100; NB-SVM 2.0 %, 0.100; from scratch" in text
    assert "majority class 0 %, " not in text
