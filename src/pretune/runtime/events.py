"""The append-only log of a stage: one JSON object a line; every display is a fold over it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Event = dict[str, Any]
LOG_NAME = "events.jsonl"
STAGE_ORDER = ("collect", "preprocess", "pretrain", "prepare", "finetune", "scratch", "compare")

_subscribers: list[Callable[[Event], None]] = []


@contextmanager
def subscribed(callback: Callable[[Event], None]) -> Iterator[None]:
    """Call `callback` with every event right after it is written, whichever stage writes it."""
    _subscribers.append(callback)
    try:
        yield
    finally:
        _subscribers.remove(callback)


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
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        for callback in list(_subscribers):
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
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # a torn line: its writer was killed while it wrote
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return fold(events)


def fold(events: list[Event]) -> list[Event]:
    """Drop what an earlier attempt logged after the step that a resume went back to.

    `resumed {from_step}` drops earlier events with a larger `step` (of the same `trial`, where one is named);
    `from_step` 0 without a trial means that the stage began again, and drops everything before it.
    """
    kept: list[Event] = []
    for event in events:
        if event["event"] == "resumed":
            from_step, trial = event["from_step"], event.get("trial")
            if trial is None and from_step == 0:
                kept = []
            elif trial is None:
                kept = [e for e in kept if e.get("step", 0) <= from_step]
            else:
                kept = [e for e in kept if e.get("trial", -1) < trial or _is_before(e, trial, from_step)]
        else:
            kept.append(event)
    return kept


def _is_before(event: Event, trial: int, from_step: int) -> bool:
    return event.get("trial", -1) == trial and "step" in event and event["step"] <= from_step


def read_run(run: Path) -> list[Event]:
    """All events of a run, stage after stage; `run` may also be a single stage folder."""
    if (run / LOG_NAME).is_file():
        return read_events(run)
    return [event for stage in STAGE_ORDER for event in read_events(run / stage)]
