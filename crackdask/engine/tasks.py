"""Short jobs are handed to a worker together, as one task: a task costs scheduler and client the same, however full.

A job that fails fails alone: the others of its task go on, and each comes back with what it ended in.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
#: Seconds that a task is to take at least, and jobs that it holds at most. One costs client, scheduler and worker 6 ms.
SECONDS, MOST = 0.3, 32


@dataclass(frozen=True)
class Jobs(Generic[Job]):
    """Jobs that are made one by one, when it is their turn; how many there will be is known before."""

    numbers: Sequence[int]
    make: Callable[[int], Job]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.numbers)

    def __iter__(self) -> Iterator[Job]:
        """Make one after the other."""
        return map(self.make, self.numbers)


@dataclass(frozen=True)
class Failed:
    """What a job ended in, on its way from a worker."""

    error: BaseException


def one_by_one(function: Callable[[Job], Any], jobs: Sequence[Job]) -> tuple[float, list[Any]]:
    """Do the jobs of a task, and return the seconds that they took with what each ended in."""
    started = time.monotonic()
    outcomes: list[Any] = []
    for job in jobs:
        try:
            outcomes.append(function(job))
        except Exception as error:
            outcomes.append(Failed(error if _travels(error) else RuntimeError(f"{type(error).__name__}: {error}")))
    return time.monotonic() - started, outcomes


def _travels(error: BaseException) -> bool:
    """Tell whether an error arrives as what it is: many that take other arguments than words do not."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


@dataclass
class TaskSize:
    """How many jobs make a task, by what those that were done took.

    >>> size = TaskSize()
    >>> size.jobs(), list(size.parted("ab", (0.14, [1, Failed(KeyError("b"))]))), size.jobs()
    (1, [('a', 1), ('b', KeyError('b'))], 4)
    """

    _seconds: float = 0.0
    _done: int = 0

    def jobs(self, most: int = MOST) -> int:
        """Return how many jobs to hand out together, at most some: one until it is known what they take."""
        if not self._done:
            return 1
        return max(1, min(most, MOST, int(SECONDS * self._done / max(self._seconds, 1e-6))))

    def parted(self, jobs: Sequence[Job], outcome: Any) -> Iterator[tuple[Job, Any]]:
        """Yield each job of a task with its result or error, and learn from how long they took.

        An error of the task as a whole, such as the loss of its worker, is one of each of its jobs.
        """
        if isinstance(outcome, BaseException):
            yield from ((job, outcome) for job in jobs)
            return
        seconds, each = outcome
        self._seconds += seconds
        self._done += len(each)
        for job, ended_in in zip(jobs, each, strict=True):
            yield job, ended_in.error if isinstance(ended_in, Failed) else ended_in
