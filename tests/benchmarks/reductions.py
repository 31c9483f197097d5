"""`python -m tests.benchmarks.reductions [--edge N] [--blocks Z Y X]`: what one process does for a full field.

A full field is 8 x 10 x 10 blocks of 256^3, 13.4 Gvoxel, with about 740 000 particles. Its tallies are those of one
real block repeated (`repeated_tile`): a phantom's scans of two states, denoised, then the kernels of mask, labels,
transfer and measure. They are written as records, as a run writes them, and each reduction is done by a process of its
own, which also hands its tables to workers; the last step, which writes the tables of all states, is done for twelve
(`tracking`), and counts for one of them in time. Printed for each: seconds of CPU, and by how much the process grew
at most, together with the tables that a run holds at that moment. What workers do, who make the tables of particles,
does not count. What is compiled is compiled before, on 27 blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from crackdask.blocks.in_memory import compute
from crackdask.blocks.passes import Array, Pass
from crackdask.engine.checkpoints import Work
from crackdask.engine.table_writer import WORK_TABLES, flat, ranges
from crackdask.grid import Box, Triple
from crackdask.phantom import Phantom
from crackdask.phantom import states as states_of
from crackdask.schema import UnitKey
from crackdask.steps import labels, mask, measure, transfer
from crackdask.steps.carried_seeds import CARRIED
from crackdask.steps.denoise import DenoiseParams
from crackdask.steps.denoise import passes as denoise_passes

from . import tracking
from .moved_tallies import Unit
from .repeated_tile import Field

FULL: Triple = (8, 10, 10)
_UM = (0.325, 0.325, 0.325)
_MINI: Triple = (3, 3, 3)
CUT = "0" * 64
#: What a unit is given by one before it.
GIVEN = {"transfer-1": ("labels-0", CARRIED)}


@dataclass(frozen=True)
class Facts:
    """What the passes of a field are planned from."""

    edge: int
    counts: Triple
    particles: int
    deepest: int


@dataclass(frozen=True)
class Cost:
    """What one reduction took."""

    name: str
    seconds: float
    wall: float
    growth: int
    records: int

    def __str__(self) -> str:
        return (
            f"{self.name:<24}{self.seconds:>8.2f} s CPU{self.wall:>8.2f} s{self.growth / 2**20:>8.0f} MiB"
            f"{self.records / 2**20:>8.0f} MiB of records"
        )


def scans(edge: int) -> list[tuple[Array, Array]]:
    """Return grey levels of a block in two states, and the same denoised."""
    size = {"radius_median": 11.5, "radius_range": (5.0, 30.0)} if edge >= 128 else {}
    phantom: Any = partial(Phantom, shape=(edge,) * 3, states=states_of(2), seed=1, max_rotation_deg=0.0, max_shift=0.0)
    found = []
    for state in range(2):
        grey = np.maximum(phantom(**size).scan(state, Box.whole((edge,) * 3)), 1)
        volumes, _ = compute(denoise_passes(DenoiseParams()), {"grey": grey}, {"noise": np.array(6.0)})
        found.append((grey, volumes["denoised"]))
    return found


def _put(work: Work | None, state: int, ids: range, groups: Mapping[str, Mapping[str, Array]]) -> None:
    if work is not None:
        work.put_part(WORK_TABLES, state, ids.start, flat(groups))


def elsewhere(function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
    """Run a function over jobs in another process, as workers do."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return list(pool.map(function, jobs))


def planned(unit: str, facts: Facts, work: Work | None, apply: Any = map) -> Sequence[Pass]:
    """Return the passes of a unit for a whole field; tables of particles go to a work folder."""
    match UnitKey.parse(unit).step:
        case "mask":
            return mask.passes(mask.MaskParams())
        case "labels":
            return labels.passes(labels.LabelsParams(), _UM)
        case "transfer":
            return transfer.passes(transfer.TransferParams(), labels.LabelsParams(), _UM)
        case _:
            parts, state = ranges(facts.particles), UnitKey.parse(unit).state
            put, compared = partial(_put, work, state), state > 0
            return measure.passes_in_ranges(
                measure.MeasureParams(), _UM, facts.deepest, parts, put, apply=apply, compared=compared
            )


def on_one_tile(edge: int) -> tuple[Field, list[Unit], Facts]:
    """Run all kernels on one block, whose neighbours are itself."""
    around = Field(_MINI, edge)
    (before, first), (after, second) = scans(edge)
    facts = Facts(edge, _MINI, 0, 0)
    volumes: dict[str, Array] = {"denoised": first}
    counts = np.bincount(first.ravel(), minlength=256)
    threshold = np.array(mask.threshold_of(mask.MaskParams(), counts))
    done: list[Unit] = []

    def work(name: str, volumes: dict[str, Array], tables: dict[str, Array] | None = None) -> Unit:
        unit = Unit(name, planned(name, facts, None), tables=dict(tables or {}))
        unit.work(around, volumes)
        done.append(unit)
        return unit

    work("mask-0", volumes, {"threshold": threshold})
    reference = work("labels-0", volumes).tables
    facts = Facts(edge, _MINI, int(reference["particles"][0]), 0)
    later = {"denoised": second, "previous_label": volumes["label"], "previous_depth": volumes["depth"]}
    work("mask-1", later, {"threshold": threshold})
    carried = work("transfer-1", later, {name: reference[name] for name in CARRIED}).tables
    facts = Facts(edge, _MINI, facts.particles, max(1, int(carried["deepest"][0])))
    work("measure-1", {"grey": after, "reference_grey": before, "label": later["label"]})
    return around, done, facts


