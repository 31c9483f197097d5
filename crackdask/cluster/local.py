"""Worker processes on this machine; nobody else on it can speak to them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

import dask
from distributed import Client, LocalCluster
from distributed import utils as distributed_utils

from crackdask.cluster import dashboard_token, tls
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.worker_settings import COMPILING, ENVIRONMENT, cap_threads, in_configuration
from crackdask.engine.executors import Distributed, Say
from crackdask.recipe.site import Site

_PATIENCE = 300
#: What a worker needs for its first block: the steps with their kernels, volumes, scans, and dask's own worker.
_LOADED = [
    "distributed.nanny",
    "scipy.ndimage",
    "crackdask.recipe.recipe",
    "crackdask.store.volumes",
    "crackdask.sources",
]
#: Workers begin as copies of a process that has loaded it once and has one thread, so they take no time to load it. (On
#: macOS libraries of the system may not be used in such a copy.)
_FORKED = {"distributed.worker.multiprocessing-method": "spawn" if sys.platform == "darwin" else "forkserver"}


class _GuardedCluster(LocalCluster):  # type: ignore[misc, unused-ignore]
    async def _start(self) -> None:
        self.scheduler_spec["cls"] = dashboard_token.GuardedScheduler
        await super()._start()


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
        dask.config.set({**in_configuration(), **_FORKED}),
        _start(workers, memory, site) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(cap_threads)
        client.register_worker_callbacks(cap_threads)
        yield Distributed(client, workers, site.patience or _PATIENCE, say, dashboard_token.link(cluster.scheduler))


def _start(workers: int, memory: int, site: Site) -> _GuardedCluster:
    with _deaf_to_interrupts():
        _load_for_workers()
        try:
            return _GuardedCluster(
                n_workers=workers,
                env=dict(os.environ),  # what was set since they began to load
                threads_per_worker=1,
                memory_limit=max(memory, COMPILING),
                host="127.0.0.1",
                security=tls.temporary(),
                dashboard_address=site.dashboard,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            raise ClusterError(f"{error}; correct dashboard ({site.dashboard}) under [cluster]") from error


def _load_for_workers() -> None:
    """Begin to load what workers need, in the process that they will be copies of, while the scheduler starts."""
    if sys.platform == "darwin":
        return
    distributed_utils._forkserver_preload_set = True  # it would have that process, and this one, load pandas
    forkserver.set_forkserver_preload(_LOADED)
    os.environ.update(ENVIRONMENT)  # as its nannies do: what native libraries read when they are loaded
    forkserver.ensure_running()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
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
