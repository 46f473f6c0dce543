"""Clusters of Dask and Ray: what their libraries raise is told as what happened."""

import errno
import operator
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pretune.errors import OutOfResourcesError, StoppedError, UsageError, WorkersError
from pretune.runtime.clusters import CLUSTERS, Dask, Ray
from pretune.runtime.workers import Engine, call, open_engine
from pretune.version import VERSION

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


class Elsewhere(Cluster):
    """A cluster with a worker of this version of pretune, or of another one."""

    name, version = "dask", VERSION

    def _submit(self, function: Any, task: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(function, task, self.version))
        return future


def test_a_worker_without_the_files_is_no_bug(tmp_path: Path) -> None:
    """With Ray, it was shown as one; without a cluster, there is no other machine."""
    tasks = [(str(tmp_path / "none"),)]
    sentence = r"^Worker \S+ cannot use .*none \(No such file or directory\); expected the folders of the input"
    with Elsewhere(2, "10.0.0.1:8786") as engine, pytest.raises(WorkersError, match=sentence):
        engine.map(os.listdir, tasks)
    with Elsewhere(2, None) as engine, pytest.raises(FileNotFoundError) as caught:
        engine.map(os.listdir, tasks)
    assert caught.value.filename == tasks[0][0]


def fill_the_disk(path: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_a_full_disk_of_a_worker_is_still_a_full_disk() -> None:
    with Elsewhere(2, "10.0.0.1:8786") as engine, pytest.raises(OSError, match="No space left") as caught:
        engine.map(fill_the_disk, [("x",)])
    assert caught.value.errno == errno.ENOSPC


def test_a_worker_with_another_version_does_nothing(tmp_path: Path) -> None:
    """What it wrote would have been reused as a finished part."""
    with Elsewhere(2, "10.0.0.1:8786") as engine, pytest.raises(WorkersError, match=r"has pretune .* of pretune 9\.9;"):
        engine.version = "9.9"
        engine.map(os.mkdir, [(str(tmp_path / "made"),)])
    assert not (tmp_path / "made").exists()


class Client:
    """The client of a scheduler whose workers answer with these versions, or errors."""

    def __init__(self, versions: dict[str, object], *, is_late: bool = False) -> None:
        self.versions, self.is_late = versions, is_late

    def submit(self, function: Any, expression: str, pure: bool) -> "Client":
        assert not pure
        assert function(expression) == VERSION
        return self

    def exception(self, timeout: float) -> None:
        assert timeout > 0
        if self.is_late:
            raise TimeoutError

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.versions, 1)

    def run(self, function: Any, expression: str, on_error: str) -> dict[str, object]:
        assert on_error == "return"
        assert function(expression) == VERSION
        return self.versions


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(ModuleNotFoundError("No module"), "Worker tcp://b has no pretune,"), ("0.1", "Worker tcp://b has pretune 0.1,")],
)
def test_workers_of_dask_are_asked_for_their_version(answer: object, sentence: str) -> None:
    """A worker without pretune ended at its first task, without a word, and the command waited without end."""

    with pytest.raises(UsageError, match=sentence):
        Dask(1, "10.0.0.1:8786")._check_workers(Client({"tcp://a": VERSION, "tcp://b": answer}))


def test_a_scheduler_without_workers_is_told_and_busy_workers_are_waited_for() -> None:
    """The command waited without end, and without a word."""
    sentence = (
        r"scheduler at 10\.0\.0\.1:8786 has had no worker for 60 seconds; start some with `dask worker tcp://10\."
    )
    with pytest.raises(UsageError, match=sentence):
        Dask(1, "10.0.0.1:8786")._check_workers(Client({}, is_late=True))
    Dask(1, "10.0.0.1:8786")._check_workers(Client({"tcp://a": VERSION}, is_late=True))


class FakeRay(ModuleType):
    """A library that connects to a cluster with so many cores, now and after a task has waited."""

    def __init__(self, cores: float, later: float) -> None:
        super().__init__("ray")
        self.cores, self.later = cores, later
        self.given: dict[str, Any] = {}
        self.is_open = False

    def is_initialized(self) -> bool:
        return self.is_open

    def init(self, **given: Any) -> None:
        self.given, self.is_open = given, True

    def shutdown(self) -> None:
        self.is_open = False

    def remote(self, **_options: Any) -> Any:
        return lambda _function: SimpleNamespace(remote=lambda *_task: "reference")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cores} if self.cores else {}

    def wait(self, references: list[str], timeout: float) -> None:
        assert references == ["reference"]
        assert timeout > 0
        self.cores = self.later


