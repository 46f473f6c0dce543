"""A stage folder in the eyes of a process that is not the first: the first one writes, the others follow in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pretune.runtime.artifacts import Manifest, StageFolder
from pretune.runtime.events import EventLog


class FollowedFolder(StageFolder):
    """Takes what a stage writes and keeps only what the stage may read again."""

    def __init__(self, path: Path, manifest: Manifest, *, is_resumed: bool) -> None:
        self.path, self.manifest, self.is_resumed = path, manifest, is_resumed
        self._lock = None
        self.log = _NoLog(path, manifest.stage)

    def note(self, **summary: Any) -> None:
        self.manifest = replace(self.manifest, summary={**self.manifest.summary, **summary})

    def finish(self, **summary: Any) -> None:
        self.note(**summary)


class _NoLog(EventLog):
    """A log has one writer, and this is not it."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path, self.stage = folder, stage

    def write(self, event: str, **fields: Any) -> None:
        pass
