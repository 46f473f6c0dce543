"""The processes that train one model together: their ranks, and small sums and answers between them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from pretune import errors
from pretune.compute.handshake import name_attempt
from pretune.compute.hang_watch import NOTE_KEPT_KEY, NOTE_KEY, Watch
from pretune.errors import InterruptedByUserError, PretuneError, RankLostError, StoppedError, UsageError
from pretune.runtime.launch import Launch, read_launch
from pretune.runtime.manifest import Manifest, hash_json
from pretune.runtime.stage_folder import FollowedFolder, StageFolder

_GROUP_TIMEOUT = timedelta(minutes=30)  # a last resort; the hang watch is much faster
_LAST_ANSWER_SECONDS = 5.0  # for the others to read the last answers before the first process ends
_NOTE_SECONDS = 30.0  # for the first process to write down a note of another one
_POLL_SECONDS = (0.001, 0.2)  # between two checks for an answer: at first and at most
_SAME_ERROR_SECONDS = 2.0  # for the first process to meet an error that another one has met
_CONNECTION_LOSS_WORDS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")

T = TypeVar("T")


class Ranks:
    """Processes with the ranks 0 to size - 1. A single process answers every call at once and at no cost.

    `answer` works as soon as the processes have connected to the store; `sum`, `all_reduce` and `broadcast` need
    `open_group` first.
    """

    def __init__(self, launch: Launch, store: Store | None = None) -> None:
        self.rank, self.size, self.local_rank = launch.rank, launch.size, launch.local_rank
        self.is_first = launch.is_first
        self._store = store
        self._watch: Watch | None = None
        self._watched: Store | None = None
        self._keep_note: Callable[[dict[str, Any]], None] = lambda _note: None
        self._num_answers = 0
        self._num_groups = 0

    def open_group(
        self, device: str, hang_seconds: float, keep_note: Callable[[dict[str, Any]], None] = lambda _note: None
    ) -> None:
        """Connect the processes (gloo between CPUs, nccl between GPUs), and start to watch for one that hangs.

        `keep_note` is called in the first process with the note of `leave_note`. Raises UsageError if there is no GPU
        for this process.
        """
        if self._store is None:
            return
        if device == "cuda":
            _use_gpu(self.local_rank)
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
            self._num_groups += 1
            group = PrefixStore(f"group/{self._num_groups}", self._store)
            dist.init_process_group(backend, store=group, rank=self.rank, world_size=self.size, timeout=_GROUP_TIMEOUT)
        self._watched = PrefixStore(f"watch/{self._num_groups}", self._store)
        self._keep_note = keep_note
        self._watch = Watch(self._watched, self.rank, self.size, hang_seconds, keep_note if self.is_first else None)

    def close_group(self) -> None:
        """Disconnect from the other processes."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if dist.is_initialized():
            dist.destroy_process_group()
        self._wait_for_last_answer()

    def arrive(self, place: str) -> None:
        """Report to the hang watch that this process has reached a place where processes may wait for each other."""
        if self._watch is not None:
            self._watch.arrive(place)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within this block, a process may take long (compiling, evaluating) without counting as hanging."""
        if self._watch is None:
            yield
            return
        with self._watch.patient():
            yield

    def expect_pace(self, *, is_strict: bool) -> None:
        """Set whether, outside `patient`, a process that stays at one place beyond the limit counts as hanging."""
        if self._watch is not None:
            self._watch.expect_pace(is_strict=is_strict)

    def leave_note(self, note: dict[str, Any]) -> None:
        """Have the first process keep a note (JSON values) for the next attempt; all processes must end after it.

        The others may be waiting for this process in an operation that cannot be interrupted, so the hang watch of the
        first process reads the note and ends that process; the rest then notice that it has ended.
        """
        if self._watched is None:
            return
        if self.is_first:
            self._keep_note(note)
            self._watched.set(NOTE_KEPT_KEY, "")
            return
        self._watched.set(NOTE_KEY, json.dumps(note))
        end = time.monotonic() + _NOTE_SECONDS
        with suppress(RuntimeError):  # the store ended with the first process
            while time.monotonic() < end and not self._watched.check([NOTE_KEPT_KEY]):
                time.sleep(_POLL_SECONDS[1])

    def sum(self, values: Sequence[float], place: str) -> list[float]:
        """Each value summed over all processes, in double precision."""
        if self.size == 1:
            return [float(value) for value in values]
        return cast(list[float], self.all_reduce(torch.tensor(values, dtype=torch.float64), place).tolist())

    def all_reduce(self, tensor: Tensor, place: str) -> Tensor:
        """Sum a CPU tensor over all processes, in place, in every process."""
        if self.size > 1:
            self.arrive(place)
            with self.naming_losses():
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copy the first process's values into the tensor of every process, in place."""
        if self.size > 1:
            with self.naming_losses():
                dist.broadcast(tensor, 0)
        return tensor

    def answer(self, do: Callable[[], T], place: str) -> T:
        """Call `do` in the first process and return its result, a JSON value, in all of them.

        The others wait as long as it takes. A PretuneError in the first process is raised in all of them.
        """
        if self._store is None:
            return do()
        self._num_answers += 1
        key = f"answer/{self._num_answers}"
        self.arrive(place)
        if not self.is_first:
            return cast(T, _unpack(self._wait_for(key)))
        outcome = {"lost": f"Process 0 ended at {place}."}
        try:
            value = do()
            outcome = {"value": value}  # type: ignore[dict-item]
        except PretuneError as error:
            outcome = {"error": type(error).__name__, "message": str(error)}
            raise
        finally:
            self._store.set(key, json.dumps(outcome))
        return value

    @contextmanager
    def sorting_errors(self) -> Iterator[None]:
        """Within this block, note on a PretuneError whether another process reports it, so that it is said once."""
        try:
            yield
        except PretuneError as error:
            if error.is_shared is None:
                error.is_shared = self._is_shared(error)
            raise

    def _is_shared(self, error: PretuneError) -> bool:
        """Whether the first process, or another one before this, has met the same error."""
        if self._store is None or isinstance(error, RankLostError):
            return False
        if isinstance(error, StoppedError | InterruptedByUserError):
            return True  # the processes stop together
        key = f"error/{hash_json(str(error))}"
        with suppress(RuntimeError):  # the store ended with the first process
            if self.is_first:
                self._store.set(key, "")
                return False
            end = time.monotonic() + _SAME_ERROR_SECONDS
            while time.monotonic() < end:
                if self._store.check([key]):
                    return True
                time.sleep(_POLL_SECONDS[1])
            return self._store.add(f"{key}/others", 1) > 1
        return False

    def _wait_for_last_answer(self) -> None:
        """Keep the first process, which may have the store, from ending before the others have read its answers."""
        if self._store is None:
            return
        end = time.monotonic() + _LAST_ANSWER_SECONDS
        others = [f"left/{self._num_groups}/{rank}" for rank in range(self.size)]
        with suppress(RuntimeError):  # the first process has ended
            self._store.set(others[self.rank], "")
            while self.is_first and time.monotonic() < end and not self._store.check(others):
                time.sleep(_POLL_SECONDS[1])

    def _wait_for(self, key: str) -> str:
        assert self._store is not None
        pause, longest = _POLL_SECONDS
        with self.naming_losses():
            while not self._store.check([key]):
                time.sleep(pause)
                pause = min(longest, 2 * pause)
            return self._store.get(key).decode()

    @contextmanager
    def naming_losses(self) -> Iterator[None]:
        """Turn the network errors that follow the end of another process into a RankLostError."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_connection_loss(error):
                raise
            raise RankLostError(
                f"Process {self.rank} of {self.size} lost its connection to another process, which has ended; the "
                "reason is above, or in that process's log. Finished work is saved; run the same command to resume, or "
                "let torchrun restart it with --max-restarts."
            ) from error


ALONE = Ranks(Launch())


def open_together(ranks: Ranks, path: Path, open: Callable[[], StageFolder]) -> StageFolder:
    """A stage folder that the first process opens and writes; the others get a FollowedFolder."""
    opened: list[StageFolder] = []

    def open_first() -> dict[str, Any]:
        opened.append(open())
        return {"manifest": vars(opened[0].manifest), "is_resumed": opened[0].is_resumed}

    first = ranks.answer(open_first, f"opening {path}")
    if opened:
        return opened[0]
    return FollowedFolder(path, Manifest(**first["manifest"]), is_resumed=first["is_resumed"])


@cache
def join_ranks() -> Ranks:
    """The processes of this launch, connected through the address that torchrun sets; without a launcher, this one.

    Raises UsageError if the launcher's variables are incomplete, and RankLostError if another process does not come.
    """
    launch = read_launch()
    if launch.size == 1:
        return Ranks(launch)
    try:
        store, _, _ = next(iter(rendezvous("env://", launch.rank, launch.size)))
    except ValueError as error:
        raise UsageError(
            f"This is process {launch.rank} of {launch.size}, but the address of the others is missing ({error}); "
            "start the command with torchrun."
        ) from error
    # torchrun keeps one store while it restarts the processes; the prefix hides the answers of earlier attempts.
    with Ranks(launch).naming_losses():
        attempt = name_attempt(store, launch.rank, launch.size, _GROUP_TIMEOUT.total_seconds())
    return Ranks(launch, PrefixStore(f"attempt/{attempt}", store))


def _unpack(text: str) -> object:
    outcome = json.loads(text)
    if "error" in outcome:
        error = cast(type[PretuneError], getattr(errors, outcome["error"]))(outcome["message"])
        error.is_shared = True
        raise error
    if "lost" in outcome:
        raise RankLostError(f"{outcome['lost']} The reason is above, or in its own log.")
    return outcome["value"]


def _is_connection_loss(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in _CONNECTION_LOSS_WORDS)


def _use_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise UsageError(
            f"More processes were started on this machine than there are GPUs for them ({count}); expected at most one "
            f"for each GPU, as with torchrun --nproc-per-node {count}."
        )
    torch.cuda.set_device(local_rank)
