"""`python -m tests.benchmarks.rehearsal [--workers N ...] [--states N]`: a full field on a cluster that is not there.

Scheduler, client, lanes, tasks, records and reductions are those of a run; a worker is a thread, and in the place of a
kernel, its reading and its writing stands a sleep as long as the step's declaration says that a core takes
(`seconds_per_megavoxel`). After it the block's record, made beforehand (`reductions`), is put where a worker puts it.
Registration, which one core does, is a sleep of its lane. The last step, which writes the tables, is not in it.

Printed: the time of the clock; the share of the workers' time in which they are at kernels, the rest being idle; what
client and scheduler take of a core; and how many cores' work there is at most, by Amdahl's law, if every reduction had
to wait for the kernels before it and they for it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

import numpy as np
from distributed import Client, LocalCluster

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally
from crackdask.engine import pass_runner
from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Distributed
from crackdask.engine.parallel_units import Lanes
from crackdask.engine.pass_runner import BlockJob, BlockReport, Engine
from crackdask.engine.retries import Retries
from crackdask.engine.work_units import Unit, units
from crackdask.grid import Grid, Triple
from crackdask.phantom import states as states_of
from crackdask.recipe.recipe import Recipe, check
from crackdask.steps.registry import REGISTRY
from tests.support.silence import Silent

from .reductions import CUT, FULL, GIVEN, Facts, field_costs, planned
from .repeated_tile import Field

_REDUCED = ("mask", "labels", "transfer", "measure")
_THREADS = 16  # of a process
#: Seconds of a range of particles whose tables a worker makes: all of a full field take 11 (measured).
TABLES = 0.3


@dataclass(frozen=True)
class Rehearsed:
    """How a rehearsal went: `kernels` and `reductions` in seconds, `own` those of client and scheduler on a core."""

    workers: int
    states: int
    wall: float
    kernels: float
    reductions: float
    own: float
    blocks: int

    @property
    def share(self) -> float:
        """The part of the workers' time in which they are at kernels."""
        return self.kernels / self.workers / self.wall

    def __str__(self) -> str:
        most = (self.kernels + self.reductions) / self.reductions
        return (
            f"{self.workers} workers, {self.states} states: {self.wall:.0f} s, {self.share:.1%} of it kernels, "
            f"{1 - self.share:.1%} idle; client and scheduler {self.own / self.wall:.0%} of a core "
            f"({1000 * self.own / self.blocks:.2f} ms a block); reductions {self.reductions:.0f} s; "
            f"by Amdahl's law at most {most:.0f} cores' work"
        )


def nothing(block: Block) -> Result:
    """Stand for a kernel that a worker replaces by a sleep."""
    raise AssertionError("a kernel was called")


def doze(seconds: float, job: Any) -> None:
    """Stand for the work on a job."""
    time.sleep(seconds)


def rehearse(seconds: Mapping[str, float], kept: Path, job: BlockJob) -> BlockReport:
    """Sleep for a block, then put its record where a worker does."""
    place = Path(str(job.records.folder))
    step, _, state = place.parent.name.rpartition("-")
    if (place / f"{job.number:06d}").is_file():  # its worker was lost after it had recorded it
        return BlockReport(job.number, 0.0, 0, 0, 0)
    time.sleep(seconds[step])
    # All later states have the records of one of them, and where particles are measured the reference has too.
    made = kept / f"{step}-{1 if step == 'measure' else min(int(state), 1)}" / job.pass_.name / f"{job.number:06d}"
    if made.is_file():
        os.link(made, place / f"{job.number:06d}")
    else:
        job.records.add(job.number, {}, {})
    return BlockReport(job.number, seconds[step], 0, 0, 0)


