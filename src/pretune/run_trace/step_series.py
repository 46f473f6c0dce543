"""Figures of single updates in; out come parallel lists, thinned so that every peak and dip of the loss is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pretune.run_trace.log_values import figure, whole
from pretune.runtime.events import Event
from pretune.trace_schema import StepSeries

MOST_POINTS = 600


def read_steps(events: Sequence[Event]) -> StepSeries:
    """The `train` events of a phase; above 600 only the smallest and the largest loss of each stretch. The evaluations
    among them take time that is no part of the speed of training."""
    updates = [place for place, event in enumerate(events) if _is_update(event)]
    losses = [figure(events[place].get("loss")) for place in updates]
    places = [updates[index] for index in thin(losses, MOST_POINTS)]
    kept = [events[place] for place in places]

    def column(name: str) -> list[float | None]:
        return [figure(event.get(name)) for event in kept]

    return StepSeries(
        kept=len(kept),
        logged=len(updates),
        step=[whole(event["step"]) or 0 for event in kept],
        epoch=column("epoch"),
        loss=column("loss"),
        accuracy=column("accuracy"),
        learning_rate=column("learning_rate"),
        grad_norm=column("grad_norm"),
        tokens_per_second=[_speed(events[place - 1], events[place]) if place else None for place in places],
    )


def _is_update(event: Event) -> bool:
    return event.get("event") != "evaluation" and whole(event.get("step")) is not None


def _speed(before: Event, event: Event) -> float | None:
    """Tokens per second between two events. The figure in the log is the mean since the stage began, which has the time
    before the first update in it."""
    names = ("tokens", "elapsed_seconds")
    if any(figure(each.get(name)) is None for each in (before, event) for name in names):
        return None
    tokens, seconds = (event[name] - before[name] for name in names)
    return figure(tokens / seconds) if tokens > 0 and seconds > 0 else None


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
