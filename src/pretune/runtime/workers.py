"""Engines that run the parts of a stage: this process, threads, processes, Dask or Ray, all through one `map`.

The last two are in `clusters`.

A function is passed to an engine by reference, with JSON values; its results are the same on every engine.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune import errors
from pretune.errors import OutOfResourcesError, PretuneError, StoppedError, UsageError, WorkersError
from pretune.runtime.atomic import is_disk_full
from pretune.runtime.memory import peak_memory_bytes
from pretune.version import VERSION

if TYPE_CHECKING:  # imported only when needed at run time, because settings are checked by this module
    from concurrent.futures import Executor, Future

ENGINES = ("auto", "threads", "processes", "dask", "ray")
MAX_ATTEMPTS = 4  # at a task whose worker died
MIN_CHARACTERS_FOR_PROCESSES = 20_000_000  # for less, processes take longer to start than they save
_SAFE_PATH = "PYTHONSAFEPATH"
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")

Function = Callable[..., Any]
OnDone = Callable[[int, Any], None]


def parse_engine(engine: str) -> tuple[str, str | None]:
    """The kind and address of an engine such as `dask://10.0.0.1:8786`. Raises UsageError for any other."""
    kind, separator, address = engine.partition("://")
    if kind not in ENGINES or (separator and (kind not in ("dask", "ray") or not address)):
        raise UsageError(
            f"--engine is {engine}; expected auto, threads, processes, dask or ray, the last two optionally with the "
            "address of a cluster, as in dask://10.0.0.1:8786."
        )
    return kind, address or None


def num_cores() -> int:
    """The number of CPU cores that this process may use, or whose time a container's limit amounts to if that is
    less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _core_limit() or cores)


