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

from crackdask.cluster.batch_systems import BATCHES, Batch, check_cores, check_nameable, check_there
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.worker_settings import COMPILING
from crackdask.engine.checkpoints import Work
from crackdask.engine.job_note import Job, asked_for, note_job
from crackdask.recipe.site import SYSTEMS, Site
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
        if self.system not in SYSTEMS:
            raise ClusterError(
                f"{self.system!r} is no batch system to submit to; give --cluster {', '.join(SYSTEMS)}, or kind under "
                "[cluster] (on Kubernetes a DaskJob holds a run: deploy/kubernetes)"
            )
        check_nameable(self.logs)
        check_cores(self.site, self.cores, self.system)

    @property
    def batch(self) -> Batch:
        """The batch system."""
        return BATCHES[self.system]

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
        megabytes, site = -(-self.bytes // 2**20), self.site
        time = self.batch.walltime(self._walltime) if self._walltime else None
        match self.system:
            case "slurm":
                asked = [
                    "--job-name=crackdask", "--nodes=1", "--ntasks=1", f"--cpus-per-task={self.cores}",
                    f"--mem={megabytes}M", time and f"--time={time}", site.queue and f"--partition={site.queue}",
                    site.account and f"--account={site.account}", f"--output={self.logs}/run-%j.log",
                    "--open-mode=append", "--requeue", f"--signal=B:TERM@{self._grace}",
                ]  # fmt: skip
            case "pbs":
                asked = [
                    "-N crackdask", f"-l select=1:ncpus={self.cores}:mem={megabytes}mb", time and f"-l walltime={time}",
                    site.queue and f"-q {site.queue}", site.account and f"-A {site.account}", "-j oe",
                    f"-o {self.logs}/", "-r y",
                ]  # fmt: skip
            case "lsf":
                asked = [
                    "-J crackdask", f"-n {self.cores}", '-R "span[hosts=1]"', f"-M {megabytes}MB",
                    time and f"-W {time}", site.queue and f"-q {site.queue}", site.account and f"-P {site.account}",
                    f"-o {self.logs}/run-%J.log", "-r", "-wa TERM", f"-wt {-(-self._grace // 60)}",
                ]  # fmt: skip
            case _:
                asked = [
                    "-N crackdask", "-S /bin/bash", time and f"-l h_rt={time}", site.queue and f"-q {site.queue}",
                    site.account and f"-P {site.account}", "-j y", f"-o {self.logs}/", "-r y", "-notify",
                ]  # fmt: skip
        return [words for words in asked if words]

    @property
    def _walltime(self) -> int | None:
        return (self.spread and self.site.run_walltime) or self.site.walltime

    @property
    def _grace(self) -> int:
        return min(_GRACE, self._walltime // 5) if self._walltime else _GRACE

    def _command(self) -> str:
        """Return the command of the job; PBS announces the end of a job too shortly before, so a clock does."""
        words = [self.site.python or sys.executable, "-m", "crackdask", "run", str(self.recipe)]
        words += ["--store", self.store, "--cluster", self.system if self.spread else "local"]
        words += ["--workers", str(self.workers), *self.words]
        if self.system == "pbs" and self._walltime:
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
        if (job := asked_for(work)) and BATCHES[job.system].is_queued(job.number):
            raise ClusterError(f"a job that makes this store is in the queue already ({job}); wait for it or cancel it")
        self.logs.parent.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)  # what a run says has the key to its dashboard
        done = subprocess.run([self.batch.submit], input=self.script(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(
                f"{self.batch.title} refused the job: {' '.join((done.stderr or done.stdout).split())}; correct queue, "
                "account, walltime, cores or memory under [cluster] (--dry-run shows the script)"
            )
        said = " ".join(done.stdout.split())
        note_job(work, Job(self.system, said, str(self.logs), datetime.now().astimezone().isoformat(" ", "seconds")))
        return said
