"""Who does the blocks: this process, its threads, or the workers of a dask cluster, which come and go."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice
from operator import length_hint
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any, Protocol, TypeVar

from dask.utils import funcname
from distributed import Client, KilledWorker

from crackdask.engine.tasks import MOST, TaskSize, one_by_one

Job = TypeVar("Job")
Outcome = Any | BaseException
Say = Callable[[str], None]
#: Says what a dashboard calls a job, such as "transfer-saddles-1-000123": the words before its first number name the
#: group that it shows the job in.
Called = Callable[[Any], str]

#: Seconds between looks at how many workers there are.
_LOOK = 2.0
#: Seconds to wait for a result, until it is seen that nobody wants it any more.
_PAUSE = 0.2
#: Tasks that the scheduler holds for each worker, and those of them that are left when it is given others.
_AHEAD, _LEFT = 4, 2
AGAIN = "the finished blocks are kept; call the same command again to continue"


class WorkersLostError(RuntimeError):
    """A block took several workers with it, one after the other."""


class ClusterLostError(RuntimeError):
    """The cluster went away while the run was at work; the message says how to continue."""


class HaltedError(RuntimeError):
    """Another thread of the run has met an error: what this one was at is no longer wanted."""


class Executor(Protocol):
    """Runs a function over jobs, a bounded number at a time, and yields results as they come."""

    @property
    def workers(self) -> int:
        """Number of jobs that run at once."""

    @property
    def dashboard(self) -> str | None:
        """Address of the dask dashboard, if there is one."""

    @property
    def lanes(self) -> int:
        """Number of threads from which `map` may be called at once; their jobs share the workers."""

    @property
    def repeats(self) -> bool:
        """Whether a job may be done twice though it went well: by another worker, where the first was lost with it."""

    def halted(self) -> AbstractContextManager[object]:
        """Return a context in which every `map` of another thread ends with a HaltedError."""

    def map(
        self, function: Callable[[Job], Any], jobs: Iterable[Job], called: Called | None = None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""


@dataclass(frozen=True)
class Serial:
    """One job after the other in this process."""

    workers: int = 1
    dashboard: str | None = None
    lanes: int = 1
    repeats: bool = False

    def halted(self) -> AbstractContextManager[object]:
        """Return a context in which nothing happens: there are no other threads."""
        return nullcontext()

    def map(
        self, function: Callable[[Job], Any], jobs: Iterable[Job], called: Called | None = None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""
        for job in jobs:
            try:
                outcome: Outcome = function(job)
            except Exception as error:
                outcome = error
            yield job, outcome


@dataclass(frozen=True)
class Threads:
    """Jobs on threads of this process."""

    workers: int
    dashboard: str | None = None
    lanes: int = 1
    repeats: bool = False

    def halted(self) -> AbstractContextManager[object]:
        """Return a context in which nothing happens: there are no other threads."""
        return nullcontext()

    def map(
        self, function: Callable[[Job], Any], jobs: Iterable[Job], called: Called | None = None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in."""
        waiting = iter(jobs)
        running: dict[Future[Any], Job] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                for job in islice(waiting, 2 * self.workers - len(running)):
                    running[pool.submit(function, job)] = job
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.exception() or future.result()


