"""The hang watch: every process reports its progress to a store, and two of them look for one that has stopped.

Torch's own timeout ends a collective operation without naming the process that is missing, and as there is one for all
operations, it would have to allow for compiling and evaluating. A process that waits inside a collective operation can
do nothing else, so a thread does the watching.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from torch.distributed import Store  # type: ignore[attr-defined]

from pretune.errors import EXIT_STOPPED

NOTE_KEY, NOTE_KEPT_KEY = "note", "note kept"
PATIENCE_SECONDS = 900.0  # for what may take long: compiling, evaluating, the first steps
_WATCHERS = 2  # the first process, and another one to name the first if that hangs


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """The last report of a process. `beat` grows while its thread runs, `arrivals` with each place it reaches; it may
    stay at one place for `patience_seconds` if that is more than the limit."""

    beat: int
    arrivals: int
    place: str
    patience_seconds: float
    name: str  # process id and machine


class HangDetector:
    """Finds the process that the others wait for from the heartbeats of all; it relies on its own clock only."""

    def __init__(self, hang_seconds: float) -> None:
        self.hang_seconds = hang_seconds
        self._last: dict[int, Heartbeat] = {}
        self._beat_since: dict[int, float] = {}
        self._arrived_since: dict[int, float] = {}

    def find_hang(self, heartbeats: dict[int, Heartbeat], now: float) -> str | None:
        """A message about the first process that has stopped, or None if all are running."""
        for rank, heartbeat in heartbeats.items():
            last = self._last.get(rank)
            if last is None or last.beat != heartbeat.beat:
                self._beat_since[rank] = now
            if last is None or last.arrivals != heartbeat.arrivals:
                self._arrived_since[rank] = now
            self._last[rank] = heartbeat
        farthest = max(heartbeats.values(), key=lambda heartbeat: heartbeat.arrivals)
        for rank, heartbeat in heartbeats.items():
            silent = now - self._beat_since[rank]
            behind = now - self._arrived_since[rank]
            name = f"Process {rank} ({heartbeat.name})"
            if silent > self.hang_seconds:
                return f"{name} has not responded for {silent:.0f} s; {_describe_last(heartbeat)}"
            if heartbeat.arrivals < farthest.arrivals and behind > max(self.hang_seconds, heartbeat.patience_seconds):
                return f"{name} hangs: the others wait for it at {farthest.place}; {_describe_last(heartbeat)}"
        return None


def _describe_last(heartbeat: Heartbeat) -> str:
    return (
        f"it was last seen at {heartbeat.place}. Finished work is saved; run the same command to resume, or let "
        "torchrun restart it with --max-restarts."
    )


class Watch:
    """A thread that reports this process's progress to the others, and ends the process if one of them hangs.

    If another process leaves a note, which it does before it ends, `keep_note` receives it, and this process ends too.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        hang_seconds: float,
        keep_note: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.rank, self.size, self._keep_note = rank, size, keep_note
        self._store = store.clone()  # type: ignore[attr-defined]  # a store must not be used by two threads
        self._detector = HangDetector(hang_seconds)
        self._interval = min(5.0, hang_seconds / 6)
        self._arrivals, self._place, self._patience, self._beat = 0, "the start", PATIENCE_SECONDS, 0
        self._name = f"pid {os.getpid()} on {socket.gethostname()}"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._report()
        self._thread.start()

    def arrive(self, place: str) -> None:
        """Record that this process has reached a place where it may have to wait for others."""
        self._place = place
        self._arrivals += 1

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within this block, the others wait longer for this process."""
        before, self._patience = self._patience, PATIENCE_SECONDS
        try:
            yield
        finally:
            self._patience = before

    def expect_pace(self, *, is_strict: bool) -> None:
        """Set whether this process must from now on leave each place within the limit."""
        self._patience = 0.0 if is_strict else PATIENCE_SECONDS

    def close(self) -> None:
        """Stop watching and being watched."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self._report()
                self._look_for_note()
                hang = self._detector.find_hang(self._heartbeats(), time.monotonic()) if self.rank < _WATCHERS else None
            except RuntimeError:  # the process with the store has ended, which the main thread will notice
                return
            if hang is not None and not self._done.is_set():
                self._end(hang)

    def _look_for_note(self, leave: Callable[[int], None] = os._exit) -> None:
        if self._keep_note is not None and self._store.check([NOTE_KEY]):
            self._keep_note(json.loads(self._store.get(NOTE_KEY)))
            self._store.set(NOTE_KEPT_KEY, "")
            leave(EXIT_STOPPED)

    def _report(self) -> None:
        self._beat += 1
        heartbeat = Heartbeat(
            beat=self._beat,
            arrivals=self._arrivals,
            place=self._place,
            patience_seconds=self._patience,
            name=self._name,
        )
        self._store.set(_key(self.rank), json.dumps(asdict(heartbeat)))

    def _heartbeats(self) -> dict[int, Heartbeat]:
        """The last heartbeat of every process that has reported one, by rank."""
        reported = [rank for rank in range(self.size) if self._store.check([_key(rank)])]
        return {rank: Heartbeat(**json.loads(self._store.get(_key(rank)))) for rank in reported}

    def _end(self, message: str, leave: Callable[[int], None] = os._exit) -> None:
        """End the process from this thread: the main thread waits in an operation that cannot be interrupted."""
        if self._store.add("hang named", 1) == 1:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
        leave(EXIT_STOPPED)


def _key(rank: int) -> str:
    return f"heartbeat/{rank}"
