"""The processes of an attempt agree on a name, whatever earlier attempts have left in the store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from pretune.compute.handshake import name_attempt
from pretune.errors import RankLostError


def attempt(store: HashStore, size: int, late: int = 0) -> list[str]:
    """The names that the processes of an attempt get, of which one is late."""

    def join(rank: int) -> str:
        time.sleep(0.2 if rank == late else 0.0)
        return name_attempt(store, rank, size, wait_seconds=20)

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(join, range(size)))


@pytest.mark.parametrize("late", [0, 1, 2])
def test_each_attempt_has_one_name_of_its_own(late: int) -> None:
    """A restart on two machines never began: torchrun counts restarts on each machine apart."""
    store = HashStore()
    names = [set(attempt(store, size, late)) for size in (3, 3, 2, 3)]
    assert [len(each) for each in names] == [1, 1, 1, 1]
    assert len(set.union(*names)) == 4


def test_a_process_that_ended_in_the_handshake_is_not_waited_for() -> None:
    store = HashStore()
    with pytest.raises(RankLostError):
        name_attempt(store, 1, 2, wait_seconds=0.05)
    assert len(set(attempt(store, 2))) == 1


@pytest.mark.parametrize(
    ("rank", "sentence"),
    [
        (0, "Process 0 of 3 has waited 0.003 minutes for 2 others, among them process 1; the log of that process"),
        (2, "Process 2 of 3 has waited 0.003 minutes for process 0; the log of that process may say why"),
    ],
)
def test_who_is_missing_is_said(rank: int, sentence: str) -> None:
    with pytest.raises(RankLostError, match=sentence):
        name_attempt(HashStore(), rank, 3, wait_seconds=0.18)
