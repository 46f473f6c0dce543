"""The main metric of each task: where an event has it, and how displays write its values and differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pretune.run_trace import formats
from pretune.run_trace.log_values import figure, figures, words
from pretune.runtime.events import Event
from pretune.scoring.metric_titles import METRIC_TITLES, signed_points, write_signed

# The main metric of each task. A classification logs no other of these, and the figures of the others no accuracy.
METRIC_OF_TASK = {
    "classification": "accuracy",
    "multilabel": "micro_f1",
    "regression": "pearson",
    "tokens": "entity_f1",
}
TASK_OF_METRIC = {metric: task for task, metric in METRIC_OF_TASK.items()}
# Figures beside the main metric, with their titles, in the order in which displays show them.
FIGURE_TITLES = {
    "macro_f1": "macro-F1",
    "precision": "precision",
    "recall": "recall",
    "micro_precision": "precision",
    "micro_recall": "recall",
    "subset_accuracy": "all labels right",
    "mean_average_precision": "mean average precision",
    "spearman": "Spearman",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
    "r2": "R²",
}
# As the column of a table, where the title is long.
SHORT_TITLES = {
    "pearson": "Pearson",
    "subset_accuracy": "all right",
    "mean_average_precision": "mAP",
    "mean_absolute_error": "MAE",
    "root_mean_squared_error": "RMSE",
}
_PERCENT = ("accuracy", "subset_accuracy")


def metric_of(events: Iterable[Event]) -> str:
    """The main metric of events with figures of one task; accuracy if none has another one."""
    for event in events:
        for metric in TASK_OF_METRIC:
            if figure(event.get(metric)) is not None:
                return metric
    return "accuracy"


def read_score(event: Any, metric: str) -> tuple[float, list[float] | None] | None:
    """The metric of an event with its interval; None without the metric."""
    value = figure(event.get(metric))
    return None if value is None else (value, figures(event.get(f"{metric}_interval"), 2))


def read_figures(event: Any, metric: str) -> dict[str, float]:
    """The other figures of an event that displays show; none of a classification, which has fields for its own."""
    if metric == "accuracy":
        return {}
    found = {name: figure(event.get(name)) for name in FIGURE_TITLES}
    return {name: value for name, value in found.items() if value is not None}


def title_of(metric: str) -> str:
    """The name of a metric in a sentence; a name that is not known stays as it is."""
    return METRIC_TITLES.get(metric, words(metric) or "score")


def write_score(metric: str, value: float) -> str:
    """A value of a metric: 91.2 % for accuracy, 0.431 for others."""
    return formats.percent(value) if metric in _PERCENT else f"{value:.3f}".replace("-", "−")


def write_named(metric: str, value: float) -> str:
    """A value of a metric with its name: accuracy 91.2 %, micro-F1 0.431."""
    return f"{title_of(metric)} {write_score(metric, value)}"


def write_noise(metric: str, value: float) -> str:
    """Half the width of an interval: ±1.2 in percentage points for accuracy, ±0.021 for others."""
    return formats.spread(value) if metric in _PERCENT else f"±{value:.3f}"


def write_interval(metric: str, bounds: tuple[float, float]) -> str:
    """An interval of a metric: 94.3 to 96.9 in percent for accuracy, 0.412 to 0.455 for others."""
    if metric in _PERCENT:
        return formats.interval(bounds)
    return " to ".join(write_score(metric, each) for each in bounds)


def write_gain(metric: str, difference: float) -> str:
    """A signed difference: +3.1 points for accuracy, +0.031 for others."""
    return f"{signed_points(difference)} points" if metric in _PERCENT else write_signed(difference, 3)


def rows_of(metric: str) -> Literal["texts", "rows"]:
    """What a number of held-out rows counts. For entities, a long text may be cut into several rows."""
    return "rows" if metric == "entity_f1" else "texts"


def points_of(metric: str) -> str:
    """The unit of a difference in hundredths: points, points of micro-F1."""
    return "points" if metric == "accuracy" else f"points of {title_of(metric)}"
