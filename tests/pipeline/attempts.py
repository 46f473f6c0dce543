"""A script that gives commands in processes which end at chosen places, to see what is left and what comes of it.

It reads [{"words": [...], "attempts": [...]}, ...] as JSON and writes for each command the exit status of every attempt
(minus the signal, for one that was killed) and its seconds. An attempt is a place and the signal that is sent there:

- "" lets the command run to its end; "random" waits a random part of the seconds that the command before it took;
- "inside NAME n": the n-th call of a function or method of that name (see PLACES);
- "before KIND n", "torn KIND n", "after KIND n": the n-th event of a kind, with none, half or all of its line written.

Every attempt is a fork of one process that has imported everything and computed nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.cli import commands, main
from pretune.runtime import artifacts, commit, events
from pretune.training import checkpoint, optimizer

STAGES = ("pretune.stages.pretrain", "pretune.stages.finetune")  # which the commands would import late
PLACES: dict[str, tuple[Any, str]] = {
    "update": (optimizer.Optimizer, "step"),
    "save": (commit, "_sync_file"),
    "rename": (commit, "_put_in_place"),
    "retention": (checkpoint, "remove_folder"),
    "manifest": (artifacts, "write_json"),
    "finish": (artifacts.StageFolder, "finish"),
}


def count_down(count: int) -> Callable[[], bool]:
    """A function that is true at its `count`-th call."""
    left = [count]

    def is_now() -> bool:
        left[0] -= 1
        return left[0] == 0

    return is_now


def end_inside(name: str, count: int, number: int) -> None:
    """Send this process a signal when a function is called for the `count`-th time."""
    owner, attribute = PLACES[name]
    original, is_now = getattr(owner, attribute), count_down(count)

    def call(*args: Any, **kwargs: Any) -> Any:
        if is_now():
            if name == "manifest":  # half of the file is on the disk under its temporary name
                args[0].with_name(f".{args[0].name}.tmp").write_text('{"stage": "pre', encoding="utf-8")
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    setattr(owner, attribute, call)


def end_at_event(moment: str, kind: str, count: int, number: int) -> None:
    """Send this process a signal when the `count`-th event of a kind is logged."""
    original, is_now = events.EventLog.write, count_down(count)

    def write(self: events.EventLog, event: str, **fields: Any) -> None:
        if event != kind or not is_now():
            original(self, event, **fields)
            return
        if moment == "torn":
            with self.path.open("ab") as file:
                file.write(f'{{"event": "{event}", "stage": "wört'.encode()[:-2])
        elif moment == "after":
            original(self, event, **fields)
        os.kill(os.getpid(), number)
        if moment != "after":
            original(self, event, **fields)

    events.EventLog.write = write  # type: ignore[method-assign]


def run_attempt(words: list[str], place: str, number: int, seconds: float) -> tuple[int, float]:
    """The exit status and the seconds of one attempt."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        moment, *rest = place.split() or [""]
        if moment == "inside":
            end_inside(rest[0], int(rest[1]), number)
        elif moment in ("before", "torn", "after"):
            end_at_event(moment, rest[0], int(rest[1]), number)
        os._exit(main.run_command_line(words))
    if place == "random":
        time.sleep(random.SystemRandom().uniform(0, seconds))
        os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, time.monotonic() - start


def run_all(plan: list[dict[str, Any]]) -> list[list[tuple[int, float]]]:
    """Every command with its attempts, one after the other."""
    results = []
    seconds = 1.0
    for command in plan:
        found = []
        for place, number in command["attempts"]:
            found.append(run_attempt(command["words"], place, getattr(signal, number or "SIGKILL"), seconds))
        if not any(place for place, _ in command["attempts"]):
            seconds = found[-1][1]
        results.append(found)
    return results


if __name__ == "__main__":
    assert {"pretrain", "finetune"} <= commands.COMMANDS.keys()
    for stage in STAGES:
        importlib.import_module(stage)
    json.dump(run_all(json.load(sys.stdin)), sys.stdout)
