"""The job that was last asked for to make a store, remembered beside it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields

from crackdask.engine.checkpoints import Work
from crackdask.recipe.site import SYSTEMS

_NOTE = "job"
_NUMBER = {
    "slurm": r"Submitted batch job (\d+)",
    "pbs": r"^(\d+)(?:[.\[]|$)",
    "lsf": r"Job <(\d+)>",
    "sge": r"Your job (\d+)",
}


@dataclass(frozen=True)
class Job:
    """A job that holds a run.

    Attributes
    ----------
    system, said
        The batch system, and what it answered when it took the job.
    logs
        Folder of what the job writes.
    when
        Time at which it was asked for, ISO 8601.
    """

    system: str
    said: str
    logs: str
    when: str

    @property
    def number(self) -> str:
        """What its system calls it; nothing if it did not say so in words that are known.

        >>> Job("lsf", "Charged to 0042. Job <123> is submitted to queue <long>.", "", "").number
        '123'
        """
        number = re.search(_NUMBER[self.system], self.said)
        return number[1] if number else ""

    def __str__(self) -> str:
        """Name it as its system did."""
        return f"{self.said.rstrip('.')}, {self.when}"


def note_job(work: Work, job: Job) -> None:
    """Remember a job that was taken."""
    work.note(_NOTE, asdict(job))


def asked_for(work: Work) -> Job | None:
    """Return the job that was last asked for, or None."""
    noted = work.noted(_NOTE)
    if not isinstance(noted, dict) or set(noted) != {each.name for each in fields(Job)}:
        return None  # of another version, or written by somebody else
    if not all(isinstance(value, str) and value.isprintable() for value in noted.values()):
        return None
    return Job(**noted) if noted["system"] in SYSTEMS else None
