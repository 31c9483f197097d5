"""Workers in the jobs of a batch system: Slurm, PBS, LSF or Grid Engine, through dask-jobqueue.

Scheduler and client live in this process, each job holds as many workers as it has cores. Jobs end at their walltime,
by a node's failure, by somebody's hand; what is lost is asked for again, and a worker leaves before its walltime ends.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.utils import get_ip

from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.cluster import dashboard_token, tls
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.job_checks import check_cores, check_nameable, check_there, private_folder
from crackdask.cluster.jobqueue_internals import lasting_cluster, log_folder
from crackdask.cluster.worker_settings import COMPILING, cap_threads, in_environment
from crackdask.engine.executors import Distributed, Say, spoken
from crackdask.recipe.site import Site, seconds

_PATIENCE = 86_400  # a queue may be long
#: Jobs in a row that may end before a worker comes of them.
_STILLBORN = 3
_SETTINGS = {
    "distributed.deploy.lost-worker-timeout": "1s",
    "distributed.adaptive.interval": "1s",
    "distributed.comm.timeouts.connect": "30s",
}


def lifetime(walltime: int) -> tuple[int, int]:
    """Return after how many seconds a worker leaves, and by how many more or less, so that not all go at once.

    The latest leaves before the walltime ends, and has time to finish its block.

    >>> lifetime(14_400)
    (13860, 240)
    """
    margin, stagger = min(300, walltime // 5), min(240, walltime // 10)
    return walltime - margin - stagger, stagger


def _configured_walltime(system: str) -> int | None:
    """Return what dask's own configuration asks for, half an hour if nobody changed it."""
    walltime = dask.config.get(f"jobqueue.{system}.walltime", None)
    try:
        return seconds(f"{walltime}:00" if str(walltime).count(":") == 1 else walltime)
    except ValueError:
        return None  # in words that only the system knows


def make(
    system: str, workers: int, memory: int, site: Site, folder: Path, security: Any, asynchronous: bool = False
) -> Any:
    """Return the cluster, without jobs yet.

    Parameters
    ----------
    system
        A batch system's name.
    workers, memory
        How many workers, and bytes of each.
    site
        What is asked of the system.
    folder
        Where logs go.
    security
        Certificates as files, or None for those who only look at the script.
    asynchronous
        Whether the caller awaits it; otherwise its scheduler is started.
    """
    batch = BATCH_SYSTEMS[system]
    cores = min(site.cores, workers)
    check_cores(site, cores, batch)
    check_nameable(folder)
    extra = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    options: dict[str, Any] = {}
    if walltime := site.walltime or _configured_walltime(system):
        leaves, more_or_less = lifetime(walltime)
        extra += ["--lifetime", f"{leaves}s", "--lifetime-stagger", f"{more_or_less}s"]
        options["walltime"] = batch.walltime(walltime)
    if site.account:
        options[batch.account_keyword] = site.account
    where = {"interface": site.interface} if site.interface else {"host": get_ip()}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in in_environment().items()]
    return lasting_cluster(batch)(
        cores=cores,
        processes=cores,
        memory=f"{cores * site.worker_bytes(max(memory, COMPILING))}B",
        queue=site.queue,
        interface=site.interface,
        python=shlex.quote(site.python) if site.python else None,
        local_directory=shlex.quote(site.scratch) if site.scratch else None,
        log_directory=str(folder),
        job_name="crackdask-worker",
        job_extra_directives=list(site.directives),
        job_script_prologue=[*site.prologue, *exports],
        worker_extra_args=extra,
        security=security,
        protocol="tls://",
        scheduler_cls=dashboard_token.GuardedScheduler,
        scheduler_options={"dashboard_address": site.dashboard, **where},
        silence_logs=logging.CRITICAL,
        asynchronous=asynchronous,
        **options,
    )


@contextmanager
def jobs(system: str, workers: int, memory: int, site: Site, folder: Path, say: Say) -> Iterator[Distributed]:
    """Hold workers in jobs, replaced as they are lost, until the run is over.

    Raises
    ------
    ClusterError
        If the system takes no job, none of them comes to life, or none starts within the patience.
    """
    patience = site.patience or _PATIENCE
    check_there(BATCH_SYSTEMS[system])
    with tls.in_files(folder) as security, dask.config.set(_SETTINGS):
        private_folder(folder / "logs")
        try:
            cluster = make(system, workers, memory, site, folder / "logs", security)
        except (ValueError, OSError, RuntimeError) as error:
            raise ClusterError(f"no cluster of {BATCH_SYSTEMS[system].title} jobs: {error}") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            client.register_worker_callbacks(cap_threads)
            count = -(-workers // min(site.cores, workers))
            cluster.adapt(minimum_jobs=count, maximum_jobs=count)
            _await_the_first(cluster, client, count, patience, say)
            yield Distributed(client, workers, patience, say, dashboard_token.link(cluster.scheduler))


def _await_the_first(cluster: Any, client: Client, count: int, patience: float, say: Say) -> None:
    batch, logs = cluster.batch, log_folder(cluster)
    say(
        f"asked {batch.title} for {count} job{'s' * (count > 1)}; waiting for the first to start "
        f"(`{batch.queue}` shows them, {logs} will have their logs)"
    )
    until = time.monotonic() + patience
    while not client.nthreads():
        if cluster.job_cls.refused:
            raise ClusterError(
                f"{batch.title} refused the job: {cluster.job_cls.refused}; correct queue, account, walltime, cores "
                f"or memory under [cluster]; the script was:\n{cluster.job_script()}"
            )
        if cluster.stillborn >= _STILLBORN:
            raise ClusterError(
                f"{cluster.stillborn} jobs ended before their worker came: see the last logs in {logs}; is the python "
                "of the jobs (`python`, `prologue` in the file of --cluster-config) one with crackdask?"
            )
        if time.monotonic() > until:
            raise ClusterError(
                f"no job started within {spoken(patience)} (`{batch.queue}` tells why); ask for less, wait longer "
                "(patience under [cluster]), or use --cluster local"
            )
        time.sleep(0.2)
