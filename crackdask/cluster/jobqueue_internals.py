"""What is used of dask-jobqueue that it does not promise, and of the clusters of distributed that it builds on.

Its clusters replace some lost jobs and not others, and keep no word of a refusal; so methods of theirs are overridden,
and names that begin with an underscore are read. tests/cluster/test_internals.py says what is expected of each.
"""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from pathlib import Path
from typing import Any

import dask
from distributed.deploy.spec import ProcessInterface
from tornado.ioloop import PeriodicCallback

from crackdask.batch_systems import BatchSystem
from crackdask.cluster.errors import ClusterError

_interrupt = signal.getsignal(signal.SIGINT)
try:
    import dask_jobqueue
except ImportError as missing:
    raise ClusterError(
        'the jobs of a batch system need dask-jobqueue: pip install "crackdask[hpc]", or use --cluster local'
    ) from missing
finally:
    # Its import makes Ctrl-C end the process with exit 0, as if all were done.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)

#: Seconds between questions for jobs whose workers have not come.
_ASK = 10.0


class _LastingJobs:
    """Has every lost job replaced; a mixin over dask-jobqueue's clusters.

    What they replace by themselves is a job with one worker that came and went. Jobs of several workers, and jobs that
    ended before a worker came, are seen to here.
    """

    batch: BatchSystem
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


def lasting_cluster(system: BatchSystem) -> type[Any]:
    """Return dask-jobqueue's cluster for a system, whose jobs are replaced, and which keeps what the system refused.

    Raises
    ------
    ClusterError
        If dask-jobqueue has none for it.
    """
    cluster = getattr(dask_jobqueue, system.workers_class or "", None)
    if cluster is None:
        raise ClusterError(
            f"dask-jobqueue {dask_jobqueue.__version__} has no jobs of {system.title} that hold workers: put the whole "
            "run into one job, with `crackdask submit` and without --spread"
        )

    class Job(cluster.job_cls):  # type: ignore[misc, name-defined]
        refused: str | None = None

        async def start(self) -> None:
            try:
                await super().start()
                Job.refused = None
            except (RuntimeError, OSError, ValueError) as error:
                # A job that never was; the look for lost ones has it asked for again, after a while.
                Job.refused = complaint_of(error)
                await ProcessInterface.start(self)

    return type(f"Lasting{cluster.__name__}", (_LastingJobs, cluster), {"batch": system, "job_cls": Job})


def complaint_of(error: BaseException) -> str:
    r"""Return what a batch system's command complained of, without what dask-jobqueue puts around it.

    >>> complaint_of(RuntimeError("Command exited with non-zero exit code.\nstderr:\nno such queue\n"))
    'no such queue'
    """
    match = re.search(r"stderr:\n(.*)\Z", str(error), re.DOTALL)
    words = match[1] if match else str(error)
    return " ".join(words.split()) or "it gave no reason"


def log_folder(cluster: Any) -> Path:
    """Return where the jobs of a cluster write what they say."""
    return Path(cluster._dummy_job.log_directory)