def write_records(work: Work, unit: Unit, pass_: Pass, whole: Field, tables: Mapping[str, Array]) -> int:
    """Write what a pass leaves in all blocks of a field; return the bytes."""
    records = work.records(UnitKey.parse(unit.name), pass_.name, CUT, len(whole.grid))
    records.begin()
    return sum(records.add(k, unit.tally(pass_.name, whole, tables, k), {}) for k in range(len(whole.grid)))


class Meter:
    """Measures from when it is made: seconds of CPU and of the clock, and by how many bytes the process grew."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        self._before = psutil.Process().memory_info().rss
        self.start()

    def start(self) -> None:
        """Start the clock anew; what is held by now has counted as growth."""
        self._started, self._busy = time.perf_counter(), time.process_time()

    def told(self) -> tuple[float, float, int]:
        """Return what it took."""
        took = time.process_time() - self._busy, time.perf_counter() - self._started
        status = Path("/proc/self/status").read_text()
        peak = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return *took, peak - self._before


def reduce(folder: Path, unit: str, name: str, apply: Any) -> tuple[float, float, int]:
    """Do one reduction of a field whose records lie in a folder; return what it took without what was handed on."""
    facts = Facts(**json.loads((folder / "facts.json").read_text()))
    work, whole = Work(folder), Field(facts.counts, facts.edge).grid
    passes = planned(unit, facts, work, apply)
    (pass_,) = (each for each in passes if each.name == name)
    assert pass_.reduce is not None
    later = {table for each in passes[passes.index(pass_) + 1 :] for table in each.tables}
    meter = Meter()
    known = {path.stem: np.load(path) for path in (folder / "known" / unit).glob("*.npy")}
    meter.start()
    records = work.records(UnitKey.parse(unit), name, CUT, len(whole))
    made = pass_.reduce(whole, records, {table: known[table] for table in pass_.tables})
    for table in later & set(made):
        work.put_table(UnitKey.parse(unit), table, made[table])
    took = meter.told()
    for table, values in made.items():
        np.save(folder / "known" / unit / f"{table}.npy", values)
    return took


def followed(folder: Path) -> tuple[float, float, int]:
    """Do the last step of a run whose tables of particles lie in a folder; return what it took, a state."""
    meter = Meter()
    states = tracking.track(folder)
    seconds, wall, growth = meter.told()
    return seconds / states, wall / states, growth


def begin(folder: Path, whole: Field, units: Sequence[Unit], facts: Facts) -> None:
    """Make the folder of a field, with the tables that its units are given."""
    for unit in units:
        (folder / "known" / unit.name).mkdir(parents=True)
    per_block = facts.particles // 27
    counts = whole.counts
    facts = Facts(facts.edge, counts, per_block * len(whole.grid), facts.deepest)
    (folder / "facts.json").write_text(json.dumps(asdict(facts)))


def field_costs(
    edge: int, counts: Triple, place: Path, states: int, *, alone: bool = True, keep: Path | None = None
) -> list[Cost]:
    """Return what each reduction of a field takes, `alone` in a process of its own; tables stay in a folder.

    The last step is that of an experiment of some `states`. Records go when they are reduced, unless there is a folder
    to `keep` those of the field in.
    """
    around, units, facts = on_one_tile(edge)
    folders = {place / "mini": Field(_MINI, edge), place / "whole": Field(counts, edge)}
    for folder, whole in folders.items():
        begin(folder, whole, units, facts)
    costs = []
    for unit in units:
        source, given = GIVEN.get(unit.name, ("", ()))
        for each in unit.passes:
            size = 0
            for folder, whole in folders.items():
                known = folder / "known" / unit.name
                for name in given:
                    shutil.copy(folder / "known" / source / f"{name}.npy", known)
                if (threshold := unit.tables.get("threshold")) is not None:
                    np.save(known / "threshold.npy", threshold)
                tables = {path.stem: np.load(path, mmap_mode="r") for path in known.glob("*.npy")}
                size = write_records(Work(folder), unit, each, whole, tables)
            costs.append(_cost(unit.name, each.name, list(folders), size, alone=alone))
            print(costs[-1], flush=True)
            for folder, whole in folders.items():
                unit.name_peaks(each, around, whole)
                if keep is not None and folder == place / "whole":
                    (keep / unit.name).mkdir(parents=True, exist_ok=True)
                    records = Work(folder).records(UnitKey.parse(unit.name), each.name, CUT, len(whole.grid))
                    Path(str(records.folder)).rename(keep / unit.name / each.name)
                Work(folder).drop_records(UnitKey.parse(unit.name))
    for folder in folders:
        facts = Facts(**json.loads((folder / "facts.json").read_text()))
        tracking.prepare(folder, facts.particles, 2 if folder == place / "mini" else states)
    costs.append(_cost("track-0", "track", list(folders), 0, alone=alone))
    print(costs[-1], flush=True)
    return costs


def _cost(unit: str, pass_: str, folders: Sequence[Path], size: int, *, alone: bool) -> Cost:
    words = [unit, pass_, *map(str, folders)]
    took: Sequence[float]
    if alone:
        command = [sys.executable, "-m", "tests.benchmarks.reductions", "--one", *words]
        took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    else:
        took = one(*words)
    return Cost(f"{unit} {pass_}", took[0], took[1], int(took[2]), size)


def one(unit: str, pass_: str, *folders: str, apply: Any = map) -> tuple[float, float, int]:
    """Do one reduction of each field, and return what the last one took."""
    places = map(Path, folders)
    return [followed(place) if unit == "track-0" else reduce(place, unit, pass_, apply) for place in places][-1]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--blocks", nargs=3, type=int, default=FULL)
    parser.add_argument("--states", type=int, default=12)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one, apply=elsewhere)))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        field_costs(args.edge, tuple(args.blocks), Path(place), args.states)


if __name__ == "__main__":
    main()
