"""A job that holds the run itself, so that nothing of it stays on a login node.

The script asks a batch system for one node, runs the same `crackdask run` there, and has it told a while before its
time is up. Whatever ends the job, the same command submits another one that continues.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crackdask.batch_systems import BATCH_SYSTEMS, BatchSystem, JobRequest
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.job_checks import check_cores, check_nameable, check_there, is_queued, private_folder
from crackdask.cluster.worker_settings import COMPILING
from crackdask.engine.checkpoints import Work
from crackdask.engine.job_note import Job, asked_for, note_job
from crackdask.recipe.site import Site
from crackdask.storage.locations import place

#: Seconds before its end in which a job is told to end in order.
_GRACE = 120
#: Bytes of scheduler, client and reductions.
_CLIENT = 2**30


@dataclass(frozen=True)
class Submission:
    """One run as a job.

    Attributes
    ----------
    system
        Name of the batch system.
    recipe, store
        What is run, and where to.
    logs
        Folder of what the job writes.
    workers, memory
        How many workers, and bytes of each.
    site
        What is asked of the system.
    spread
        Whether each worker has a job of its own; otherwise all are in this one, on one node.
    words
        Further options of `crackdask run`.
    """

    system: str
    recipe: Path
    store: str
    logs: Path
    workers: int
    memory: int
    site: Site
    spread: bool
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that a job can be asked for."""
        if self.system not in BATCH_SYSTEMS:
            raise ClusterError(
                f"{self.system!r} is no batch system to submit to; give --cluster {', '.join(BATCH_SYSTEMS)}, or kind "
                "under [cluster] (on Kubernetes a DaskJob holds a run: deploy/kubernetes)"
            )
        check_nameable(self.logs)
        check_cores(self.site, self.cores, self.batch)

    @property
    def batch(self) -> BatchSystem:
        """The batch system."""
        return BATCH_SYSTEMS[self.system]

    @property
    def cores(self) -> int:
        """Cores of the job."""
        return 1 if self.spread else self.workers

    @property
    def bytes(self) -> int:
        """Memory of the job."""
        if self.spread:
            return 2 * _CLIENT
        return self.workers * self.site.worker_bytes(max(self.memory, COMPILING)) + _CLIENT

    def script(self) -> str:
        """Return the job's script."""
        lines = [f"{self.batch.directive} {words}" for words in (*self._asked(), *self.site.directives)]
        return "\n".join(["#!/bin/bash", *lines, *self.site.prologue, f"exec {self._command()}", ""])

    def _asked(self) -> Sequence[str]:
        """Return what is asked of the batch system, in its words."""
        request = JobRequest(
            cores=self.cores,
            megabytes=-(-self.bytes // 2**20),
            walltime=self.batch.walltime(self._walltime) if self._walltime else None,
            grace=self._grace,
            queue=self.site.queue,
            account=self.site.account,
            logs=str(self.logs),
        )
        return [words for words in self.batch.asked(request) if words]

    @property
    def _walltime(self) -> int | None:
        return (self.spread and self.site.run_walltime) or self.site.walltime

    @property
    def _grace(self) -> int:
        return min(_GRACE, self._walltime // 5) if self._walltime else _GRACE

    def _command(self) -> str:
        """Return the command of the job, under a clock where the system does not announce the end of a job in time."""
        words = [self.site.python or sys.executable, "-m", "crackdask", "run", str(self.recipe)]
        words += ["--store", self.store, "--cluster", self.system if self.spread else "local"]
        words += ["--workers", str(self.workers), *self.words]
        if self._walltime and not self.batch.announces:
            clock = ["timeout", "--preserve-status", "--signal=TERM", f"{self._walltime - self._grace}"]
            words = clock + words
        return shlex.join(words)

    def submit(self) -> str:
        """Hand the script to the batch system and return what it answers.

        Raises
        ------
        ClusterError
            If its command is not there or refuses, or the store is being written or about to be.
        """
        check_there(self.batch)
        work = Work.beside(place(self.store))
        if who := work.is_held():
            raise ClusterError(f"another run is writing this store ({who}); wait for it or stop it")
        if (job := asked_for(work)) and is_queued(BATCH_SYSTEMS[job.system], job.number):
            raise ClusterError(f"a job that makes this store is in the queue already ({job}); wait for it or cancel it")
        private_folder(self.logs)  # what a run says has the key to its dashboard
        done = subprocess.run(self.batch.submit, input=self.script(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(
                f"{self.batch.title} refused the job: {' '.join((done.stderr or done.stdout).split())}; correct queue, "
                "account, walltime, cores or memory under [cluster] (--dry-run shows the script)"
            )
        said = " ".join(done.stdout.split())
        note_job(work, Job(self.system, said, str(self.logs), datetime.now().astimezone().isoformat(" ", "seconds")))
        return said