@dataclass
class Distributed:
    """Jobs on the workers of a dask cluster, short ones together; the scheduler never holds more than a few for each.

    Attributes
    ----------
    wanted
        Workers that the run was asked to have. Blocks are cut for so many, also while some are away.
    patience
        Seconds to wait for workers when there are none.
    say
        Is told when all workers are away and when some are back.
    dashboard
        Address of the dashboard, or None.
    """

    client: Client
    wanted: int
    patience: float
    say: Say
    dashboard: str | None = None
    #: One has the workers while others add up, register or write tables; more would only take more disk.
    lanes: int = 3
    repeats: bool = True
    _halted: Event = field(default_factory=Event, init=False)
    _watching: Lock = field(default_factory=Lock, init=False)
    _present: int = field(init=False)
    _looked: float = field(init=False)
    _away_since: float | None = None
    #: Of this executor's tasks alone: others may use the same scheduler.
    _mark: str = field(default_factory=lambda: secrets.token_hex(4), init=False)
    _asked_for: Iterator[int] = field(default_factory=count, init=False)
    _begun: Iterator[int] = field(default_factory=count, init=False)
    #: By what jobs are called: those of a pass take as long in one state as in the next.
    _sizes: dict[str, TaskSize] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Begin to watch the workers."""
        self._present, self._looked = self.wanted, time.monotonic()

    @property
    def workers(self) -> int:
        """Number of workers that the run was asked to have."""
        return self.wanted

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Return a context in which every `map` ends with a HaltedError."""
        self._halted.set()
        try:
            yield
        finally:
            self._halted.clear()

    def map(
        self, function: Callable[[Job], Any], jobs: Iterable[Job], called: Called | None = None
    ) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its result or the exception it ended in.

        What was begun first comes first: so one lane reduces what its blocks left while the other has the workers.

        Raises
        ------
        ClusterLostError
            If the scheduler goes away, or all workers for longer than the patience lasts.
        HaltedError
            If it was halted by another thread.
        """
        waiting, total = iter(jobs), length_hint(jobs)
        first = list(islice(waiting, 1))
        if not first:
            return
        waiting, name = chain(first, waiting), called or (lambda job: funcname(function))
        task_size = self._sizes.setdefault(_group(name(first[0])), TaskSize())
        running: dict[Any, list[Job]] = {}
        # distributed's own `as_completed(...).batches()` waits without end for the next result: nobody would notice
        # meanwhile that the run was halted or that all workers went away. And it fetches each result by itself.
        ended: SimpleQueue[Any] = SimpleQueue()
        priority = -next(self._begun)
        while True:
            if self._halted.is_set():
                raise HaltedError
            workers = max(self.wanted, self._present)
            # Each worker gets its share at least twice, so that those of the larger blocks do not end alone.
            size = task_size.jobs(max(1, total // (2 * workers)) if total else MOST)
            room = range(_AHEAD * workers - len(running))
            now = [task for task in (list(islice(waiting, size)) for _ in room) if task]
            if now:
                keys = [self._key(name(task[0])) for task in now]
                work = partial(one_by_one, function)
                futures = self._asked(self.client.map, work, now, key=keys, pure=False, priority=priority)
                running.update(zip(futures, now, strict=True))
                for future in futures:
                    future.add_done_callback(ended.put)
            if not running:
                return
            # All that is done by now, in one message: for small blocks the messages are what costs.
            ahead = _LEFT * workers if len(now) == len(room) else 0  # so that no worker waits for what is left
            batch = _taken(ended, max(1, len(running) - ahead))
            with self._watching:
                self._watch(came=bool(batch))
            for future, outcome in zip(batch, self._outcomes(batch), strict=True):
                future.release()
                yield from task_size.parted(running.pop(future), outcome)

    def _key(self, name: str) -> str:
        """Return a key that no task had before: a block that is tried again is done again, not answered from memory."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}-{self._mark}{next(self._asked_for):06x}"

    def _outcomes(self, futures: Sequence[Any]) -> list[Outcome]:
        if futures and all(future.status == "finished" for future in futures):
            try:
                return list(self.client.gather(list(futures)))
            except Exception:  # a result was lost on its way here: each is asked for alone
                pass
        return [self._outcome(future) for future in futures]

    def _outcome(self, future: Any) -> Outcome:
        try:
            return future.result()
        except KilledWorker as error:
            return WorkersLostError(
                f"{error.allowed_failures + 1} workers died at it one after the other, most likely for want of memory: "
                "raise [compute] memory or make its block smaller"
            )
        except (CancelledError, Exception) as error:
            if self.client.status != "running" or isinstance(error, CancelledError):
                raise _scheduler_lost() from error
            return error

    def _asked(self, question: Callable[..., Any], *words: Any, **more: Any) -> Any:
        """Ask the scheduler something."""
        if self.client.status != "running":
            raise _scheduler_lost()
        try:
            return question(*words, **more)
        except (OSError, RuntimeError, CancelledError) as error:
            raise _scheduler_lost() from error

    def _watch(self, *, came: bool) -> None:
        """Look now and then how many workers there are, and give up when none came for too long."""
        now = time.monotonic()
        back = came and self._away_since is not None
        if now - self._looked < _LOOK and not back:
            return
        self._looked = now
        self._present = len(self._asked(self.client.nthreads))
        if self._present:
            if self._away_since is not None:
                self.say(f"{self._present} worker{'s are' if self._present > 1 else ' is'} back")
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
            self.say(f"no worker is left; waiting up to {spoken(self.patience)} for others")
        elif now - self._away_since > self.patience:
            raise ClusterLostError(
                f"all workers went away and none came back within {spoken(self.patience)}: see why they ended "
                f"(their logs, the queue), then go on; {AGAIN}"
            )


def _group(name: str) -> str:
    """Return the words before the first number of a task's name.

    >>> _group("transfer-saddles-1-000123")
    'transfer-saddles-'
    """
    return re.split(r"\d", name, maxsplit=1)[0]


def _taken(queue: SimpleQueue[Any], wanted: int) -> list[Any]:
    """Return what comes into a queue: so many at least, but for what takes longer than a short wait."""
    taken: list[Any] = []
    until = time.monotonic() + _PAUSE
    try:
        while True:
            left = until - time.monotonic() if len(taken) < wanted else 0.0
            taken.append(queue.get(timeout=left) if left > 0 else queue.get_nowait())
    except Empty:
        return taken


def spoken(seconds: float) -> str:
    """Return a time in words.

    >>> spoken(90), spoken(86400)
    ('90 s', '24 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:g} s"


def _scheduler_lost() -> ClusterLostError:
    return ClusterLostError(f"the scheduler went away; {AGAIN}")
