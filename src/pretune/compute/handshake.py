"""The processes of one attempt find each other in a store that still has the keys of earlier attempts."""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_hex

from torch.distributed import Store  # type: ignore[attr-defined]

from pretune.errors import RankLostError

_POLL_SECONDS = 0.02


def name_attempt(store: Store, rank: int, size: int, wait_seconds: float) -> str:
    """A name that all processes of this attempt have, and that no earlier attempt had.

    torchrun keeps one store while it restarts the processes. Its count of restarts does not tell the attempts apart:
    each machine has a count of its own, of the failures on that machine. So each process leaves a random word under its
    rank, and the first one answers every word with the name. It answers the words of earlier attempts too, but nobody
    reads these answers. Raises RankLostError if a process has not come within `wait_seconds`.
    """
    if rank == 0:
        return _give_name(store, size, wait_seconds)
    word = token_hex(8)
    store.set(f"hello/{rank}", word)
    if not _wait(lambda: store.check([f"name/{word}"]), wait_seconds):
        raise RankLostError(_describe_missing([0], rank, size, wait_seconds))
    name = store.get(f"name/{word}").decode()
    store.set(f"here/{name}/{rank}", "")
    return name


def _give_name(store: Store, size: int, wait_seconds: float) -> str:
    name, answered, missing = token_hex(8), dict[int, str](), list(range(1, size))

    def answer() -> bool:
        for rank in missing:
            word = store.get(f"hello/{rank}").decode() if store.check([f"hello/{rank}"]) else None
            if word is not None and word != answered.get(rank):
                store.set(f"name/{word}", name)
                answered[rank] = word
        missing[:] = [rank for rank in missing if not store.check([f"here/{name}/{rank}"])]
        return not missing

    if not _wait(answer, wait_seconds):
        raise RankLostError(_describe_missing(missing, 0, size, wait_seconds))
    return name


def _wait(is_done: Callable[[], bool], wait_seconds: float) -> bool:
    end = time.monotonic() + wait_seconds
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _describe_missing(missing: list[int], rank: int, size: int, wait_seconds: float) -> str:
    who = f"process {missing[0]}" if len(missing) == 1 else f"{len(missing):,} others, among them process {missing[0]}"
    return (
        f"Process {rank} of {size} has waited {wait_seconds / 60:,.3g} minutes for {who}; the log of that process may "
        "say why it has not started. Run the same command to resume, or let torchrun restart it with --max-restarts."
    )
