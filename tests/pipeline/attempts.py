"""A script that gives commands in processes which end at chosen places, to see what is left and what comes of it.

It reads [{"words": [...], "attempts": [...]}, ...] as JSON and writes for each command the exit status of every attempt
(minus the signal, for one that was killed), its seconds, and what it said on stderr. An attempt is a place and what
happens there: a signal; FULL, after which no file can grow; NOSPACE or READONLY, an error of the system's.

- "" lets the command run to its end; "random" waits a random part of the seconds that the command before it took;
- "inside NAME n": the n-th call of a function or method of that name (see PLACES);
- "before KIND n", "torn KIND n", "after KIND n": the n-th event of a kind, with none, half or all of its line written.

Every attempt is a fork of one process that has imported everything and computed nothing.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn.linear_model
import sklearn.svm  # noqa: F401  (which the linear baselines import late)

from pretune.cli import main, stage_commands
from pretune.runtime import atomic, events, stage_folder
from pretune.stages.chat_tuning import stage as chat_tuning
from pretune.stages.finetune import stage as finetune
from pretune.stages.pretrain import measurement
from pretune.training import checkpoint, finetuning_trial, optimizer

PLACES: dict[str, tuple[Any, str]] = {
    "update": (optimizer.Optimizer, "step"),
    "save": (atomic, "_sync_file"),
    "rename": (atomic, "_put_in_place"),
    "retention": (checkpoint, "remove_folder"),
    "manifest": (stage_folder, "write_json"),
    "finish": (stage_folder.StageFolder, "finish"),
    "evaluation": (measurement, "predict_hidden"),  # its second half
    "measuring": (chat_tuning, "measure_replies"),
    "epoch": (finetuning_trial, "predict_outputs"),  # the evaluation at its end
}


def count_down(count: int) -> Callable[[], bool]:
    """A function that is true at its `count`-th call."""
    left = [count]

    def is_now() -> bool:
        left[0] -= 1
        return left[0] == 0

    return is_now


def happen(what: str) -> None:
    """Send this process a signal, or let the disk fail."""
    if what == "FULL":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
    elif what == "NOSPACE":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif what == "READONLY":
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(Path(sys.argv[-1]) / "checkpoints"))
    else:
        os.kill(os.getpid(), getattr(signal, what))


def end_inside(name: str, count: int, what: str) -> None:
    """Let something happen when a function is called for the `count`-th time."""
    owner, attribute = PLACES[name]
    original, is_now = getattr(owner, attribute), count_down(count)

    def call(*args: Any, **kwargs: Any) -> Any:
        if is_now():
            if name == "manifest":  # half of the file is on the disk under its temporary name
                args[0].with_name(f".{args[0].name}.tmp").write_text('{"stage": "pre', encoding="utf-8")
            happen(what)
        return original(*args, **kwargs)

    setattr(owner, attribute, call)


def end_at_event(moment: str, kind: str, count: int, what: str) -> None:
    """Let something happen when the `count`-th event of a kind is logged."""
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
        happen(what)
        if moment != "after":
            original(self, event, **fields)

    events.EventLog.write = write  # type: ignore[method-assign]


def run_attempt(words: list[str], place: str, what: str, seconds: float) -> tuple[int, float, str]:
    """The exit status, the seconds and the words on stderr of one attempt."""
    start = time.monotonic()
    reading, writing = os.pipe()  # which no limit of a file's size concerns
    child = os.fork()
    if child == 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(writing, "w", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123
        sys.argv = ["pretune", *words]
        moment, *rest = place.split() or [""]
        if moment == "inside":
            end_inside(rest[0], int(rest[1]), what)
        elif moment in ("before", "torn", "after"):
            end_at_event(moment, rest[0], int(rest[1]), what)
        os._exit(main.run_command_line(words))
    os.close(writing)
    if place == "random":
        time.sleep(random.SystemRandom().uniform(0, seconds))
        os.kill(child, getattr(signal, what))
    with open(reading, encoding="utf-8", errors="replace") as told:  # noqa: PTH123
        said = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, time.monotonic() - start, said


def run_all(plan: list[dict[str, Any]]) -> list[list[tuple[int, float, str]]]:
    """Every command with its attempts, one after the other."""
    results = []
    seconds = 1.0
    for command in plan:
        found = []
        for place, what in command["attempts"]:
            found.append(run_attempt(command["words"], place, what, seconds))
        if not any(place for place, _ in command["attempts"]):
            seconds = found[-1][1]
        results.append(found)
    return results


if __name__ == "__main__":
    assert {"pretrain", "finetune"} <= stage_commands.COMMANDS.keys()
    assert finetune
    json.dump(run_all(json.load(sys.stdin)), sys.stdout)
