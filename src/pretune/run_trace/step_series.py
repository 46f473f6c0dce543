"""Figures of single updates in; out come parallel lists, thinned so that every peak and dip of the loss is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pretune.run_trace.log_values import figure, whole
from pretune.runtime.events import Event
from pretune.trace_schema import StepSeries

MOST_POINTS = 600


def read_steps(events: Sequence[Event]) -> StepSeries:
    """The `train` events of a phase; above 600 only the smallest and the largest loss of each stretch."""
    logged = [event for event in events if whole(event.get("step")) is not None]
    losses = [figure(event.get("loss")) for event in logged]
    kept = [logged[index] for index in thin(losses, MOST_POINTS)]

    def column(name: str) -> list[float | None]:
        return [figure(event.get(name)) for event in kept]

    return StepSeries(
        kept=len(kept),
        logged=len(logged),
        step=[whole(event["step"]) or 0 for event in kept],
        epoch=column("epoch"),
        loss=column("loss"),
        accuracy=column("accuracy"),
        learning_rate=column("learning_rate"),
        grad_norm=column("grad_norm"),
        tokens_per_second=column("tokens_per_second"),
    )


def thin(values: Sequence[float | None], most: int) -> list[int]:
    """The indexes of at most `most` (at least 4) values, in order: the first, the last, and of each stretch in between
    the smallest and the largest, so the smallest and the largest of all stay. A value that is None is kept only if
    nothing is left out."""
    if len(values) <= most:
        return list(range(len(values)))
    known = [index for index, value in enumerate(values) if value is not None]
    if len(known) <= most:
        return known
    inner, stretches = known[1:-1], (most - 2) // 2
    size = math.ceil(len(inner) / stretches)
    kept = {known[0], known[-1]}
    for start in range(0, len(inner), size):
        stretch = inner[start : start + size]
        kept |= {min(stretch, key=lambda i: values[i] or 0.0), max(stretch, key=lambda i: values[i] or 0.0)}
    return sorted(kept)