def test_a_cluster_of_ray_without_a_core_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command waited without end, and without a word."""
    for cores, later in ((0.0, 2.0), (2.0, 0.0)):
        monkeypatch.setitem(sys.modules, "ray", FakeRay(cores, later))
        with open_engine("ray://10.0.0.1:6379"):
            pass
    monkeypatch.setitem(sys.modules, "ray", ray := FakeRay(0.0, 0.0))
    sentence = r"cluster at 10\.0\.0\.1:6379 has had no core for 60 seconds; start a node with `ray start --address"
    with pytest.raises(UsageError, match=sentence), open_engine("ray://10.0.0.1:6379"):
        pass
    assert not ray.is_open


def test_workers_of_ray_on_this_machine_do_not_join_a_cluster_that_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray found the cluster and refused the number of cores."""
    monkeypatch.setitem(sys.modules, "ray", ray := FakeRay(2.0, 2.0))
    with open_engine("ray", 3):
        assert (ray.given["address"], ray.given["num_cpus"]) == ("local", 3)
    with open_engine("ray://10.0.0.1:6379"):
        assert ray.given["address"] == "10.0.0.1:6379"
        assert "num_cpus" not in ray.given


def test_the_error_of_a_task_is_taken_out_of_that_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    class RayTaskError(Exception):
        cause: Exception | str = "as it was not sent"

    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions := ModuleType("ray.exceptions"))
    exceptions.RayTaskError = RayTaskError  # type: ignore[attr-defined]

    def outcome_of(error: Exception) -> None:
        future: Future[Any] = Future()
        future.set_exception(error)
        Ray(1, "10.0.0.1:6379")._outcome_of(future)

    wrapped = RayTaskError("ValueError: wrong")
    with pytest.raises(RayTaskError):
        outcome_of(wrapped)
    wrapped.cause = ValueError("wrong")
    with pytest.raises(ValueError, match=r"^wrong$"):
        outcome_of(wrapped)
    with pytest.raises(WorkersError, match=r"^A worker of Ray at 10\.0\.0\.1:6379 has no pretune"):
        outcome_of(RayTaskError("RuntimeError: ...\nModuleNotFoundError: No module named 'pretune'"))


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
    dask = [sys.executable, "-m"]
    scheduler_words = ["distributed.cli.dask_scheduler", "--host", f"tcp://{address}", "--no-dashboard", "--no-show"]
    worker_words = ["distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1", "--no-nanny"]
    with (tmp_path / "log").open("w") as log:
        scheduler, worker = (
            subprocess.Popen([*dask, *words], cwd=tmp_path, stdout=log, stderr=log)
            for words in (scheduler_words, [*worker_words, "--no-dashboard"])
        )
        try:
            with open_engine(f"dask://{address}") as opened:
                assert opened.map(operator.neg, [(1,)]) == [-1]
                threading.Timer(0.5, scheduler.kill).start()
                with pytest.raises(StoppedError, match=f"The connection to Dask at {address} was lost"):
                    opened.map(time.sleep, [(30,), (30,)])
        finally:
            for process in (worker, scheduler):
                process.kill()
                process.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_of_dask_that_is_replaced_does_not_run_the_script_again(tmp_path: Path) -> None:
    """The first workers did not, but that of a new process for one that died did."""
    skip_without("dask")
    script = tmp_path / "script.py"
    script.write_text(
        "import operator, os, signal\n"
        "from pretune.runtime.workers import open_engine\n"
        "print('started', flush=True)\n"
        "with open_engine('dask', 1) as engine:\n"
        "    os.kill(engine.map(os.getpid, [()])[0], signal.SIGKILL)\n"
        "    print(engine.map(operator.neg, [(1,), (2,)]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "started\n[-1, -2]\n", done.stderr


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, library in LIBRARIES.items():
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UsageError, match=rf"pip install 'pretune\[{name}\]'"), open_engine(name, 1):
            pass
