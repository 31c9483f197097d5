"""The run's engine: passes, block by block, from files to files.

A task is one block. It reads its own windows from the disk, computes, writes only whole chunks that it owns, and
records itself as done with its tally. No voxel and no table travels between workers, and the scheduler sees a bounded
number of small tasks. Whatever is killed, the records tell what is left to do.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crackdask.blocks.passes import Array, Pass, Reach, Tables, reach
from crackdask.engine.checkpoints import Records, Work
from crackdask.engine.executors import Executor, WorkersLostError
from crackdask.grid import Box, Grid, Halo
from crackdask.storage.locations import Place, UnreachableError, mapped
from crackdask.store.volumes import Volume

#: What the machine says when no second try can help: no room, no permission.
HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


class Readable(Protocol):
    """Anything with voxels: a volume on disk or a source scan."""

    def read(self, box: Box) -> Array:
        """Return the voxels of a box."""


class Progress(Protocol):
    """Is told how the work goes on."""

    def begin(self, unit: str, step: str, done: int, blocks: int) -> None:
        """Say that a pass begins, of which some blocks may be done."""

    def advance(self, unit: str, report: Report) -> None:
        """Say that a block is done."""

    def failed(self, unit: str, step: str, number: int, error: BaseException, again: bool) -> None:
        """Say that a block failed, and whether it is tried again."""

    def end(self, unit: str, seconds: float) -> None:
        """Say that a unit is done."""

    def leave(self, unit: str) -> None:
        """Say that a unit is left undone, for some of its blocks failed."""

    def warn(self, unit: str, words: str) -> None:
        """Say what the user should know of a unit's result."""


@dataclass(frozen=True)
class Report:
    """What one block cost."""

    number: int
    seconds: float
    bytes_read: int
    bytes_written: int
    peak_bytes: int


@dataclass(frozen=True)
class Failure:
    """A block that was set aside after its last try."""

    unit: str
    step: str
    number: int
    box: Box
    error: str


class BlocksFailedError(RuntimeError):
    """Some blocks failed for good; everything else of their pass is done and kept."""

    def __init__(self, failures: Sequence[Failure], cause: BaseException) -> None:
        super().__init__(f"{len(failures)} blocks failed")
        self.failures = tuple(failures)
        self.cause = cause


@dataclass
class StoredBlock:
    """A block that reads its own windows from the disk."""

    grid: Grid
    number: int
    reads: Mapping[str, Reach]
    inputs: Mapping[str, Readable]
    tables: Place
    bytes_read: int = 0

    def read(self, volume: str, halo: Halo = 0) -> Array:
        """Return a volume's voxels of this block and a halo, clipped at the image edge."""
        where = self.reads[volume]
        own = self.grid.box(self.number)
        box = reach(where if callable(where) else 0, own, self.grid.shape)
        if not callable(where):
            box = own.grow(halo, within=self.grid.shape)
        voxels = self.inputs[volume].read(box)
        self.bytes_read += voxels.nbytes
        return voxels

    def table(self, name: str) -> Array:
        """Map a table from the work folder, without loading all of it."""
        found = mapped(self.tables / f"{name}.npy")
        return found if found.ndim else np.asarray(found)


@dataclass(frozen=True)
class Job:
    """One block of one pass: everything a worker has to know."""

    step: Pass
    grid: Grid
    number: int
    inputs: Mapping[str, Readable]
    outputs: Mapping[str, Volume]
    tables: Place
    records: Records


class RunOverError(RuntimeError):
    """A block came to its end when nobody wanted it any more; nothing of it was written."""


def run_block(job: Job) -> Report:
    """Do one block: read, compute, write, flush, record.

    Raises
    ------
    RunOverError
        If the run that asked for it ended, and another one did its unit or began it with another recipe.
    """
    started = time.perf_counter()
    if job.records.has(job.number):  # its worker was lost after it had recorded it, and before it could tell
        return Report(job.number, 0.0, 0, 0, peak_bytes())
    block = StoredBlock(job.grid, job.number, job.step.reads, job.inputs, job.tables)
    result = job.step.kernel(block)
    box = job.grid.box(job.number)
    if not job.records.is_open():
        raise RunOverError(f"block {job.number} of {job.step.name} is no longer wanted")
    written = 0
    for name in job.step.writes:
        written += job.outputs[name].write(box, result.volumes[name])
    written += job.records.add(job.number, result.tally)
    return Report(
        job.number,
        time.perf_counter() - started,
        block.bytes_read,
        written,
        peak_bytes(),
    )


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        try:
            import resource
        except ImportError:  # on Windows, which has neither
            return 0
        # Bytes on macOS. (On Linux kilobytes, and those of the process that started this one would count.)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


