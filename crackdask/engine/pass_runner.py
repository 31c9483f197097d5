"""The run's engine: passes, block by block, from files to files.

A task is one block. It reads its own windows from the disk, computes, writes only whole chunks that it owns, and
records itself as done with its tally. No voxel and no table travels between workers, and the scheduler sees a bounded
number of small tasks. Whatever is killed, the records tell what is left to do.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crackdask.blocks.passes import Array, Pass, Reach, Tables, reach
from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Executor
from crackdask.engine.process_costs import peak_bytes, waited_seconds
from crackdask.engine.progress import BlockReport, Progress
from crackdask.engine.records import Records
from crackdask.engine.retries import Retries, Sweep
from crackdask.engine.tasks import Jobs
from crackdask.grid import Box, Grid, Halo
from crackdask.schema import UnitKey
from crackdask.storage.locations import Place, mapped
from crackdask.store.volumes import Volume


class Readable(Protocol):
    """Anything with voxels: a volume on disk or a source scan."""

    def read(self, box: Box) -> Array:
        """Return the voxels of a box."""


@dataclass(frozen=True)
class Failure:
    """A block that was set aside after its last try."""

    unit: UnitKey
    pass_: str
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
    tables: Mapping[str, Place]
    bytes_read: int = 0

    def read(self, volume: str, halo: Halo = 0) -> Array:
        """Return a volume's voxels of this block and a halo, clipped at the image edge."""
        where, own = self.reads[volume], self.grid.box(self.number)
        around = isinstance(where, int)
        return self.read_box(
            volume, own.grow(halo, within=self.grid.shape) if around else reach(where, own, self.grid.shape)
        )

    def read_box(self, volume: str, box: Box) -> Array:
        """Return a volume's voxels of a box."""
        voxels = self.inputs[volume].read(box)
        self.bytes_read += voxels.nbytes
        return voxels

    def table(self, name: str) -> Array:
        """Map a table from the work folder, without loading all of it."""
        table = mapped(self.tables[name])
        return table if table.ndim else np.asarray(table)


@dataclass(frozen=True)
class BlockJob:
    """One block of one pass: everything a worker has to know."""

    pass_: Pass
    grid: Grid
    number: int
    inputs: Mapping[str, Readable]
    outputs: Mapping[str, Volume]
    tables: Mapping[str, Place]
    records: Records
    repeated: bool = False  #: whether another worker may have done it since it was asked for


class RunOverError(RuntimeError):
    """A block came to its end when nobody wanted it any more; nothing of it was written."""


def run_block(job: BlockJob) -> BlockReport:
    """Do one block: read, compute, write, flush, record.

    Raises
    ------
    RunOverError
        If the run that asked for it ended, and another one did its unit or began it with another recipe.
    """
    started, waited = time.perf_counter(), waited_seconds()
    # Its worker may have been lost after it had recorded it, and before it could tell.
    if job.repeated and job.records.has(job.number):
        return BlockReport(job.number, 0.0, 0, 0, peak_bytes())
    block = StoredBlock(job.grid, job.number, job.pass_.reads, job.inputs, job.tables)
    result = job.pass_.kernel(block)
    box = job.grid.box(job.number)
    if not job.records.is_open():
        raise RunOverError(f"block {job.number} of {job.pass_.name} is no longer wanted")
    wrote = {name: job.outputs[name].write(box, result.volumes[name]) for name in job.pass_.writes}
    written = sum(each.bytes for each in wrote.values())
    sealed = {name: each.seals for name, each in wrote.items() if each.seals is not None}
    written += job.records.add(job.number, result.tally, sealed)
    return BlockReport(
        job.number,
        time.perf_counter() - started,
        block.bytes_read,
        written,
        peak_bytes(),
        waited_seconds() - waited,
    )


