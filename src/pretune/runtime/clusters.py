"""Engines whose library has workers of its own, on this machine or on a cluster that runs already: Dask and Ray."""

from __future__ import annotations

import logging
import operator
import os
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pretune.errors import UsageError, WorkersError
from pretune.runtime.workers import (
    MAX_ATTEMPTS,
    Engine,
    Function,
    Outcome,
    WithExecutor,
    call,
    describe_engine,
    describe_version,
    guarded_start,
)
from pretune.version import VERSION

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_WORKERS_SECONDS = 60.0  # for the first worker of a cluster to come
_VERSION_THERE = "pretune.version:VERSION"  # a name for a worker to resolve


class Dask(WithExecutor):
    name = "dask"

    def __enter__(self) -> Engine:
        self._executor = self._start()  # at once, so that a cluster that is down is reported before any work
        return self

    def _start(self) -> Executor:
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise _not_installed("dask") from error
        self._open = ExitStack()
        if self.address is None:
            self._open.enter_context(guarded_start())  # as long as the cluster, which replaces workers that die
            cluster = self._open.enter_context(
                LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=50,
                )
            )
            client = self._open.enter_context(Client(cluster))
        else:
            try:
                client = self._open.enter_context(Client(f"tcp://{self.address}", timeout=20))
            except OSError as error:
                raise UsageError(
                    f"No Dask scheduler responds at {self.address}; start one with `dask scheduler`, or check the "
                    "address."
                ) from error
            with self._ready_or_closed():
                self._check_workers(client)
        executor: Executor = client.get_executor(pure=False, retries=MAX_ATTEMPTS)
        return executor

    @contextmanager
    def _ready_or_closed(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._open.close()
            if isinstance(error, (OSError, *self._losses())):
                raise self._lost() from error
            raise

    def _check_workers(self, client: Any) -> None:
        """Raise UsageError if there is no worker, or one without pretune or with another version of it.

        A worker ends if it cannot import the function of a task, and tasks wait for a worker without end. So the
        version is asked for with a function of Python itself; at first as a task, for which a cluster that adapts to
        its tasks starts a worker. If all workers are busy for so long, the task may wait.
        """
        try:
            client.submit(pkgutil.resolve_name, _VERSION_THERE, pure=False).exception(timeout=_WORKERS_SECONDS)
        except TimeoutError:
            if not client.nthreads():
                raise UsageError(
                    f"The Dask scheduler at {self.address} has had no worker for {_WORKERS_SECONDS:.0f} seconds; start "
                    f"some with `dask worker tcp://{self.address} --nthreads 1`, and run the same command again."
                ) from None
        found = client.run(pkgutil.resolve_name, _VERSION_THERE, on_error="return")
        for worker, version in found.items():
            if version != VERSION:
                there = version if isinstance(version, str) else None
                raise UsageError(describe_version(f"Worker {worker}", there, VERSION))

    def _deaths(self) -> tuple[type[Exception], ...]:
        from distributed import KilledWorker

        return (KilledWorker,)  # after four deaths, which is the default of Dask's setting allowed-failures

    def _losses(self) -> tuple[type[Exception], ...]:
        from concurrent.futures import CancelledError

        from distributed import client

        # For tasks under way, and for one that is submitted later.
        return (CancelledError, getattr(client, "ClosedClientError", CancelledError))

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor = None
            self._open.close()


class Ray(Engine):
    name = "ray"
    _remote: Any = None
    _is_ours = False  # the connection, which a program may have opened before

    def __enter__(self) -> Engine:
        self._remote = self._start()  # at once, as with Dask
        return self

    def _submit(self, function: Function, task: tuple[Any, ...]) -> Future[Any]:
        if self._remote is None:
            self._remote = self._start()
        future: Future[Any] = self._remote.remote(function, task, VERSION).future()
        return future

    def _outcome_of(self, future: Future[Any]) -> Outcome:
        from ray.exceptions import RayTaskError

        try:
            return super()._outcome_of(future)
        except RayTaskError as error:
            if "No module named 'pretune'" in str(error):
                raise WorkersError(describe_version(f"A worker of {describe_engine(self)}", None, VERSION)) from error
            raise (error.cause if isinstance(error.cause, Exception) else error) from None

    def _start(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise _not_installed("ray") from error
        if not ray.is_initialized():
            # Without "local", Ray would look for a cluster on this machine, and refuse to give it a number of cores.
            cluster: dict[str, Any] = {"address": "local", "num_cpus": self.workers, "include_dashboard": False}
            if self.address is not None:
                cluster = {"address": self.address}
            try:
                ray.init(**cluster, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                token = "; if the cluster requires a token, set RAY_AUTH_MODE=token" if self.address else ""
                reason = str(error).splitlines()[0].rstrip(".")
                raise UsageError(f"Ray cannot be reached or started ({reason}){token}.") from error
            self._is_ours = True
        remote = ray.remote(max_retries=MAX_ATTEMPTS - 1, num_cpus=1)(call)
        if self.address is not None:
            self._wait_for_cores(ray, remote)
        return remote

    def _wait_for_cores(self, ray: Any, remote: Any) -> None:
        """Raise UsageError if the cluster has no core, for which a task would wait without end."""
        if ray.cluster_resources().get("CPU", 0) < 1:
            task = remote.remote(operator.neg, (1,), VERSION)  # for which a cluster that adapts to its tasks gets one
            ray.wait([task], timeout=_WORKERS_SECONDS)
            if ray.cluster_resources().get("CPU", 0) < 1:
                self._disconnect()
                raise UsageError(
                    f"The Ray cluster at {self.address} has had no core for {_WORKERS_SECONDS:.0f} seconds; start a "
                    f"node with `ray start --address {self.address}`, and run the same command again."
                )

    def _deaths(self) -> tuple[type[Exception], ...]:
        from ray.exceptions import LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError

        return (WorkerCrashedError, OutOfMemoryError, NodeDiedError, LocalRayletDiedError)

    def _stop(self) -> None:
        if self._remote is not None:
            self._disconnect()
        self._remote = None

    def _disconnect(self) -> None:
        if self._is_ours:
            import ray

            ray.shutdown()


def _not_installed(library: str) -> UsageError:
    return UsageError(f"--engine {library} needs {library}, which is not installed: pip install 'pretune[{library}]'.")


CLUSTERS: dict[str, type[Engine]] = {"dask": Dask, "ray": Ray}
