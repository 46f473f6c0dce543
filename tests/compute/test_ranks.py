"""Several processes meet errors: which of them reports one, and what they say of too few GPUs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.distributed import HashStore

from pretune.compute import ranks as module
from pretune.compute.ranks import Ranks
from pretune.errors import InputDataError, OutOfResourcesError, PretuneError, RankLostError, StoppedError, UsageError
from pretune.runtime.launch import Launch


@pytest.fixture(autouse=True)
def a_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process, which a busy machine may delay, is waited for until it meets the error."""
    monkeypatch.setattr(module, "_SAME_ERROR_SECONDS", 60.0)


@pytest.fixture
def a_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an error that the first process does not meet, so that it is waited for in vain."""
    monkeypatch.setattr(module, "_SAME_ERROR_SECONDS", 0.5)


def who_shares(meet: Callable[[Ranks], PretuneError | None], size: int = 3) -> list[bool | None]:
    """Whether another process reports the error that each of several processes meets."""
    store = HashStore()

    def work(rank: int) -> bool | None:
        ranks = Ranks(Launch(rank=rank, size=size, local_rank=rank), store)
        try:
            with ranks.sorting_errors():
                if (error := meet(ranks)) is not None:
                    raise error
        except PretuneError as raised:
            return raised.is_shared
        return None

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(work, range(size)))


@pytest.mark.usefixtures("a_short_wait")
def test_an_error_of_one_process_is_its_own() -> None:
    """It was left for the first process to report, which had not met it."""
    full = OutOfResourcesError("Not enough memory to train on a single row.")
    assert who_shares(lambda ranks: full if ranks.rank == 2 else None) == [None, None, False]


def test_an_error_of_all_processes_is_said_once() -> None:
    assert who_shares(lambda _: InputDataError("There is too little text.")) == [False, True, True]


@pytest.mark.usefixtures("a_short_wait")
def test_an_error_of_all_but_the_first_process_is_said_once() -> None:
    shared = who_shares(lambda ranks: InputDataError("There is too little text.") if ranks.rank else None)
    assert sorted(map(str, shared)) == ["False", "None", "True"]


def test_an_error_that_the_first_process_passes_on_is_said_by_it() -> None:
    def refuse() -> None:
        raise InputDataError("There is too little text.")

    def ask(ranks: Ranks) -> None:
        ranks.answer(refuse, "a refusal")

    assert who_shares(ask) == [False, True, True]


@pytest.mark.parametrize(("error", "shared"), [(StoppedError, True), (RankLostError, False)])
def test_a_stop_is_of_all_processes_and_a_loss_of_each(error: type[PretuneError], shared: bool) -> None:
    assert who_shares(lambda ranks: error("later") if ranks.rank == 1 else None, size=2) == [None, shared]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = Ranks(Launch(rank=2, size=3, local_rank=2), HashStore())
    with pytest.raises(UsageError, match=r"than there are GPUs for them \(2\); .* torchrun --nproc-per-node 2\."):
        ranks.open_group("cuda", hang_seconds=60)