@dataclass
class Engine:
    """Runs the passes of one unit after the other on an executor."""

    work: Work
    executor: Executor
    progress: Progress
    retries: Retries
    reports: list[tuple[UnitKey, str, BlockReport]] = field(default_factory=list)
    #: Units that have records of blocks; None where that is not known.
    recorded: set[UnitKey] | None = None

    def run(
        self,
        unit: UnitKey,
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
        cut = _key(fingerprint, grid, outputs)
        begun = self.work.keep_records(unit, cut) if self.recorded is None or unit in self.recorded else set()
        if self.recorded is not None:
            self.recorded.add(unit)
        known = dict(tables)
        at_hand: dict[str, Readable] = {**inputs}
        put: dict[str, tuple[Array, Place]] = {}
        wrote: dict[str, Records] = {}
        for each in passes:
            for name in each.tables:
                if name not in put or put[name][0] is not known[name]:
                    put[name] = known[name], self.work.put_table(unit, name, known[name])
            own = each.grid or grid
            records = self.work.records(unit, each.name, cut, len(own))
            looked_up = {name: where for name, (_, where) in put.items()}
            template = BlockJob(each, own, 0, at_hand, outputs, looked_up, records, self.executor.repeats)
            self._blocks(unit, template, records.missing() if records.folder.name in begun else range(len(own)))
            at_hand = at_hand | {name: outputs[name] for name in each.writes}
            wrote.update(dict.fromkeys(each.writes, records))
            if each.reduce is not None:
                known.update(each.reduce(own, records, {name: known[name] for name in each.tables}))
        for records in dict.fromkeys(wrote.values()):
            written = (name for name in wrote if wrote[name] == records and outputs[name].is_stored)
            for name, parts in records.seals(written).items():
                outputs[name].seal(parts)
        return known

    def in_order(self, unit: UnitKey, pass_: str, function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
        """Run a function over jobs on the workers and return its results in the jobs' order.

        A job is a box, or what has one as `box`. It is asked for when it is its turn, and need not be kept.

        Raises
        ------
        BlocksFailedError
            If it fails for good somewhere.
        """
        results: dict[int, Any] = {}

        at: dict[int, int] = {}

        def asked(number: int) -> Any:
            job = jobs[number]
            at[id(job)] = number  # until it comes back, so no other has its id
            return job

        def sweep(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
            called = partial(_task_name, unit, pass_)
            for job, outcome in self.executor.map(function, Jobs(numbers, asked), lambda job: called(at[id(job)])):
                yield at[id(job)], outcome

        def box_of(number: int) -> Box:
            job = jobs[number]
            return job if isinstance(job, Box) else job.box

        self._retried(unit, pass_, box_of, range(len(jobs)), sweep, results.__setitem__)
        return [results[n] for n in range(len(jobs))]

    def _blocks(self, unit: UnitKey, job: BlockJob, missing: Sequence[int]) -> None:
        self.progress.begin(unit, job.pass_.name, len(job.grid) - len(missing), len(job.grid))
        if missing:
            job.records.begin()

        def note(number: int, report: BlockReport) -> None:
            self.reports.append((unit, job.pass_.name, report))
            self.progress.advance(unit, report)

        self._retried(unit, job.pass_.name, job.grid.box, missing, partial(self._sweep, unit, job), note)

    def _retried(
        self,
        unit: UnitKey,
        pass_: str,
        box_of: Callable[[int], Box],
        numbers: Sequence[int],
        sweep: Sweep,
        keep: Callable[[int, Any], None],
    ) -> None:
        """Sweep over blocks until all are done, or set aside."""

        def failed(number: int, error: BaseException, again: bool) -> None:
            self.progress.failed(unit, pass_, number, error, again)

        aside = self.retries.sweep(numbers, sweep, keep, failed)
        if aside:
            raise BlocksFailedError(
                [
                    Failure(unit, pass_, number, box_of(number), f"{type(error).__name__}: {error}")
                    for number, error in sorted(aside.items())
                ],
                next(iter(aside.values())),
            )

    def _sweep(self, unit: UnitKey, job: BlockJob, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        jobs = Jobs(numbers, lambda n: replace(job, pass_=job.pass_.task(job.grid.box(n)), number=n))
        called = partial(_task_name, unit, job.pass_.name)
        for done, outcome in self.executor.map(run_block, jobs, lambda each: called(each.number)):
            yield done.number, outcome


def _task_name(unit: UnitKey, pass_: str, number: int) -> str:
    """Return what a dashboard calls a block: the unit's step and the pass, then the state and the block's number.

    >>> _task_name(UnitKey("transfer", 1), "saddles", 123), _task_name(UnitKey("denoise", 0), "denoise", 7)
    ('transfer-saddles-1-000123', 'denoise-0-000007')
    """
    words = [unit.step, pass_.replace("_", "-") if pass_ != unit.step else "", str(unit.state), f"{number:06}"]
    return "-".join(word for word in words if word)


def _key(fingerprint: str, grid: Grid, outputs: Mapping[str, Volume]) -> str:
    """Return the key of a unit's records: what decides the result, how it is cut, and where the voxels went.

    A volume that was removed and made again is another one: what was written to the first is not in it.
    """
    places = sorted((name, "/".join(Path(volume.path).parts[-2:]), volume.made) for name, volume in outputs.items())
    facts = json.dumps([fingerprint, grid.shape, grid.block, places])
    return hashlib.sha256(facts.encode()).hexdigest()
