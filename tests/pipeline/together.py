"""A script that gives commands as several processes at once, as torchrun would; what became of each goes to stdout.

It reads [{"words": [...], "size": 2, "end": [RANK, PLACE, COUNT] or null}, ...] as JSON and writes for each command the
exit status and the words on stderr of every process. `end` lets one process meet something at its `COUNT`-th call:
"memory" a full memory in a forward pass, "kill" a SIGKILL before an update.

Every process is a fork of one that has imported everything and computed nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch

from pretune.cli import main, stage_commands
from pretune.stages.finetune import stage as finetune
from pretune.stages.pretrain import stage as pretrain  # which the commands would import late
from pretune.training import objective, optimizer


def meet(place: str, count: int) -> None:
    """Let this process meet something."""
    owner, name = {"memory": (objective.TokenObjective, "__call__"), "kill": (optimizer.Optimizer, "step")}[place]
    original, left = getattr(owner, name), [count]

    def call(*args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and place == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if left[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(*args)

    setattr(owner, name, call)


def begin(words: list[str], rank: int, end: list[Any] | None, writing: int) -> None:
    """What a forked process does; it does not return."""
    torch.set_num_threads(1)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = os.fdopen(writing, "w", buffering=1, encoding="utf-8")
    sys.argv = ["pretune", *words]
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    if end is not None and end[0] == rank:
        meet(end[1], end[2])
    os._exit(main.run_command_line(words))


def run(words: list[str], size: int, end: list[Any] | None) -> list[tuple[int, str]]:
    """Exit status and words of each process of one command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(size):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            begin(words, rank, end, writing)
        os.close(writing)
        children.append((child, reading))
    found = []
    for child, reading in children:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as told:
            said = told.read()
        found.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said))
    return found


if __name__ == "__main__":
    assert {"pretrain", "finetune"} <= stage_commands.COMMANDS.keys()
    assert finetune
    assert pretrain
    plan = json.load(sys.stdin)
    json.dump([run(each["words"], each["size"], each.get("end")) for each in plan], sys.stdout)
