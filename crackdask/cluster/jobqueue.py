"""Workers in the jobs of a batch system: Slurm, PBS, LSF or Grid Engine, through dask-jobqueue.

Scheduler and client live in this process, each job holds as many workers as it has cores. Jobs end at their walltime,
by a node's failure, by somebody's hand; what is lost is asked for again, and a worker leaves before its walltime ends.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.deploy.spec import ProcessInterface
from distributed.utils import get_ip
from tornado.ioloop import PeriodicCallback

from crackdask.cluster import dashboard_token, tls
from crackdask.cluster.batch_systems import BATCHES, Batch, check_cores, check_nameable, check_there
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.worker_settings import COMPILING, cap_threads, in_environment
from crackdask.engine.executors import Distributed, Say, spoken
from crackdask.recipe.site import Site, seconds

_interrupt = signal.getsignal(signal.SIGINT)
try:
    from dask_jobqueue import LSFCluster, PBSCluster, SGECluster, SLURMCluster
except ImportError as missing:
    raise ClusterError(
        'the jobs of a batch system need dask-jobqueue: pip install "crackdask[hpc]", or use --cluster local'
    ) from missing
finally:
    # Its import makes Ctrl-C end the process with exit 0, as if all were done.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)

_PATIENCE = 86_400  # a queue may be long
_CLASSES = {"slurm": SLURMCluster, "pbs": PBSCluster, "lsf": LSFCluster, "sge": SGECluster}
#: Jobs in a row that may end before a worker comes of them.
_STILLBORN = 3
#: Seconds between questions for jobs whose workers have not come.
_ASK = 10.0
_SETTINGS = {
    "distributed.deploy.lost-worker-timeout": "1s",
    "distributed.adaptive.interval": "1s",
    "distributed.comm.timeouts.connect": "30s",
}


class _Lasting:
    """Has every lost job replaced; a mixin over dask-jobqueue's clusters.

    What they replace by themselves is a job with one worker that came and went. Jobs of several workers, and jobs that
    ended before a worker came, are seen to here.
    """

    batch: Batch
    stillborn: int = 0
    workers: dict[Any, Any]
    worker_spec: dict[Any, Any]
    scheduler_info: dict[str, Any]
    _watch: PeriodicCallback | None = None

    async def _start(self) -> None:
        await super()._start()  # type: ignore[misc]
        self._watch = PeriodicCallback(self._look, _ASK * 1000)
        self._watch.start()

    async def _close(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        await super()._close()  # type: ignore[misc]

    def _workers_of(self, name: Any) -> set[str]:
        suffixes = self.worker_spec.get(name, {}).get("group", [""])
        return {f"{name}{suffix}" for suffix in suffixes}

    def _present(self) -> set[str]:
        return {str(worker["name"]) for worker in self.scheduler_info["workers"].values()}

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            lost = str(self.scheduler_info["workers"][msg]["name"])
            delay = float(dask.config.get("distributed.deploy.lost-worker-timeout").removesuffix("s"))
            asyncio.get_running_loop().call_later(delay, self._forget_job_of, lost)
        else:
            self.stillborn = 0
        super()._update_worker_status(op, msg)  # type: ignore[misc]

    def _forget_job_of(self, lost: str) -> None:
        """Drop a job whose workers are all gone, so that another takes its place."""
        for name in list(self.workers):
            known = self._workers_of(name)
            if lost in known and not known & self._present():
                self._drop(name)

    def _drop(self, name: Any) -> None:
        job = self.workers.pop(name)
        self._futures.add(asyncio.ensure_future(job.close()))  # type: ignore[attr-defined]

    async def _look(self) -> None:
        for name, job in list(self.workers.items()):
            if self._workers_of(name) & self._present():
                continue
            if job.job_id is None:
                self._drop(name)
            elif await self._is_over(job.job_id) and name in self.workers:
                self.stillborn += 1
                self._drop(name)

    async def _is_over(self, job: str) -> bool:
        process = await asyncio.create_subprocess_exec(
            *self.batch.asks, job, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return self.batch.is_over(said.decode(errors="replace"))


def _made(system: str) -> type[Any]:
    """Return the cluster of a system whose jobs are replaced, and which keeps what the system refused."""
    cluster, batch = _CLASSES[system], BATCHES[system]

    class Job(cluster.job_cls):  # type: ignore[misc, name-defined]
        refused: str | None = None

        async def start(self) -> None:
            try:
                await super().start()
                Job.refused = None
            except (RuntimeError, OSError, ValueError) as error:
                # A job that never was; the look for lost ones has it asked for again, after a while.
                Job.refused = _what_was_said(error)
                await ProcessInterface.start(self)

    return type(f"Lasting{cluster.__name__}", (_Lasting, cluster), {"batch": batch, "job_cls": Job})


def _what_was_said(error: BaseException) -> str:
    """Return what a batch system's command complained of, without what surrounds it."""
    found = re.search(r"stderr:\n(.*)\Z", str(error), re.DOTALL)
    words = found[1] if found else str(error)
    return " ".join(words.split()) or "it gave no reason"


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
    found = dask.config.get(f"jobqueue.{system}.walltime", None)
    try:
        return seconds(f"{found}:00" if str(found).count(":") == 1 else found)
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
    batch = BATCHES[system]
    cores = min(site.cores, workers)
    check_cores(site, cores, system)
    check_nameable(folder)
    extra = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    options: dict[str, Any] = {}
    if walltime := site.walltime or _configured_walltime(system):
        leaves, more_or_less = lifetime(walltime)
        extra += ["--lifetime", f"{leaves}s", "--lifetime-stagger", f"{more_or_less}s"]
        options["walltime"] = batch.walltime(walltime)
    if site.account:
        options["account" if system in ("slurm", "pbs") else "project"] = site.account
    where = {"interface": site.interface} if site.interface else {"host": get_ip()}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in in_environment().items()]
    return _made(system)(
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
    check_there(BATCHES[system])
    with tls.in_files(folder) as security, dask.config.set(_SETTINGS):
        try:
            cluster = make(system, workers, memory, site, folder / "logs", security)
        except (ValueError, OSError, RuntimeError) as error:
            raise ClusterError(f"no cluster of {BATCHES[system].title} jobs: {error}") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            client.register_worker_callbacks(cap_threads)
            count = -(-workers // min(site.cores, workers))
            cluster.adapt(minimum_jobs=count, maximum_jobs=count)
            _await_the_first(cluster, client, count, patience, say)
            yield Distributed(client, workers, patience, say, dashboard_token.link(cluster.scheduler))


def _await_the_first(cluster: Any, client: Client, count: int, patience: float, say: Say) -> None:
    batch, logs = cluster.batch, Path(cluster._dummy_job.log_directory)
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
