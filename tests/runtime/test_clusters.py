"""Clusters of Dask and Ray: what their libraries raise is told as what happened."""

import operator
import socket
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import OutOfResourcesError, StoppedError, UsageError
from pretune.runtime.clusters import CLUSTERS
from pretune.runtime.workers import Engine, open_engine

LIBRARIES = {"dask": "distributed", "ray": "ray"}


def skip_without(engine: str) -> None:
    pytest.importorskip(LIBRARIES[engine], reason=f"it is not installed: pip install 'pretune[{engine}]'")


def double(number: int) -> int:
    return 2 * number


class Killed(Exception):
    """Like Dask's KilledWorker."""


class Cluster(Engine):
    """An engine whose library has given up a task because its workers kept dying."""

    def _submit(self, _function: Any, _task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(Killed("Attempted to run task on 4 different workers, but all those workers died."))
        return future

    def _deaths(self) -> tuple[type[Exception], ...]:
        return (Killed,)

    def _stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("address", "advice"),
    [(None, "rerun the command with fewer --workers"), ("10.0.0.1:8786", "give the cluster fewer workers")],
)
def test_workers_of_a_cluster_that_keep_dying_are_no_bug(address: str | None, advice: str) -> None:
    """The library's own exception was shown as a bug of pretune, and fewer --workers were recommended for a cluster
    that runs already, which has its own."""
    with Cluster(2, address) as engine, pytest.raises(OutOfResourcesError, match=f"again and again.* {advice}"):
        engine.map(double, [(1,), (2,)])


class LostCluster(Cluster):
    """An engine whose library has cancelled all tasks because it lost the connection to the cluster."""

    name = "dask"

    def _submit(self, _function: Any, _task: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    def _losses(self) -> tuple[type[Exception], ...]:
        return (CancelledError,)


def test_a_lost_connection_to_a_cluster_is_no_bug() -> None:
    sentence = r"The connection to Dask at 10\.0\.0\.1:8786 was lost; .* run the same command again to resume"
    with LostCluster(2, "10.0.0.1:8786") as engine, pytest.raises(StoppedError, match=sentence):
        engine.map(double, [(1,), (2,)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_the_library_has_the_exceptions_of_dead_workers(engine: str) -> None:
    skip_without(engine)
    kind = CLUSTERS[engine]
    opened = kind(1, None)
    assert all(issubclass(each, Exception) for each in (*opened._deaths(), *opened._losses()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_of_dask_that_is_killed_is_no_bug(tmp_path: Path) -> None:
    skip_without("dask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["-m", "distributed.cli.dask_scheduler", "--host", f"tcp://{address}", "--no-dashboard", "--no-show"]
    with (tmp_path / "log").open("w") as log:
        scheduler = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stdout=log, stderr=log)
        try:
            with open_engine(f"dask://{address}") as opened:
                threading.Timer(0.5, scheduler.kill).start()
                with pytest.raises(StoppedError, match=f"The connection to Dask at {address} was lost"):
                    opened.map(operator.neg, [(1,), (2,)])  # for which there is no worker
        finally:
            scheduler.kill()
            scheduler.wait()


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, library in LIBRARIES.items():
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UsageError, match=rf"pip install 'pretune\[{name}\]'"), open_engine(name, 1):
            pass
