"""A run that may still write in, the latest version of its trace out: folded again when one of its files has grown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, PretuneError
from pretune.live.background import BackgroundThread
from pretune.live.versions import Version, Versions
from pretune.runtime.events import LOG_NAME, STAGE_ORDER
from pretune.runtime.manifest import MANIFEST_NAME, RECIPE_NAME, TRACE_NAME

# A fold must not slow down the training that it shows: it takes at most a tenth of one core, unless it is very long.
_REST_PER_WORK = 9
_LONGEST_REST = 50.0  # seconds: after 120 without a change, the page says that a stage that runs is not finished

Signature = dict[str, tuple[int, int]]  # of each file: size, time of change


class RunFollower:
    """Keeps the latest version of a run's trace. Several pages share one, so the run is folded once for all."""

    def __init__(
        self, run: Path, build: Callable[[Path], dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run = run
        self.versions = Versions()
        self.problem: str | None = None  # why the files cannot be read at the moment
        self._build = build
        self._clock = clock
        self._signature: Signature | None = None
        self._rests_until = clock()
        self._thread = BackgroundThread("fold")
        self._lock = asyncio.Lock()

    @property
    def age(self) -> float | None:
        """How many seconds ago the newest log of the run has grown; None if it has none."""
        logged = [changed for name, (_, changed) in signature_of(self.run).items() if name.endswith(LOG_NAME)]
        return max(0.0, round(time.time() - max(logged) / 1e9, 1)) if logged else None

    async def refresh(self) -> Version | None:
        """The latest version, after folding the run again if its files have changed and the last fold was a while ago;
        None if there is nothing to show yet, and `problem` says why."""
        # A page that is closed cancels only its own waiting: the fold goes on, and its result is kept for the others.
        return await asyncio.shield(asyncio.ensure_future(self._refresh()))

    async def _refresh(self) -> Version | None:
        async with self._lock:
            signature = signature_of(self.run)
            is_resting = self._clock() < self._rests_until
            if signature != self._signature and not (is_resting and self.versions.latest is not None):
                await self._fold(signature)
            return self.versions.latest

    async def _fold(self, signature: Signature) -> None:
        began = self._clock()
        try:
            if not signature:
                state = "has logged nothing yet" if self.versions.latest is None else "is no longer there"
                raise InputDataError(f"The run {self.run.name} {state}.")
            content = await self._thread.do(lambda: self._build(self.run))
            self.versions.add(content)
            self.problem = None
        except PretuneError as error:
            self.problem = str(error)
        finally:
            self._signature = signature
            now = self._clock()
            self._rests_until = now + min(_REST_PER_WORK * (now - began), _LONGEST_REST)


def signature_of(run: Path) -> Signature:
    """What changes when a run or a single stage folder goes on: the sizes and times of its logs and manifests."""
    folders = ["", *STAGE_ORDER]
    names = [str(Path(folder, name)) for folder in folders for name in (LOG_NAME, MANIFEST_NAME)]
    found: Signature = {}
    for name in (*names, RECIPE_NAME, TRACE_NAME):
        try:
            status = (run / name).stat()
        except OSError:
            continue
        found[name] = (status.st_size, status.st_mtime_ns)
    return found
