"""From the predictions of several models for the same test rows to their figures and the verdict on pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.metric_titles import METRIC_TITLES, write_metric, write_points
from pretune.scoring.nested_rows import groups_of_lines
from pretune.scoring.row_statistics import RowStatistics, describe_part, difference_of_runs, over_seeds
from pretune.scoring.uncertainty import Difference, holm
from pretune.tasks.task import Line, Outputs, Task
from pretune.trace_schema import DELIVERED

NOT_LINEAR = ("majority", "mean", "gazetteer", "scratch", "pretrained", "teacher", *DELIVERED)  # all others are linear
_NETWORK = "the pre-trained model"
_SEEDED = {"scratch": "the network from scratch", "pretrained": "the pre-trained network"}
MIN_SLICE_ROWS = 20  # a verdict on a smaller slice would be noise


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model of the comparison: the predictions of its seeds for the same N test rows, in the form of the task."""

    name: str
    kind: str
    runs: Sequence[Outputs]


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """The test split: the task, the names of the labels, the rows as they were prepared, and the main metric."""

    task: Task
    names: Sequence[str]
    lines: Sequence[Line]
    metric: str

    @cached_property
    def true(self) -> Any:
        """The true labels in the form of the task."""
        return self.task.true_values(self.lines, self.names)

    @cached_property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """The groups (N,) of rows that are not independent, because one contains another or they are parts of one
        document; None if every row is alone."""
        return groups_of_lines(self.lines)

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The number of each row, and of its part."""
        return [row_of(line) for line in self.lines]

    def mask(self, name: str | None) -> npt.NDArray[np.bool_]:
        """(N,): whether each row is in the slice; every row is for None."""
        return np.array([name is None or line.get("slice") == name for line in self.lines], dtype=np.bool_)

    def count(self, name: str) -> int:
        """How many rows are in the slice, those of one group counted once."""
        mask = self.mask(name)
        return int(mask.sum()) if self.groups is None else len(np.unique(self.groups[mask]))

    @property
    def slice_names(self) -> list[str]:
        return sorted({line["slice"] for line in self.lines if line.get("slice") is not None})

    def statistics(self, contender: Contender, metric: str, slice_name: str | None = None) -> list[RowStatistics]:
        """The statistics of each seed for a metric, on all rows or on a slice."""
        runs = [self.task.statistics(metric, self.true, outputs, self.names) for outputs in contender.runs]
        found = [each.over(self.groups) for each in runs]
        return found if slice_name is None else [each.select(self.mask(slice_name)) for each in found]


def row_of(line: Line) -> tuple[int, int]:
    """The number of the row of a line, and of its part if the row was cut into several."""
    return line["row"], line.get("part", 0)


def describe_contender(contender: Contender, test: HeldOutRows) -> dict[str, Any]:
    """The figures of one model as JSON values, averaged over its seeds, and its usual metric on each slice."""
    usual = test.task.usual_metric
    statistics = test.statistics(contender, usual)
    mean, interval = over_seeds(statistics)
    every = [test.task.figures(test.true, outputs, test.names) for outputs in contender.runs]
    row: dict[str, Any] = {
        "name": contender.name,
        "kind": contender.kind,
        "metric": usual,
        usual: mean,
        f"{usual}_interval": list(interval),
        **{name: float(np.mean([each[name] for each in every])) for name in test.task.compared if name != usual},
        "seeds": [each.figure() for each in statistics],
        "n": len(test.lines),
    }
    if test.metric != usual:  # the verdicts compare this metric
        row[test.metric], main_interval = over_seeds(test.statistics(contender, test.metric))
        row[f"{test.metric}_interval"] = list(main_interval)
    if test.slice_names:
        row["slices"] = {
            name: describe_part([each.select(test.mask(name)) for each in statistics]) for name in test.slice_names
        }
    return row


def judge(contenders: Sequence[Contender], test: HeldOutRows) -> list[dict[str, Any]]:
    """Verdicts on the pre-trained network against the from-scratch control, and on the model as delivered against the
    linear baseline with the best test figure, and against the teacher if it is its student, as JSON values.

    The model as delivered is the network with linear models stacked on it, if it has some; else the student or the mean
    of the seeds' weights, if one of them is delivered; otherwise the network.

    The verdicts on all rows come first, then those on each slice with enough rows. They compare the main metric, which
    for strongly imbalanced classes is macro-F1. A difference counts as clear only if neither the
    choice of test rows nor that of seeds is a likely explanation; see
    `pretune.scoring.row_statistics.difference_of_runs`. On slices, a difference must also stay clear after Holm's
    correction for the number of comparisons. Choosing the best baseline by its test figure favours the baseline, which
    errs on the side of caution.
    """
    by_kind = {contender.kind: contender for contender in contenders}
    pretrained = by_kind.get("pretrained")
    if pretrained is None:
        return []
    linear = [contender for contender in contenders if contender.kind not in NOT_LINEAR]
    best = max(linear, key=lambda c: _score(c, test), default=None)
    delivered = next((by_kind[kind] for kind in DELIVERED if kind in by_kind), pretrained)
    others = ((pretrained, by_kind.get("scratch")), (delivered, best), (delivered, by_kind.get("teacher")))
    pairs = [(ours, other) for ours, other in others if other is not None]
    verdicts = [_verdict(*pair, _compare(*pair, test, None), test) for pair in pairs]
    on_slices = [
        (name, pair, _compare(*pair, test, name))
        for name in test.slice_names
        if test.count(name) >= MIN_SLICE_ROWS
        for pair in pairs
    ]
    corrected = holm([found.p_value for _, _, found in on_slices])
    for (name, pair, found), p_value in zip(on_slices, corrected, strict=True):
        verdict = _verdict(*pair, found, test, name, corrected_p_value=p_value, num_corrected=len(on_slices))
        verdicts.append({**verdict, "slice": name, "uncorrected_p_value": found.p_value})
    return verdicts


def describe_coverage(contenders: Sequence[Contender], verdicts: Sequence[dict[str, Any]]) -> str:
    """A sentence on what the intervals cover and what they do not; on slices, also on the correction."""
    num_seeds = {each.kind: len(each.runs) for each in contenders if each.kind in _SEEDED}
    has_seeds = max(num_seeds.values(), default=1) > 1
    if has_seeds and min(num_seeds.values()) > 1:
        sentence = (
            "The intervals cover the choice of test rows and of fine-tuning seeds; another pre-training run may differ."
        )
    elif has_seeds:
        single, several = (_SEEDED[kind] for kind in sorted(num_seeds, key=lambda kind: num_seeds[kind]))
        sentence = (
            f"The intervals cover the choice of test rows and, for {several} only, of fine-tuning seeds: {single} has "
            "one seed, and other fine-tuning or pre-training runs differ."
        )
    else:
        sentence = (
            "The intervals cover the choice of test rows only; there is one seed, and other fine-tuning or "
            "pre-training runs differ."
        )
    if has_seeds and any(contender.kind in DELIVERED for contender in contenders):
        sentence += " The model as delivered is a single one, so its intervals cover the choice of test rows only."
    num_corrected = sum("slice" in verdict for verdict in verdicts)
    if num_corrected < 2:
        return sentence
    return (
        f"{sentence} The verdicts on slices are corrected for {num_corrected} comparisons (Holm), "
        "their intervals are not."
    )


def _compare(a: Contender, b: Contender, test: HeldOutRows, slice_name: str | None) -> Difference:
    ours, theirs = (test.statistics(each, test.metric, slice_name) for each in (a, b))
    return difference_of_runs(ours, theirs)


def _verdict(
    a: Contender,
    b: Contender,
    found: Difference,
    test: HeldOutRows,
    slice_name: str | None = None,
    *,
    corrected_p_value: float | None = None,
    num_corrected: int = 1,
) -> dict[str, Any]:
    judged = found if corrected_p_value is None else replace(found, p_value=corrected_p_value)
    reason = "" if judged.is_clear else _reason(found, num_corrected)
    ours = _NETWORK
    if a.kind in DELIVERED:
        figure = float(np.mean([each.figure() for each in test.statistics(a, test.metric, slice_name)]))
        ours = f"the model as delivered ({a.name}, {_write_figure(test.metric, figure)})"
    return {
        "between": [a.kind, b.kind],
        "metric": test.metric,
        "difference": found.difference,
        "difference_interval": list(found.interval),
        "p_value": judged.p_value,
        "sentence": _sentence(judged, ours, b, test.metric, slice_name, reason),
    }


def _reason(found: Difference, num_corrected: int) -> str:
    """What makes a difference unclear although its interval does not include zero; `found` is without correction."""
    if found.interval[0] <= 0.0 <= found.interval[1]:
        return ""
    if found.is_clear:
        return f", corrected for {num_corrected} comparisons of slices"
    # The p-value of any other test is below 0.05 if the interval excludes zero.
    return f" by an exact test (p = {found.p_value:.3f})"


def _sentence(found: Difference, ours: str, other: Contender, metric: str, slice_name: str | None, reason: str) -> str:
    point, low, high = (write_points(value) for value in (found.difference, *found.interval))
    sign = "+" if found.difference > 0 else ""
    unit = "points" if metric == "accuracy" else f"points of {METRIC_TITLES[metric]}"
    figures = f"{sign}{point} {unit} (95 % interval {low} to {high})"
    is_control = other.kind == "scratch"
    name = "the same network from scratch" if is_control else other.name
    place = "" if slice_name is None else f" on slice {slice_name!r}"
    if not found.is_clear:
        whose = "" if ours == _NETWORK else f" for {ours}"
        return f"No clear difference{place}{whose}{reason}: {figures} against {name}."
    subject = f"{ours[:1].upper()}{ours[1:]}"
    if found.difference > 0:
        lead = "Pre-training helped" if is_control else f"{subject} beats {name}"
    else:
        lead = "Pre-training hurt" if is_control else f"{subject} is worse than {name}"
    against = "" if not is_control else f" over {name}" if found.difference > 0 else f" against {name}"
    return f"{lead}{place}: {figures}{against}."


def _write_figure(metric: str, value: float) -> str:
    return f"{100 * value:.1f} %" if metric == "accuracy" else write_metric(metric, value)


def _score(contender: Contender, test: HeldOutRows) -> float:
    """The mean of the main metric over the seeds."""
    return float(np.mean([each.figure() for each in test.statistics(contender, test.metric)]))