def _core_limit() -> int | None:
    """The limit of a cgroup (version 2) for CPU time, in whole cores; the file contains `max` if there is none."""
    try:
        quota, period = map(int, _CPU_LIMIT.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return max(1, -(-quota // period)) if period else None


@contextmanager
def open_engine(engine: str = "auto", workers: int | None = None, *, amount: int = 0) -> Iterator[Engine]:
    """An engine, open within this block.

    `workers` is their number (default: the cores of this machine; a cluster with an address has its own), `amount` the
    number of characters to process, by which `auto` chooses. Raises UsageError if there is no such engine, its library
    is not installed, or its cluster cannot be reached.
    """
    kind, address = parse_engine(engine)
    workers = workers or num_cores()
    if kind == "auto":
        kind = "processes" if workers > 1 and amount >= MIN_CHARACTERS_FOR_PROCESSES else "threads"
        workers = workers if kind == "processes" else 1
    if kind in ("dask", "ray"):
        from pretune.runtime.clusters import CLUSTERS

        opened = CLUSTERS[kind](workers, address)
    else:
        opened = {"threads": _Threads, "processes": _Processes}[kind](workers, address)
    with opened:
        yield opened


class Engine(ABC):
    """Runs a function for many tasks, several at a time; the unfinished tasks of a dead worker are run again."""

    name = ""

    def __init__(self, workers: int, address: str | None) -> None:
        self.workers = workers
        self.address = address
        self._peaks: dict[str, int] = {}  # peak bytes of every worker process seen

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop()

    def map(self, function: Function, tasks: Sequence[tuple[Any, ...]], on_done: OnDone | None = None) -> list[Any]:
        """Call `function(*task)` for every task; returns the results in the order of the tasks.

        `on_done(number, result)` is called as each task finishes. Raises the PretuneError that the function raised,
        OutOfResourcesError if workers keep dying, and StoppedError if the connection to a cluster is lost.
        """
        from concurrent.futures import BrokenExecutor

        results: dict[int, Any] = {}
        num_broken = 0
        while num_broken < MAX_ATTEMPTS:
            num_before = len(results)
            missing = [number for number in range(len(tasks)) if number not in results]
            try:
                for number, result in self._run(function, [(number, tasks[number]) for number in missing]):
                    results[number] = result
                    if on_done is not None:
                        on_done(number, result)
            except BrokenExecutor:
                self._stop()
                num_broken = num_broken + 1 if len(results) == num_before else 1  # tasks were finished in between
                continue
            except self._deaths() as error:
                raise self._died("again and again") from error
            except self._losses() as error:
                raise self._lost() from error
            return [results[number] for number in range(len(tasks))]
        raise self._died(f"{MAX_ATTEMPTS} times in a row")

    def _died(self, how_often: str) -> OutOfResourcesError:
        advice = "rerun the command with fewer --workers, or with --engine threads, to resume"
        if self.address is not None:  # --workers has no effect on a cluster that runs already
            advice = "give the cluster fewer workers, or more memory for each, and rerun the command to resume"
        return OutOfResourcesError(f"Worker processes died {how_often}, most likely because memory ran out; {advice}.")

    def _lost(self) -> StoppedError:
        return StoppedError(
            f"The connection to {describe_engine(self)} was lost; check that the cluster is running, and run the same "
            "command again to resume."
        )

    def _run(self, function: Function, tasks: list[tuple[int, tuple[Any, ...]]]) -> Iterator[tuple[int, Any]]:
        from concurrent.futures import as_completed

        futures = {self._submit(function, task): number for number, task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], self._result_of(self._outcome_of(future))
        finally:
            for future in futures:
                future.cancel()

    def _outcome_of(self, future: Future[Any]) -> Outcome:
        outcome: Outcome = future.result()
        return outcome

    def _result_of(self, outcome: Outcome) -> Any:
        kind, value, worker, peak = outcome
        self._peaks[worker] = peak
        if kind == "done":
            return value
        if kind == "OSError":
            raise self._without_file(OSError(*value), worker)
        raise getattr(errors, kind, PretuneError)(value)

    def _without_file(self, error: OSError, worker: str) -> Exception:
        """The error to raise for that of a worker: if it is of a cluster, its machine may not have the folders."""
        if self.address is None or error.filename is None or is_disk_full(error):
            return error
        return WorkersError(
            f"Worker {worker} cannot use {error.filename} ({error.strerror}); expected the folders of the input and of "
            "--out to have the same path on every machine of the cluster. Share them, and run the same command again."
        )

    def place_of(self, path: Path) -> Path:
        """A path for the tasks: workers of a cluster have other working folders than this process."""
        return path if self.address is None else path.absolute()

    @property
    def peak_memory_bytes(self) -> int:
        """The sum of the peak memory of this process and of each worker process so far."""
        own = worker_name()
        return peak_memory_bytes() + sum(peak for worker, peak in self._peaks.items() if worker != own)

    @abstractmethod
    def _submit(self, function: Function, task: tuple[Any, ...]) -> Future[Any]:
        """Have a worker call `function(*task)`; the future's result is an Outcome."""

    def _deaths(self) -> tuple[type[Exception], ...]:
        """What a future raises for a task whose workers kept dying, if the library itself runs such a task again."""
        return ()

    def _losses(self) -> tuple[type[Exception], ...]:
        """What is raised for a task if the connection to the cluster is lost."""
        return ()

    @abstractmethod
    def _stop(self) -> None:
        """Release the workers; the next task starts new ones."""


class WithExecutor(Engine):
    """An engine whose library provides a concurrent.futures executor."""

    _executor: Executor | None = None

    def _submit(self, function: Function, task: tuple[Any, ...]) -> Future[Any]:
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(call, function, task, VERSION)

    @abstractmethod
    def _start(self) -> Executor:
        """The executor, with its workers."""

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


class _Threads(WithExecutor):
    name = "threads"

    def _run(self, function: Function, tasks: list[tuple[int, tuple[Any, ...]]]) -> Iterator[tuple[int, Any]]:
        if self.workers > 1:
            yield from super()._run(function, tasks)
            return
        for number, task in tasks:  # in this thread
            yield number, function(*task)

    def _start(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(self.workers)


class _Processes(WithExecutor):
    """Processes that are spawned, never forked: the tokenizers' threads would not survive a fork."""

    name = "processes"

    def _start(self) -> Executor:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        return ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_prepare_worker)

    def _submit(self, function: Function, task: tuple[Any, ...]) -> Future[Any]:
        with guarded_start():
            return super()._submit(function, task)


Outcome = tuple[str, Any, str, int]  # "done" or an error's class, the result or the message, worker, peak bytes


def call(function: Function, task: tuple[Any, ...], version: str) -> Outcome:
    """Call a function in a worker; returns its result, or the class and message of its PretuneError, or what an OSError
    is made of. `version` is that of the command's process: another one would write other files.

    Every engine wraps the exceptions of workers in its own way; returning them as values avoids that.
    """
    kind, value = "done", None
    try:
        if version != VERSION:
            raise WorkersError(describe_version(f"Worker {worker_name()}", VERSION, version))
        value = function(*task)
    except PretuneError as error:
        kind, value = type(error).__name__, str(error)
    except OSError as error:
        if error.errno is None:
            raise
        kind, value = "OSError", (error.errno, error.strerror, error.filename)
    return kind, value, worker_name(), peak_memory_bytes()


def describe_version(worker: str, found: str | None, expected: str) -> str:
    """What is wrong with a worker that has another version of pretune, or none."""
    has = f"pretune {found}" if found else "no pretune"
    return (
        f"{worker} has {has}, and this command is of pretune {expected}; install that version in the Python of "
        "every worker, and run the same command again."
    )


def worker_name() -> str:
    """A name for this process that is unique among all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _prepare_worker() -> None:
    """Leave Ctrl-C to the main process, and exit when it is killed."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Tasks make many objects and hardly any cycles; collecting these at the default rate took a seventh of the time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


_guarding = threading.Lock()
_guards = ExitStack()
_num_guarded = 0


@contextmanager
def guarded_start() -> Iterator[None]:
    """Within this block, and all others that are open at the same time, new processes do not run the program again that
    starts them, nor import a file of the working folder."""
    global _num_guarded
    with _guarding:
        if not _num_guarded:
            _guards.enter_context(_without_main_module())
            _guards.enter_context(_without_working_folder())
        _num_guarded += 1
    try:
        yield
    finally:
        with _guarding:
            _num_guarded -= 1
            if not _num_guarded:
                _guards.close()


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module from new processes, which would run it again to have its names. Ours do not need them, and a
    script that calls pretune outside `if __name__ == "__main__"` would start itself over and over."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_working_folder() -> Iterator[None]:
    """Keep the working folder off the first path of new processes: they are started with `-c`, so a pickle.py in it
    would be imported in place of Python's own. They are given the path of this process afterwards."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def describe_engine(engine: Engine) -> str:
    """A short description of the engine, to follow "The work is done by"."""
    if engine.address is not None:
        return f"{engine.name.capitalize()} at {engine.address}"
    if engine.name in ("dask", "ray"):
        return f"{engine.workers:,} {engine.name.capitalize()} workers on this machine"
    if engine.workers == 1:
        return {"threads": "one thread", "processes": "one process"}[engine.name]
    return f"{engine.workers:,} {engine.name}"
