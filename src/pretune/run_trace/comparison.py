"""The comparison event and the predictions beside it in; out come models, verdicts, and who is right where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pretune.run_trace.log_values import figure, figures, last_of, objects, texts, whole, words
from pretune.run_trace.metrics import metric_of, read_figures, read_score
from pretune.run_trace.predicted_rows import PredictedRows
from pretune.run_trace.training import read_slices
from pretune.runtime.events import Event
from pretune.trace_schema import DELIVERED, ComparedModel, Comparison, Disagreement, Verdict

CLEAR = 0.05  # p-value below which a difference is clear, if its interval does not hold zero, too


def read_comparison(events: list[Event], predicted: Mapping[str, PredictedRows]) -> Comparison | None:
    """The latest comparison; None if there is none. `predicted` has the first seed of each kind of model."""
    event = last_of(events, "compare", "comparison")
    rows = objects(event.get("rows"))
    metric = metric_of(rows)
    models = [model for row in rows if (model := _read_model(row, metric)) is not None]
    if not models:
        return None
    verdicts = [verdict for each in objects(event.get("verdicts")) if (verdict := read_verdict(each)) is not None]
    return Comparison(
        metric=metric,
        models=models,
        verdicts=verdicts,
        coverage=words(event.get("coverage")) or "",
        disagreements=_disagreements(models, predicted),
    )


def find_verdict(comparison: Comparison | None, other: str) -> Verdict | None:
    """The verdict on our model against another kind of model, on all rows: against the control it is about the
    pre-trained network, else about the model as delivered."""
    verdicts = comparison.verdicts if comparison is not None else []
    return next((v for v in verdicts if v.between[1:] == [other] and v.slice is None), None)


def find_delivered(comparison: Comparison | None) -> ComparedModel | None:
    """The model as delivered, if it is not one seed of the network alone."""
    models = {} if comparison is None else {model.kind: model for model in comparison.models}
    return next((models[kind] for kind in DELIVERED if kind in models), None)


def name_test(verdict: Verdict) -> str:
    """A sentence if it is the p-value, and not the interval, that leaves a difference unclear."""
    is_unclear = verdict.outcome == "no clear difference"
    if verdict.p_value is None or not is_unclear or verdict.low <= 0.0 <= verdict.high:
        return ""
    if verdict.slice is not None:
        return f"Corrected for the number of comparisons of slices, p = {verdict.p_value:.3f}."
    return f"An exact test gives p = {verdict.p_value:.3f}."


def _read_model(row: Event, metric: str) -> ComparedModel | None:
    score, interval = read_score(row, metric) or (None, None)
    if score is None or interval is None:
        return None
    seeds = row.get("seeds")
    kind = words(row.get("kind")) or "?"
    return ComparedModel(
        name=words(row.get("name")) or kind,
        kind=kind,
        n=whole(row.get("n")) or 0,
        score=score,
        accuracy=score if metric == "accuracy" else None,
        low=interval[0],
        high=interval[1],
        macro_f1=figure(row.get("macro_f1")),
        brier_score=figure(row.get("brier_score")),
        calibration_error=figure(row.get("calibration_error")),
        seeds=[f for seed in seeds if (f := figure(seed)) is not None] if isinstance(seeds, list) else [],
        slices=read_slices(row.get("slices"), metric),
        figures=read_figures(row, metric),
    )


def read_verdict(event: Event) -> Verdict | None:
    """A verdict as it was logged; None without a difference or its interval."""
    difference, interval = figure(event.get("difference")), figures(event.get("difference_interval"), 2)
    if difference is None or interval is None:
        return None
    p_value = figure(event.get("p_value"))
    return Verdict(
        between=texts(event.get("between")),
        metric=words(event.get("metric")) or "accuracy",
        slice=words(event.get("slice")),
        outcome=_outcome(interval, p_value),
        difference=difference,
        low=interval[0],
        high=interval[1],
        p_value=p_value,
        sentence=words(event.get("sentence")) or "",
    )


def _outcome(interval: list[float], p_value: float | None) -> Literal["better", "worse", "no clear difference"]:
    """As in scoring.uncertainty: a difference is clear if chance, in rows and in seeds, is an unlikely reason."""
    is_clear = (p_value is None or p_value < CLEAR) and not interval[0] <= 0.0 <= interval[1]
    return "no clear difference" if not is_clear else "better" if interval[0] > 0 else "worse"


def _disagreements(models: list[ComparedModel], predicted: Mapping[str, PredictedRows]) -> list[Disagreement]:
    ours = predicted.get("pretrained")
    if ours is None:
        return []
    found = []
    for kind in (model.kind for model in models if model.kind != "pretrained"):
        other = predicted.get(kind)
        if other is None or other.row.tolist() != ours.row.tolist():
            continue
        for name in [None, *sorted({each for each in ours.slices if each is not None})]:
            mask = ours.in_slice(name)
            a, b = ours.is_right[mask], other.is_right[mask]
            found.append(
                Disagreement(
                    other=kind,
                    slice=name,
                    both_right=int((a & b).sum()),
                    only_pretrained_right=int((a & ~b).sum()),
                    only_other_right=int((b & ~a).sum()),
                    both_wrong=int((~a & ~b).sum()),
                )
            )
    return found
