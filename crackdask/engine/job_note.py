"""The job that was last asked for to make a store, remembered beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.engine.checkpoints import Work

_NOTE = "job"


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
        """What its system calls it; nothing if it did not say so in words that are known."""
        return BATCH_SYSTEMS[self.system].job_number(self.said)

    def __str__(self) -> str:
        """Name it as its system did."""
        return f"{self.said.rstrip('.')}, {self.when}"


def note_job(work: Work, job: Job) -> None:
    """Remember a job that was taken."""
    work.note(_NOTE, asdict(job))


def asked_for(work: Work) -> Job | None:
    """Return the job that was last asked for, or None."""
    note = work.noted(_NOTE)
    if not isinstance(note, dict) or set(note) != {each.name for each in fields(Job)}:
        return None  # of another version, or written by somebody else
    if not all(isinstance(value, str) and value.isprintable() for value in note.values()):
        return None
    return Job(**note) if note["system"] in BATCH_SYSTEMS else None
