"""The append-only log of a stage: one JSON object a line; every display is a fold over it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

Event = dict[str, Any]
LOG_NAME = "events.jsonl"
STAGE_ORDER = ("collect", "split", "preprocess", "pretrain", "prepare", "finetune", "scratch", "compare")

# A context variable, so that a run in another thread has its own.
_subscribers: ContextVar[tuple[Callable[[Event], None], ...]] = ContextVar("subscribers", default=())


@contextmanager
def subscribed(callback: Callable[[Event], None]) -> Iterator[None]:
    """Call `callback` with every event right after it is written, whichever stage writes it.

    Events that another thread writes are those of another run, and are not passed on.
    """
    token = _subscribers.set((*_subscribers.get(), callback))
    try:
        yield
    finally:
        _subscribers.reset(token)


class EventLog:
    """The log of one stage folder. It has one writer; a line is written whole and flushed at once."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path = folder / LOG_NAME
        self.stage = stage
        _end_torn_line(self.path)

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; `event` is its kind, `fields` must be JSON values."""
        record: Event = {"event": event, "stage": self.stage, "time": round(time.time(), 3), **fields}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        # A file name that is no UTF-8 has lone surrogates, which are written as JSON escapes.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")
        for callback in _subscribers.get():
            callback(record)


def _end_torn_line(path: Path) -> None:
    """A killed writer may leave half a line; end it, so that the next event starts on its own."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def read_events(folder: Path) -> list[Event]:
    """The events of one stage folder as an uninterrupted run would have written them (times apart)."""
    path = folder / LOG_NAME
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # texts may hold other line separators
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # a torn line: its writer was killed while it wrote
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return fold(events)


def fold(events: list[Event]) -> list[Event]:
    """Drop what an earlier attempt logged after the moment that a resume went back to.

    `resumed {from_step}` goes back to the checkpoint of that step (of `trial`, where one is named), and drops all that
    was logged later. `from_step` 0 of a trial means that the trial began again; without a trial and without a
    `checkpoint` it means that the stage did. `rolled_back {step}` goes back to the step before, in one attempt.
    """
    kept: list[Event] = []
    for event in events:
        if event["event"] == "resumed":
            kept = _logged_before(event, kept)
        elif event["event"] == "rolled_back":  # as after `resumed`, but the run says itself why
            kept = [*_logged_before({**event, "from_step": event["step"] - 1, "checkpoint": ""}, kept), event]
        else:
            kept.append(event)
    return kept


def _logged_before(resumed: Event, events: list[Event]) -> list[Event]:
    """Events up to the last one at or before the step gone back to; those without a step count by their place."""
    trial, from_step = resumed.get("trial"), resumed["from_step"]
    if trial is None and from_step == 0 and "checkpoint" not in resumed:
        return []
    until = (-1, from_step) if trial is None else (trial, from_step or -1)
    places = [_place(event) for event in events]
    stepped = [i for i, place in enumerate(places) if place is not None]
    before = [i for i in stepped if places[i] <= until]  # type: ignore[operator]
    end = before[-1] + 1 if before else stepped[0] if stepped else len(events)
    return [event for event, place in zip(events[:end], places, strict=False) if place is None or place <= until]


def _place(event: Event) -> tuple[int, float] | None:
    """Trial and step of an event; None where it has no step."""
    trial = event.get("trial", -1)
    if event["event"] == "trial_finished":
        return trial, float("inf")  # a trial that is resumed was not finished
    step = 0 if event["event"] == "trial_started" else event.get("step")
    return None if step is None else (trial, step)


def read_run(run: Path) -> list[Event]:
    """All events of a run, stage after stage; `run` may also be a single stage folder."""
    if (run / LOG_NAME).is_file():
        return read_events(run)
    return [event for stage in STAGE_ORDER for event in read_events(run / stage)]
