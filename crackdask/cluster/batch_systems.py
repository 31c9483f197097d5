"""What is particular to each batch system: its words for a walltime, and how it says that a job is over."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from crackdask.cluster.errors import ClusterError
from crackdask.recipe.site import SYSTEMS, Site


@dataclass(frozen=True)
class Batch:
    """One batch system.

    Attributes
    ----------
    name
        What --cluster calls it.
    submit, queue
        Its commands: to submit a script, and for people to see their jobs.
    directive
        How a line of the script begins that speaks to it.
    asks
        Its command to ask for one job, without the job's number.
    over
        What it answers of a job that is over or that it does not know; "" for no answer at all.
    """

    name: str
    submit: str
    queue: str
    directive: str
    asks: tuple[str, ...]
    over: tuple[str, ...]

    @property
    def title(self) -> str:
        """What people call it."""
        return SYSTEMS[self.name]

    def is_over(self, said: str) -> bool:
        """Tell from the answer whether a job is over; not where the answer is about something else.

        >>> BATCHES["slurm"].is_over(""), BATCHES["slurm"].is_over("PENDING")
        (True, False)
        """
        return said.strip() in self.over or any(words and words in said for words in self.over)

    def is_queued(self, job: str) -> bool:
        """Ask the system whether a job waits or runs; no where it cannot be asked, or the job has no number."""
        if not job:
            return False
        try:
            said = subprocess.run([*self.asks, job], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if said.returncode or self.is_over(said.stdout + said.stderr):
            return False
        # The state is the last column but one; what ended stays in the list for minutes.
        return self.name != "pbs" or said.stdout.split()[-2:-1] not in (["C"], ["E"], ["F"], ["X"])

    def walltime(self, seconds: int) -> str:
        """Return a time as the system reads it, rounded up to what it can count.

        >>> BATCHES["slurm"].walltime(93_600), BATCHES["lsf"].walltime(5430), BATCHES["pbs"].walltime(93_600)
        ('1-02:00:00', '01:31', '26:00:00')
        """
        if self.name == "lsf":
            hours, minutes = divmod(-(-seconds // 60), 60)
            return f"{hours:02}:{minutes:02}"
        hours, rest = divmod(seconds, 3600)
        days = 0
        if self.name == "slurm":
            days, hours = divmod(hours, 24)
        clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
        return f"{days}-{clock}" if days else clock


_OVER_IN_SLURM = ("", "COMPLETING", "Invalid job id")
BATCHES = {
    batch.name: batch
    for batch in (
        Batch("slurm", "sbatch", "squeue --me", "#SBATCH", ("squeue", "-h", "-o", "%T", "-j"), _OVER_IN_SLURM),
        Batch("pbs", "qsub", "qstat -u $USER", "#PBS", ("qstat",), ("has finished", "Unknown Job")),
        Batch("lsf", "bsub", "bjobs", "#BSUB", ("bjobs", "-noheader", "-o", "stat"), ("DONE", "EXIT", "is not found")),
        Batch("sge", "qsub", "qstat", "#$", ("qstat", "-j"), ("do not exist",)),
    )
}


def check_there(batch: Batch) -> None:
    """Refuse a system whose commands are not here.

    Raises
    ------
    ClusterError
        If they are not.
    """
    if shutil.which(batch.submit) is None:
        raise ClusterError(
            f"there is no `{batch.submit}` here: call this where jobs of {batch.title} are submitted, "
            "or use --cluster local (`crackdask submit --dry-run` shows a job's script anywhere)"
        )


def check_nameable(folder: Path) -> None:
    """Refuse a folder that no job script can name, for batch systems know no quotes.

    Raises
    ------
    ClusterError
        If it holds spaces or special characters.
    """
    if "%" in str(folder) or shlex.quote(str(folder)) != str(folder):
        raise ClusterError(
            f"scripts of jobs cannot name the folder {str(folder)!r}: put the store where the path has no spaces and "
            "special characters, or give another `folder` in the file of --cluster-config"
        )


def check_cores(site: Site, cores: int, system: str) -> None:
    """Refuse what a system cannot be asked for without a word of its administrator's.

    Raises
    ------
    ClusterError
        If Grid Engine is asked for several cores without a parallel environment.
    """
    if system == "sge" and cores > 1 and not any(line.split()[0] == "-pe" for line in site.directives if line.strip()):
        raise ClusterError(
            f"Grid Engine gives {cores} cores to a job only in a parallel environment, which each site names as it "
            f'likes (`qconf -spl` lists them): put directives = ["-pe NAME {cores}"] into the file of --cluster-config'
        )
