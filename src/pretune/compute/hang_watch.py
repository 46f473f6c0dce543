"""Who hangs: every process says now and then how far it has come, and two of them look for one that has stopped.

A process that waits for another inside a collective operation cannot ask anything, so a thread beside it does.
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
PATIENCE_SECONDS = 900.0  # for what may rightly take long: compiling, evaluating, the first steps
_WATCHERS = 2  # the first process, and one that names the first


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a process tells of itself. `beat` grows as long as its thread runs, `arrivals` with the places it has
    passed; it may stay at one place for `patience_seconds` where that is more than the limit."""

    beat: int
    arrivals: int
    place: str
    patience_seconds: float
    name: str  # process id and machine


class Lookout:
    """Finds the process that the others wait for, from the signs of all; it trusts its own clock only."""

    def __init__(self, hang_seconds: float) -> None:
        self.hang_seconds = hang_seconds
        self._last: dict[int, Sign] = {}
        self._beat_since: dict[int, float] = {}
        self._arrived_since: dict[int, float] = {}

    def look(self, signs: dict[int, Sign], now: float) -> str | None:
        """A sentence about the first process that has stopped, or None where all is well."""
        for rank, sign in signs.items():
            last = self._last.get(rank)
            if last is None or last.beat != sign.beat:
                self._beat_since[rank] = now
            if last is None or last.arrivals != sign.arrivals:
                self._arrived_since[rank] = now
            self._last[rank] = sign
        farthest = max(signs.values(), key=lambda sign: sign.arrivals)
        for rank, sign in signs.items():
            silent = now - self._beat_since[rank]
            behind = now - self._arrived_since[rank]
            if silent > self.hang_seconds:
                return f"Process {rank} ({sign.name}) has given no sign of life for {silent:.0f} s; {_last_seen(sign)}"
            if sign.arrivals < farthest.arrivals and behind > max(self.hang_seconds, sign.patience_seconds):
                where = f"the others wait for it at {farthest.place}"
                return f"Process {rank} ({sign.name}) hangs: {where}; {_last_seen(sign)}"
        return None


def _last_seen(sign: Sign) -> str:
    return (
        f"it was last seen at {sign.place}. What was committed is kept: give the same command again, or let torchrun "
        "do so with --max-restarts."
    )


class Watch:
    """The place that this process has come to, told to the others by a thread; ends the process where one hangs.

    Where another process leaves a note, which it does before it ends, `keep_note` is given it, and this one ends, too.
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
        self._lookout = Lookout(hang_seconds)
        self._interval = min(5.0, hang_seconds / 6)
        self._arrivals, self._place, self._patience, self._beat = 0, "the start", PATIENCE_SECONDS, 0
        self._name = f"pid {os.getpid()} on {socket.gethostname()}"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._tell()
        self._thread.start()

    def arrive(self, place: str) -> None:
        """This process has come to a place where it may have to wait for others."""
        self._place = place
        self._arrivals += 1

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within this block the others wait longer for this process."""
        before, self._patience = self._patience, PATIENCE_SECONDS
        try:
            yield
        finally:
            self._patience = before

    def expect_pace(self, *, is_strict: bool) -> None:
        """Whether from now on a place is left within the limit."""
        self._patience = 0.0 if is_strict else PATIENCE_SECONDS

    def close(self) -> None:
        """Stop watching and being watched."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self._tell()
                self._look_for_note()
                sentence = self._lookout.look(self._signs(), time.monotonic()) if self.rank < _WATCHERS else None
            except RuntimeError:  # the store has gone: its machine ended, which the main thread will hear of
                return
            if sentence is not None and not self._done.is_set():
                self._end(sentence)

    def _look_for_note(self, leave: Callable[[int], None] = os._exit) -> None:
        if self._keep_note is not None and self._store.check([NOTE_KEY]):
            self._keep_note(json.loads(self._store.get(NOTE_KEY)))
            self._store.set(NOTE_KEPT_KEY, "")
            leave(EXIT_STOPPED)

    def _tell(self) -> None:
        self._beat += 1
        sign = Sign(
            beat=self._beat,
            arrivals=self._arrivals,
            place=self._place,
            patience_seconds=self._patience,
            name=self._name,
        )
        self._store.set(_key(self.rank), json.dumps(asdict(sign)))

    def _signs(self) -> dict[int, Sign]:
        """What the others told last; one that has told nothing yet is missing."""
        told = [rank for rank in range(self.size) if self._store.check([_key(rank)])]
        return {rank: Sign(**json.loads(self._store.get(_key(rank)))) for rank in told}

    def _end(self, sentence: str, leave: Callable[[int], None] = os._exit) -> None:
        """The main thread waits in an operation that nothing interrupts, so the process ends here."""
        if self._store.add("hang named", 1) == 1:
            sys.stderr.write(sentence + "\n")
            sys.stderr.flush()
        leave(EXIT_STOPPED)


def _key(rank: int) -> str:
    return f"sign/{rank}"
