from __future__ import annotations

import pytest

from pretune.run_trace.metrics import (
    METRIC_OF_TASK,
    metric_of,
    read_figures,
    read_score,
    write_gain,
    write_interval,
    write_named,
    write_noise,
)
from pretune.tasks.registry import TASKS


def test_each_task_has_its_main_metric() -> None:
    assert {name: task.usual_metric for name, task in TASKS.items()} == METRIC_OF_TASK


@pytest.mark.parametrize(
    ("events", "metric"),
    [
        ([], "accuracy"),
        ([{"loss": 1.0}, {"micro_f1": 0.5, "macro_f1": 0.4}], "micro_f1"),
        ([{"accuracy": 0.5, "macro_f1": 0.4}], "accuracy"),
        ([{"pearson": None}, {"pearson": -0.2}], "pearson"),
        ([{"entity_f1": float("nan")}, {"entity_f1": 0.0}], "entity_f1"),
    ],
)
def test_the_figures_say_which_task_it_is(events: list[dict[str, object]], metric: str) -> None:
    assert metric_of(events) == metric


def test_a_score_without_an_interval_stays() -> None:
    assert read_score({"pearson": 0.5, "pearson_interval": [0.4, "x"]}, "pearson") == (0.5, None)
    assert read_score({"pearson_interval": [0.4, 0.6]}, "pearson") is None


def test_a_classification_has_no_other_figures_and_unknown_ones_are_left_out() -> None:
    event = {"macro_f1": 0.5, "spearman": 0.25, "loss": 1.0, "r2": None}
    assert read_figures(event, "accuracy") == {}
    assert read_figures(event, "pearson") == {"macro_f1": 0.5, "spearman": 0.25}


@pytest.mark.parametrize(
    ("metric", "value", "written"),
    [
        ("accuracy", 0.912, ("accuracy 91.2 %", "±91.2", "+91.2 points")),
        ("accuracy", 0.0002, ("accuracy 0.02 %", "±0.02", "+0.02 points")),  # one row of 5,000
        ("micro_f1", 0.431, ("micro-F1 0.431", "±0.431", "+0.431")),
        ("pearson", -0.2, ("Pearson correlation −0.200", "±-0.200", "−0.200")),
    ],
)
def test_values_are_written_in_the_unit_of_their_metric(metric: str, value: float, written: tuple[str, ...]) -> None:
    assert (write_named(metric, value), write_noise(metric, value), write_gain(metric, value)) == written


def test_intervals_too() -> None:
    assert write_interval("accuracy", (0.1, 0.25)) == "10.0 to 25.0"
    assert write_interval("pearson", (-0.1, 0.25)) == "−0.100 to 0.250"
