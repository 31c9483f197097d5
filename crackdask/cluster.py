"""Where the work runs: in this process, on threads, on local workers, or on a scheduler's address."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Protocol, TypeVar

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed, performance_report

Job = TypeVar("Job")
Outcome = Any | BaseException


# What a worker takes while kernels are compiled, which happens once after an installation.
_COMPILING = 2**30
# Memory is planned: a worker near its budget is neither paused nor made to spill, only ended beyond it; what it
# frees goes back to the system at once, instead of into a heap for each of its threads.
_PLANNED_MEMORY = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 2,
}


class ClusterError(ValueError):
    """No cluster could be had; the message says why and the way out."""


class WorkersLostError(RuntimeError):
    """A block takes every worker with it."""


class ClusterLostError(RuntimeError):
    """The cluster is gone; what was finished is kept."""


class Executor(Protocol):
    """Runs a function over jobs, a bounded number at a time, and yields results as they come."""

    @property
    def workers(self) -> int:
        """Number of jobs that run at once."""

    @property
    def dashboard(self) -> str | None:
        """Address of the dask dashboard, if there is one."""

    def map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""


@dataclass(frozen=True)
class Serial:
    """One job after the other in this process."""

    workers: int = 1
    dashboard: str | None = None

    def map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""
        for job in jobs:
            try:
                outcome: Outcome = function(job)
            except Exception as error:
                outcome = error
            yield job, outcome


@dataclass(frozen=True)
class Threads:
    """Jobs on threads of this process."""

    workers: int
    dashboard: str | None = None

    def map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""
        waiting = iter(jobs)
        running: dict[Future[Any], Job] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                for job in islice(waiting, 2 * self.workers - len(running)):
                    running[pool.submit(function, job)] = job
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.exception() or future.result()


@dataclass(frozen=True)
class Distributed:
    """Jobs on the workers of a dask cluster; the scheduler never holds more than a few for each."""

    client: Client

    @property
    def workers(self) -> int:
        """Number of threads of all workers."""
        return max(1, sum(self.client.nthreads().values()))

    @property
    def dashboard(self) -> str | None:
        """Address of the dashboard."""
        link = self.client.dashboard_link
        return str(link) if link else None

    def map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in.

        Raises
        ------
        ClusterLostError
            If the scheduler goes away.
        """
        try:
            yield from self._map(function, jobs)
        except Exception as error:
            if self.client.status == "running":
                raise
            raise ClusterLostError(f"the scheduler at {self.client.scheduler.address} went away") from error

    def _map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        waiting = iter(jobs)
        running: dict[Any, Job] = {}
        finished = as_completed(raise_errors=False)

        def submit(count: int) -> None:
            for job in islice(waiting, count):
                future = self.client.submit(function, job, pure=False)
                running[future] = job
                finished.add(future)

        submit(4 * self.workers)
        while running:
            future = next(finished)
            job = running.pop(future)
            outcome = self._outcome(future)
            future.release()
            submit(1)
            yield job, outcome

    def _outcome(self, future: Any) -> Outcome:
        try:
            return future.result()
        except CancelledError as error:
            if self.client.status != "running":
                raise
            return ConnectionError(f"the scheduler dropped the block: {error}")
        except KilledWorker as error:
            return WorkersLostError(
                f"{error.allowed_failures + 1} workers died at it one after the other, most likely for want of memory: "
                "raise [compute] memory or make its block smaller"
            )
        except Exception as error:
            return error


def cap_threads() -> None:
    """Keep native threads within a worker's one core (numba, BLAS, ITK, blosc, zarr)."""
    import numba
    import SimpleITK
    import zarr
    from numcodecs import blosc
    from threadpoolctl import threadpool_limits

    numba.set_num_threads(1)
    threadpool_limits(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    blosc.set_nthreads(1)
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 4})


@contextmanager
def _workers_deaf_to_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to this process: a terminal sends it to the workers too, and each would print a traceback.

    Threads and processes that begin inside have the signal blocked, and so have those that they begin; here it
    arrives when the block is left.
    """
    # The tracker's start would unblock the signal. It is told not to warn of what killed workers leave: it clears
    # that away, and the last lines are for what to do.
    quiet = "ignore:resource_tracker"
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class TerminatedError(BaseException):
    """SIGTERM came: a batch system gives a job some seconds to end."""


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """Have SIGTERM raise where the work is, as Ctrl-C does, so that workers end with their run; a second one waits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def recorded(executor: Executor, path: Path | None) -> Iterator[None]:
    """Write dask's performance report of what runs inside to a file, where one is wanted.

    Raises
    ------
    ClusterError
        If the executor is no dask cluster.
    """
    if path is None:
        yield
    elif not isinstance(executor, Distributed):
        raise ClusterError("a performance report needs a dask cluster: --cluster local or a scheduler's address")
    else:
        with performance_report(filename=str(path)):
            yield


@contextmanager
def connect(cluster: str, workers: int | None, memory: int) -> Iterator[Executor]:
    """Hold an executor for a run.

    Parameters
    ----------
    cluster
        "local" (worker processes on this machine), "threads", "synchronous", or the address of a
        scheduler, "tcp://host:port" or "tls://host:port".
    workers
        How many, by default one for each core.
    memory
        Bytes that one local worker may take.
    """
    count = workers or len(os.sched_getaffinity(0))
    cap_threads()  # the reductions run in this process, and must not see how many cores it has
    if cluster == "synchronous":
        yield Serial()
    elif cluster == "threads":
        yield Threads(count)
    elif cluster == "local":
        with _workers_deaf_to_interrupts(), dask.config.set(_PLANNED_MEMORY):
            local = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=max(memory, _COMPILING),
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        with local, Client(local) as client:
            client.run(cap_threads)
            client.register_worker_callbacks(cap_threads)
            yield Distributed(client)
    elif "://" in cluster:
        try:
            client = Client(cluster, timeout="10s")
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no scheduler answers at {cluster}: {error}; start one with `dask scheduler`, or use --cluster local"
            ) from error
        with client:
            if not client.nthreads():
                raise ClusterError(
                    f"the scheduler at {cluster} has no workers; start some with `dask worker {cluster}`"
                )
            client.register_worker_callbacks(cap_threads)
            yield Distributed(client)
    else:
        raise ClusterError(
            f"unknown cluster {cluster!r}; known: local, threads, synchronous, tcp://host:port, tls://host:port"
        )
