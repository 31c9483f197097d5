"""Batch systems, one entry each: everything that is particular to Slurm, PBS, LSF and Grid Engine.

To add a batch system whose command takes a script with directives in its comments on standard input, add an entry to
`BATCH_SYSTEMS`: the recipe and `--cluster` then know its name, `submit` writes its script, and its jobs can hold
workers if dask-jobqueue has a class for it. It lies beside the rooms because a recipe may name a batch system, and
`crackdask.cluster` does what is said here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class JobRequest:
    """What is asked of a batch system for one job that holds a run.

    Attributes
    ----------
    cores, megabytes
        Of the job, on one node.
    walltime
        Longest time of the job, in the words of the system, or None.
    grace
        Seconds before its end in which the job is told to end in order.
    queue, account
        As the recipe or the site's file names them, or None.
    logs
        Folder of what the job writes.
    """

    cores: int
    megabytes: int
    walltime: str | None
    grace: int
    queue: str | None
    account: str | None
    logs: str


def days_and_clock(seconds: int) -> str:
    """Return a walltime as Slurm reads it.

    >>> days_and_clock(93_600)
    '1-02:00:00'
    """
    days, rest = divmod(seconds, 86_400)
    return f"{days}-{clock(rest)}" if days else clock(rest)


def clock(seconds: int) -> str:
    """Return a walltime as PBS and Grid Engine read it.

    >>> clock(93_600)
    '26:00:00'
    """
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def hours_and_minutes(seconds: int) -> str:
    """Return a walltime as LSF reads it, rounded up to minutes.

    >>> hours_and_minutes(5430)
    '01:31'
    """
    hours, minutes = divmod(-(-seconds // 60), 60)
    return f"{hours:02}:{minutes:02}"


def _slurm_job(job: JobRequest) -> list[str | None]:
    return [
        "--job-name=crackdask", "--nodes=1", "--ntasks=1", f"--cpus-per-task={job.cores}",
        f"--mem={job.megabytes}M", job.walltime and f"--time={job.walltime}", job.queue and f"--partition={job.queue}",
        job.account and f"--account={job.account}", f"--output={job.logs}/run-%j.log",
        "--open-mode=append", "--requeue", f"--signal=B:TERM@{job.grace}",
    ]  # fmt: skip


def _pbs_job(job: JobRequest) -> list[str | None]:
    return [
        "-N crackdask", f"-l select=1:ncpus={job.cores}:mem={job.megabytes}mb",
        job.walltime and f"-l walltime={job.walltime}", job.queue and f"-q {job.queue}",
        job.account and f"-A {job.account}", "-j oe", f"-o {job.logs}/", "-r y",
    ]  # fmt: skip


def _lsf_job(job: JobRequest) -> list[str | None]:
    return [
        "-J crackdask", f"-n {job.cores}", '-R "span[hosts=1]"', f"-M {job.megabytes}MB",
        job.walltime and f"-W {job.walltime}", job.queue and f"-q {job.queue}", job.account and f"-P {job.account}",
        f"-o {job.logs}/run-%J.log", "-r", "-wa TERM", f"-wt {-(-job.grace // 60)}",
    ]  # fmt: skip


def _grid_engine_job(job: JobRequest) -> list[str | None]:
    return [
        "-N crackdask", "-S /bin/bash", job.walltime and f"-l h_rt={job.walltime}", job.queue and f"-q {job.queue}",
        job.account and f"-P {job.account}", "-j y", f"-o {job.logs}/", "-r y", "-notify",
    ]  # fmt: skip


def _gives_cores(cores: int, directives: Sequence[str]) -> str | None:
    return None


def _wants_parallel_environment(cores: int, directives: Sequence[str]) -> str | None:
    """Grid Engine gives several cores only in a parallel environment, whose name only its administrator knows."""
    if cores == 1 or any(line.split()[0] == "-pe" for line in directives if line.strip()):
        return None
    return (
        f"Grid Engine gives {cores} cores to a job only in a parallel environment, which each site names as it "
        f'likes (`qconf -spl` lists them): put directives = ["-pe NAME {cores}"] into the file of --cluster-config'
    )


@dataclass(frozen=True, kw_only=True)
class BatchSystem:
    """One batch system.

    Attributes
    ----------
    name, title
        What --cluster calls it, and what people call it.
    submit
        Its command that takes a script on standard input, in words.
    queue
        Its command for people to see their jobs.
    directive
        How a line of a script begins that speaks to it.
    asked
        Gives the directives of the job that holds a run; what is None is left out.
    walltime
        Gives a time in seconds as the system reads it, rounded up to what it can count.
    taken
        What it answers when it takes a job, a regular expression; its group is the job's number.
    asks
        Its command to ask for one job, without the job's number.
    over
        What it answers of a job that is over or that it does not know; "" for no answer at all.
    ended
        States, in the last column but one of its answer, of jobs that ended and stay in the list for minutes.
    announces
        Whether it tells a job early enough that its time will be up; otherwise a clock in the job does.
    complaint
        Says why it would not give some cores to a job, given the site's directives, or None.
    workers_class
        Name of dask-jobqueue's class for it, or None: then a run goes into one job, and not its workers into jobs.
    account_keyword
        What that class calls the account.
    """

    name: str
    title: str
    submit: tuple[str, ...]
    queue: str
    directive: str
    asked: Callable[[JobRequest], list[str | None]]
    walltime: Callable[[int], str]
    taken: str
    asks: tuple[str, ...]
    over: tuple[str, ...]
    ended: frozenset[str] = frozenset()
    announces: bool = True
    complaint: Callable[[int, Sequence[str]], str | None] = _gives_cores
    workers_class: str | None = None
    account_keyword: str = "project"

    def job_number(self, answer: str) -> str:
        """Return the number of a job from the answer to its submission; nothing if that is not in words known here.

        >>> BATCH_SYSTEMS["lsf"].job_number("Charged to 0042. Job <123> is submitted to queue <long>.")
        '123'
        """
        match = re.search(self.taken, answer)
        return match[1] if match else ""

    def is_over(self, answer: str) -> bool:
        """Tell from its answer whether a job is over; not where the answer is about something else.

        >>> BATCH_SYSTEMS["slurm"].is_over(""), BATCH_SYSTEMS["slurm"].is_over("PENDING")
        (True, False)
        """
        return answer.strip() in self.over or any(words and words in answer for words in self.over)

    def has_ended(self, answer: str) -> bool:
        """Tell from its answer whether a job ended and is only still in the list.

        >>> BATCH_SYSTEMS["pbs"].has_ended("7.host crackdask me 00:00:01 F long")
        True
        """
        return bool(self.ended.intersection(answer.split()[-2:-1]))


BATCH_SYSTEMS = {
    system.name: system
    for system in (
        BatchSystem(
            name="slurm", title="Slurm", submit=("sbatch",), queue="squeue --me", directive="#SBATCH",
            asked=_slurm_job, walltime=days_and_clock, taken=r"Submitted batch job (\d+)",
            asks=("squeue", "-h", "-o", "%T", "-j"), over=("", "COMPLETING", "Invalid job id"),
            workers_class="SLURMCluster", account_keyword="account",
        ),
        BatchSystem(
            name="pbs", title="PBS", submit=("qsub",), queue="qstat -u $USER", directive="#PBS",
            asked=_pbs_job, walltime=clock, taken=r"^(\d+)(?:[.\[]|$)",
            asks=("qstat",), over=("has finished", "Unknown Job"), ended=frozenset("CEFX"), announces=False,
            workers_class="PBSCluster", account_keyword="account",
        ),
        BatchSystem(
            name="lsf", title="LSF", submit=("bsub",), queue="bjobs", directive="#BSUB",
            asked=_lsf_job, walltime=hours_and_minutes, taken=r"Job <(\d+)>",
            asks=("bjobs", "-noheader", "-o", "stat"), over=("DONE", "EXIT", "is not found"),
            workers_class="LSFCluster",
        ),
        BatchSystem(
            name="sge", title="Grid Engine", submit=("qsub",), queue="qstat", directive="#$",
            asked=_grid_engine_job, walltime=clock, taken=r"Your job (\d+)",
            asks=("qstat", "-j"), over=("do not exist",), complaint=_wants_parallel_environment,
            workers_class="SGECluster",
        ),
    )
}  # fmt: skip