@dataclass
class _Steps:
    """Does units as a run does them, but for what is replaced."""

    engine: Engine
    whole: Grid
    facts: Facts
    known: Path
    speed: float
    reductions: float = 0.0
    busy: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def perform(self, unit: Unit) -> dict[str, Array]:
        """Do one unit."""
        step = REGISTRY[unit.step]
        time.sleep(step.seconds_per_state * (unit.state > 0) / self.speed)
        if step.seconds_per_megavoxel:
            given = {path.stem: np.load(path) for path in self._given(unit)}
            self.engine.run(unit.key, CUT, self.passes(unit), self.whole, {}, {}, given)
            self.engine.work.drop_records(unit.key)
        return {}

    def _given(self, unit: Unit) -> Sequence[Path]:
        name = f"{unit.step}-{min(unit.state, 1)}"
        known = ("threshold",) if unit.step == "mask" else GIVEN.get(name, ("", ()))[1]
        return [self.known / name / f"{table}.npy" for table in known]

    def passes(self, unit: Unit) -> list[Pass]:
        """Return the passes of a unit, without kernels."""
        if unit.step not in _REDUCED:
            return [Pass(name=unit.step, kernel=nothing, reads={})]
        found = planned(unit.name, self.facts, self.engine.work, partial(self._tables, unit))
        return [replace(p, kernel=nothing, reads={}, writes={}, reduce=self._timed(p.reduce)) for p in found]

    def _tables(self, unit: Unit, function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
        """Stand for workers that make the tables of particles."""
        return self.engine.in_order(unit.key, "tables", partial(doze, TABLES * len(jobs[0].ranges) / self.speed), jobs)

    def _timed(self, reduce: Callable[[Grid, Sequence[Tally], Tables], Tables] | None) -> Any:
        def timed(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
            assert reduce is not None
            started, busy = time.perf_counter(), time.thread_time()
            made = reduce(grid, tallies, tables)
            with self._lock:
                self.reductions += time.perf_counter() - started
                self.busy += time.thread_time() - busy
            return made

        return timed


def _recipe(count: int) -> Recipe:
    told = [
        {"name": s.name, "voltage": s.voltage, "step": s.step, "cycle": s.cycle, "source": f"{k}"}
        for k, s in enumerate(states_of(count))
    ]
    return check({"experiment": {"name": "rehearsal", "voxel_um": 0.325}, "states": told})


def rehearsed(place: Path, workers: int, states: int, speed: float = 1.0) -> Rehearsed:
    """Rehearse a run of some states of the field whose tables and records lie in a folder.

    With a `speed` above 1 kernels are that much faster than they are, and what is not kernels counts as much more.
    """
    facts = Facts(**json.loads((place / "whole" / "facts.json").read_text()))
    voxels, recipe = facts.edge**3, _recipe(states)
    seconds = {
        name: step.seconds_per_megavoxel * voxels / 1e6 / (4 if name in ("mask", "labels", "transfer") else 2) / speed
        for name, step in REGISTRY.items()
        if name in _REDUCED
    }
    seconds |= {n: s.seconds_per_megavoxel * voxels / 1e6 / speed for n, s in REGISTRY.items() if n not in _REDUCED}
    processes = -(-workers // _THREADS)
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        LocalCluster(
            n_workers=processes,
            threads_per_worker=workers // processes,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
        mock.patch.object(pass_runner, "run_block", partial(rehearse, seconds, place / "kept")),
    ):
        executor = Distributed(client, workers, 60.0, print)
        engine = Engine(Work(Path(folder)), executor, Silent(), Retries(0))
        grid = Field(facts.counts, facts.edge).grid
        steps = _Steps(engine, grid, facts, place / "whole" / "known", speed)
        started, busy = time.perf_counter(), time.process_time()
        left = list(units(recipe))
        with Lanes(executor, steps.perform) as lanes:
            lanes.fill(left)
            while left:
                unit, ended, _ = lanes.ended()
                ended.result()
                left.remove(unit)
                lanes.fill(left)
        wall, own = time.perf_counter() - started, time.process_time() - busy - steps.busy
        kernels = sum(report.seconds for _, _, report in engine.reports)
        return Rehearsed(workers, states, wall, kernels, steps.reductions, own, len(engine.reports))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--states", type=int, default=12)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--blocks", nargs=3, type=int, default=FULL)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where records are kept for the next rehearsal")
    args = parser.parse_args()
    counts: Triple = tuple(args.blocks)
    with tempfile.TemporaryDirectory() as made:
        place = args.folder or Path(made)
        if not (place / "kept").exists():
            field_costs(args.edge, counts, place, 2, keep=place / "kept")
        for workers in args.workers:
            print(rehearsed(place, workers, args.states, args.speed), flush=True)


if __name__ == "__main__":
    main()
