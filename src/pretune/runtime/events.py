"""The append-only event log of a stage, one JSON object per line; every display is a fold over it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from pretune.runtime.json_text import parse_json

Event = dict[str, Any]
LOG_NAME = "events.jsonl"
PROGRESS_SECONDS = 1.0  # between two events that say how far a stage has come
STAGE_ORDER = ("collect", "split", "preprocess", "pretrain", "prepare", "finetune", "scratch", "compare", "strategies")

# A context variable, so that runs in other threads have their own.
_subscribers: ContextVar[tuple[Callable[[Event], None], ...]] = ContextVar("subscribers", default=())


@contextmanager
def subscribed(callback: Callable[[Event], None]) -> Iterator[None]:
    """Within this block, call `callback` with every event right after it is written, whichever stage writes it.

    Events written by other threads belong to other runs and are not passed on.
    """
    token = _subscribers.set((*_subscribers.get(), callback))
    try:
        yield
    finally:
        _subscribers.reset(token)


class EventLog:
    """The log of one stage folder. It has one writer; each line is written in full and flushed at once."""

    _next_progress = 0.0  # by the monotonic clock

    def __init__(self, folder: Path, stage: str) -> None:
        self.path = folder / LOG_NAME
        self.stage = stage
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        _end_torn_line(self.path)

    def write(self, event: str, **fields: Any) -> None:
        """Append an event of the kind `event`; `fields` must be JSON values (ValueError for NaN and infinity)."""
        record: Event = {"event": event, "stage": self.stage, "time": round(time.time(), 3), **fields}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        # A file name that is not valid UTF-8 has lone surrogates, which are written as JSON escapes.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")
        for callback in _subscribers.get():
            callback(record)

    def write_progress(self, done: int, total: int | None, unit: str, *, since: float, **more: Any) -> None:
        """Append how far the stage has come, unless that was done less than a second ago; it counts the seconds since
        a reading of the monotonic clock."""
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECONDS
            elapsed = round(now - since, 3)
            self.write("progress", done=done, total=total, unit=unit, elapsed_seconds=elapsed, **more)


def _end_torn_line(path: Path) -> None:
    """End a line that a killed writer left incomplete, so that the next event starts a new one."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def read_events(folder: Path) -> list[Event]:
    """The events of one stage folder, as an uninterrupted run would have written them except for the times."""
    path = folder / LOG_NAME
    if not path.is_file():
        return []
    return fold([event for event in _read_lines(path) if event is not None])


def count_damaged_lines(folder: Path) -> int:
    """The lines of a stage's log that are no events, apart from those that a stopped writer leaves: the last line, and
    one after which the stage was resumed."""
    path = folder / LOG_NAME
    lines = _read_lines(path) if path.is_file() else []
    return sum(
        event is None and (following is None or following["event"] != "resumed") for event, following in pairwise(lines)
    )


def _read_lines(path: Path) -> list[Event | None]:
    """The event of each line that is not blank; None for a line that is no event, such as an incomplete one."""
    found: list[Event | None] = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # texts may have other separators
        if not line.strip():
            continue
        try:
            event = parse_json(line)
        except ValueError:
            event = None  # its writer was killed, or the file was damaged
        is_event = (
            isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("stage"), str)
        )
        found.append(event if is_event else None)
    return found


def fold(events: list[Event]) -> list[Event]:
    """Drop the events that were logged after the point to which a later resume went back.

    `resumed {from_step}` goes back to the checkpoint of that step (of `trial`, if given) and drops everything logged
    after it. `from_step` 0 means that the trial started over, or, without `trial` and `checkpoint`, that the stage did.
    `rolled_back {step}` goes back to the step before it, within one attempt. One without its step goes back to nothing.
    """
    kept: list[Event] = []
    for event in events:
        if event["event"] == "resumed" and _is_number(event.get("from_step")):
            kept = _logged_before(event, kept)
        elif event["event"] == "rolled_back" and _is_number(
            event.get("step")
        ):  # like `resumed`, but the event itself is kept
            kept = [*_logged_before({**event, "from_step": event["step"] - 1, "checkpoint": ""}, kept), event]
        else:
            kept.append(event)
    return kept


def _logged_before(resumed: Event, events: list[Event]) -> list[Event]:
    """The events up to the last one at or before the resumed step; events without a step count by their position."""
    trial, from_step = resumed.get("trial"), resumed["from_step"]
    trial = trial if _is_number(trial) else None
    if trial is None and from_step == 0 and "checkpoint" not in resumed:
        return []
    until = (-1, from_step) if trial is None else (trial, from_step or -1)
    places = [_place(event) for event in events]
    stepped = [i for i, place in enumerate(places) if place is not None]
    before = [i for i in stepped if places[i] <= until]  # type: ignore[operator]
    end = before[-1] + 1 if before else stepped[0] if stepped else len(events)
    return [event for event, place in zip(events[:end], places, strict=False) if place is None or place <= until]


def _place(event: Event) -> tuple[float, float] | None:
    """The trial and step of an event; None if it has no step."""
    trial = event.get("trial", -1)
    if not _is_number(trial):  # of another version
        return None
    if event["event"] == "trial_finished":
        return trial, float("inf")  # a trial that was resumed had not finished
    step = 0 if event["event"] == "trial_started" else event.get("step")
    return (trial, step) if _is_number(step) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_run(run: Path) -> list[Event]:
    """All events of a run, stage by stage; `run` may also be a single stage folder."""
    if (run / LOG_NAME).is_file():
        return read_events(run)
    return [event for stage in STAGE_ORDER for event in read_events(run / stage)]


def count_damaged(run: Path) -> dict[str, int]:
    """The damaged lines of each log of a run, or of a single stage folder; logs without any are left out."""
    folders = [run] if (run / LOG_NAME).is_file() else [run / stage for stage in STAGE_ORDER]
    found = {folder.name: count_damaged_lines(folder) for folder in folders}
    return {name: count for name, count in found.items() if count}