@dataclass
class Engine:
    """Runs the passes of one unit after the other on an executor."""

    work: Work
    executor: Executor
    progress: Progress
    retries: int
    #: Errors that no second try can mend: they stop the run at once.
    fatal: tuple[type[BaseException], ...]
    reports: list[tuple[str, str, Report]] = field(default_factory=list)

    def run(
        self,
        unit: str,
        fingerprint: str,
        passes: Sequence[Pass],
        grid: Grid,
        inputs: Mapping[str, Readable],
        outputs: Mapping[str, Volume],
        tables: Tables,
    ) -> dict[str, Array]:
        """Run passes to their end and return all tables, given and made.

        Raises
        ------
        BlocksFailedError
            If blocks of a pass fail for good; the passes after it cannot run.
        """
        self.work.keep_records(unit, _key(fingerprint, grid, outputs))
        known = dict(tables)
        at_hand: dict[str, Readable] = {**inputs}
        written: dict[str, Array] = {}
        for step in passes:
            for name in step.tables:
                if written.get(name) is not known[name]:
                    self.work.put_table(unit, name, known[name])
                    written[name] = known[name]
            records = self.records(unit, step.name, fingerprint, grid, outputs)
            template = Job(step, grid, 0, at_hand, outputs, self.work.tables(unit), records)
            self._blocks(unit, template)
            at_hand = at_hand | {name: outputs[name] for name in step.writes}
            if step.reduce is not None:
                known.update(step.reduce(grid, records, {name: known[name] for name in step.tables}))
        return known

    def records(self, unit: str, step: str, fingerprint: str, grid: Grid, outputs: Mapping[str, Volume]) -> Records:
        """Return the records of one pass of a unit."""
        return self.work.records(unit, step, _key(fingerprint, grid, outputs), len(grid))

    def in_order(self, unit: str, step: str, function: Callable[[Box], Any], boxes: Sequence[Box]) -> list[Any]:
        """Run a function over boxes on the workers and return its results in the boxes' order.

        Raises
        ------
        BlocksFailedError
            If it fails for good somewhere.
        """
        found: dict[int, Any] = {}

        def sweep(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
            at = {boxes[n]: n for n in numbers}
            called = partial(_task_name, unit, step)
            for box, outcome in self.executor.map(function, [boxes[n] for n in numbers], lambda box: called(at[box])):
                yield at[box], outcome

        self._retried(unit, step, boxes, range(len(boxes)), sweep, found.__setitem__)
        return [found[n] for n in range(len(boxes))]

    def _blocks(self, unit: str, job: Job) -> None:
        missing = job.records.missing()
        self.progress.begin(unit, job.step.name, len(job.grid) - len(missing), len(job.grid))
        if missing:
            job.records.begin()

        def note(number: int, report: Report) -> None:
            self.reports.append((unit, job.step.name, report))
            self.progress.advance(unit, report)

        self._retried(
            unit, job.step.name, [job.grid.box(n) for n in missing], missing, partial(self._sweep, unit, job), note
        )

    def _retried(
        self,
        unit: str,
        step: str,
        boxes: Sequence[Box],
        numbers: Sequence[int],
        sweep: Callable[[Sequence[int]], Iterable[tuple[int, Any]]],
        keep: Callable[[int, Any], None],
    ) -> None:
        """Sweep over blocks until all are done; those that fail are tried again a few times.

        What took several workers with it was tried by each of them, or only waited there beside such a block: it is
        tried once more, with nothing of its pass beside it.
        """
        at = dict(zip(numbers, boxes, strict=True))
        aside: dict[int, BaseException] = {}
        groups: list[list[int]] = [list(numbers)]
        alone: set[int] = set()
        for attempt in range(self.retries + 1):
            failed: list[int] = []
            suspects: list[int] = []
            for number, outcome in chain.from_iterable(map(sweep, groups)):
                if isinstance(outcome, self.fatal) or _is_hopeless(outcome):
                    raise outcome
                if not isinstance(outcome, BaseException):
                    keep(number, outcome)
                    continue
                lost = isinstance(outcome, WorkersLostError)
                again = attempt < self.retries and not (lost and number in alone)
                self.progress.failed(unit, step, number, outcome, again)
                if again:
                    (suspects if lost else failed).append(number)
                else:
                    aside[number] = outcome
            alone.update(suspects)
            groups = [group for group in (sorted(failed), *([number] for number in sorted(suspects))) if group]
            if not groups:
                break
        if aside:
            raise BlocksFailedError(
                [
                    Failure(unit, step, number, at[number], f"{type(error).__name__}: {error}")
                    for number, error in sorted(aside.items())
                ],
                next(iter(aside.values())),
            )

    def _sweep(self, unit: str, job: Job, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        jobs = (Job(job.step, job.grid, n, job.inputs, job.outputs, job.tables, job.records) for n in numbers)
        called = partial(_task_name, unit, job.step.name)
        for done, outcome in self.executor.map(run_block, jobs, lambda each: called(each.number)):
            yield done.number, outcome


def _task_name(unit: str, step: str, number: int) -> str:
    """Return what a dashboard calls a block: the unit's step and the pass, then the state and the block's number.

    >>> _task_name("transfer-1", "saddles", 123), _task_name("denoise-0", "denoise", 7)
    ('transfer-saddles-1-000123', 'denoise-0-000007')
    """
    name, _, state = unit.partition("-")
    words = [name, step.replace("_", "-") if step != name else "", state, f"{number:06}"]
    return "-".join(word for word in words if word)


def _is_hopeless(error: object) -> bool:
    if isinstance(error, UnreachableError):
        return True  # every request was tried again for a minute
    return isinstance(error, OSError) and error.errno in HOPELESS


def _key(fingerprint: str, grid: Grid, outputs: Mapping[str, Volume]) -> str:
    """Return the key of a unit's records: what decides the result, how it is cut, and where the voxels went.

    A volume that was removed and made again is another one: what was written to the first is not in it.
    """
    places = sorted((name, "/".join(Path(volume.path).parts[-2:]), volume.made) for name, volume in outputs.items())
    facts = json.dumps([fingerprint, grid.shape, grid.block, places])
    return hashlib.sha256(facts.encode()).hexdigest()
