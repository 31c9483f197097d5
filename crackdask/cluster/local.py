"""Worker processes on this machine; nobody else on it can speak to them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster

from crackdask.cluster import dashboard_token, tls
from crackdask.cluster.distributed_internals import leave_preload_to_us, local_cluster
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.worker_settings import COMPILING, ENVIRONMENT, cap_threads, in_configuration
from crackdask.engine.executors import Distributed, Say
from crackdask.recipe.site import Site

_PATIENCE = 300
#: What a worker needs for its first block: the steps with their kernels, volumes, scans, and dask's own worker.
_LOADED = [
    "distributed.nanny",
    "scipy.ndimage",
    "scipy.fft",
    "SimpleITK",
    "crackdask.engine.step_runners",
    "crackdask.sources",
    "crackdask.kernels.loaded",
]


def start_method() -> str:
    """Return how worker processes begin.

    Where it can be, as copies of a process that has loaded once what they need and has one thread: that takes no time.
    macOS has such copies too, but libraries of the system may not be used in them; Windows has none.
    """
    can = sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()
    return "forkserver" if can else "spawn"


@contextmanager
def local(workers: int, memory: int, site: Site, say: Say) -> Iterator[Distributed]:
    """Hold some workers on this machine, bound to loopback, with certificates that exist in memory only.

    Raises
    ------
    ClusterError
        If their scheduler cannot listen where it was told to.
    """
    # As long as the run goes on, workers that are lost get successors, which look here for what to keep to.
    with (
        dask.config.set({**in_configuration(), "distributed.worker.multiprocessing-method": start_method()}),
        _start(workers, memory, site) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(cap_threads)
        client.register_worker_callbacks(cap_threads)
        yield Distributed(client, workers, site.patience or _PATIENCE, say, dashboard_token.link(cluster.scheduler))


def load_ahead() -> None:
    """Begin to load what workers need, while this process looks at what there is to do.

    What comes to nothing ends by itself.
    """
    if start_method() == "forkserver":
        with _deaf_to_interrupts():
            _load_for_workers()


def _start(workers: int, memory: int, site: Site) -> LocalCluster:
    with _deaf_to_interrupts():
        if start_method() == "forkserver":
            _load_for_workers()
        try:
            return local_cluster(dashboard_token.GuardedScheduler)(
                n_workers=workers,
                env=dict(os.environ),  # what was set since they began to load
                threads_per_worker=1,
                memory_limit=max(memory, COMPILING),
                host="127.0.0.1",
                security=tls.temporary(),
                dashboard_address=site.dashboard,
                silence_logs=logging.CRITICAL,
                scheduler_sync_interval=3600,  # asks what notebooks show; every second, if it is let
            )
        except RuntimeError as error:
            raise ClusterError(f"{error}; correct dashboard ({site.dashboard}) under [cluster]") from error


def _load_for_workers() -> None:
    """Begin to load what workers need, in the process that they will be copies of, while others start."""
    from multiprocessing import forkserver  # Windows has none

    leave_preload_to_us()
    forkserver.set_forkserver_preload(_LOADED)
    os.environ.update(ENVIRONMENT)  # as its nannies do: what native libraries read when they are loaded
    forkserver.ensure_running()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to this process: a terminal sends it to the workers too, and each would print a traceback.

    Threads and processes that begin inside have the signal blocked, and so have those that they begin; here it
    arrives when the block is left.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
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
