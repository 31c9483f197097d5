"""The whole way, in order: from the scans of a recipe to the tables of a store.

How each step is done is in `crackdask.engine.step_runners`. The run is handed an executor and never makes one; it may
be killed at any moment and called again.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crackdask import schema
from crackdask.blocks.passes import Array
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import Bench
from crackdask.engine.parallel_units import Lanes
from crackdask.engine.pass_runner import BlocksFailedError, Failure
from crackdask.engine.profile import Cost
from crackdask.engine.step_runners import PERFORM
from crackdask.engine.table_writer import missing, spoilt
from crackdask.engine.work_units import (
    INTERNAL,
    KEPT_ON_REQUEST,
    Unit,
    VolumeKey,
    dependent,
    outstanding,
    stored_volumes,
    units,
)
from crackdask.grid import Triple, check_single_writer
from crackdask.recipe.recipe import Recipe
from crackdask.storage.locations import names
from crackdask.store import root
from crackdask.store.arrays import Compression, VolumeLayout
from crackdask.store.create import add_volumes, create
from crackdask.store.root import StoreError
from crackdask.store.volumes import DamagedError

#: Libraries whose versions a store remembers.
_LIBRARIES = ("numpy", "dask", "distributed", "zarr", "xarray", "scikit-image", "SimpleITK", "numba", "scipy")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what was done, what was there already, what failed, and what that keeps from being done."""

    done: tuple[str, ...]
    skipped: int
    failures: tuple[Failure, ...]
    blocked: tuple[str, ...]
    cause: BaseException | None = None


@dataclass
class Run(Bench):
    """One run of a recipe into a store."""

    _fitting: set[str] = field(default_factory=set, init=False)

    def __call__(self, until: str | None = None) -> Outcome:
        """Do what is not done, up to and including a step."""
        self._check_place()
        with self.work.held(partial(self.progress.warn, "lock")):
            self._open_store()
            self.work.note("planned", self.scans.fingerprints)
            todo = self.outstanding(until)
            plan = [unit for unit in units(self.recipe) if until is None or _upto(unit, until)]
            self._clean({unit.name for unit in todo})  # a run that was killed may not have come to it
            if not todo:
                if until is None and not root.attributes(self.path).get("complete"):
                    self._mark(complete=True)
                return Outcome((), len(plan), (), ())
            self._mark(complete=False)
            self.work.note("failed", [])
            outcome = self._perform_mending(todo, len(plan) - len(todo), until)
            if not outcome.failures and until is None:
                self._mark(complete=True)
            return outcome

    def outstanding(self, until: str | None = None) -> list[Unit]:
        """Return the units that are to be done."""
        plan = units(self.recipe)
        if self._says_complete(plan):
            return []
        lying = set(self.work.volumes())
        done = {u.name for u in plan if self._is_done(u)} - spoilt(self.path, self.recipe)
        there = {
            key
            for u in plan
            for key in u.writes
            if (u.name in done and self.is_stored(key[0]) and key[0] in self.result(u.name)["stored"])
            or self.work.volume(*key).name in lying
        }
        kept = {key for u in plan for key in u.writes if key[0] in KEPT_ON_REQUEST and self.is_stored(key[0])}
        return outstanding(plan, done, there, until, kept)

    def _says_complete(self, plan: Sequence[Unit]) -> bool:
        """Tell whether the store alone vouches for every unit: its work folder may have been deleted."""
        facts = root.attributes(self.path)
        steps = facts.get("steps", {})
        return (
            bool(facts.get("complete"))
            and not self.work.has_results()
            and not self.recipe.compute.keep_intermediate
            and not spoilt(self.path, self.recipe)
            and all(steps.get(u.name, {}).get("fingerprint") == self.scans.fingerprints[u.name] for u in plan)
        )

    def _perform_mending(self, todo: Sequence[Unit], skipped: int, until: str | None) -> Outcome:
        """Do units; where the disk damaged what one of them wrote, that one is done again, once."""
        done: list[str] = []
        mended: set[str] = set()
        while True:
            try:
                return self._perform(todo, skipped, done)
            except DamagedError as error:
                maker = next(u for u in units(self.recipe) if (error.name, error.state) in _made_by(u))
                if maker.name in mended:
                    raise
                mended.add(maker.name)
                self.progress.warn(maker.name, f"{error.found}; it is made anew")
                self._fitting.discard(maker.name)
                self.work.forget(maker.name)
                self.work.drop_records(maker.name)
                if not self.is_stored(error.name):
                    self.work.drop_volume(error.name, error.state)
                todo = self.outstanding(until)
                again = {unit.name for unit in todo}
                done = [name for name in done if name not in again]

    def _perform(self, todo: Sequence[Unit], skipped: int, done: list[str]) -> Outcome:
        failures: list[Failure] = []
        blocked: list[str] = []
        cause: BaseException | None = None
        left = list(todo)
        with Lanes(self.executor, self._do) as lanes:
            lanes.fill(left)
            while left:
                unit, ended, seconds = lanes.ended()
                left.remove(unit)
                try:
                    self._finish(unit, ended.result(), seconds)
                except BlocksFailedError as error:
                    failures += error.failures
                    cause = cause or error.cause
                    self.progress.leave(unit.name)
                    self.work.note("failed", [_as_json(failure) for failure in failures])
                    spoilt = dependent(unit, left)
                    blocked += [each.name for each in spoilt]
                    left = [each for each in left if each not in spoilt]
                else:
                    done.append(unit.name)
                lanes.fill(left)
                # Thousands of files may have to go; the lanes are at work meanwhile.
                self._clean({u.name for u in todo} - set(done))
        return Outcome(tuple(done), skipped, tuple(failures), tuple(blocked), cause)

    def _do(self, unit: Unit) -> dict[str, Array]:
        self._fitting.discard(unit.name)
        self.work.forget(unit.name)
        return PERFORM[unit.step](self, unit)

    def _finish(self, unit: Unit, found: Mapping[str, Array], seconds: float) -> None:
        """Write down that a unit is done; in one thread, for all of them write to the same attributes."""
        stored = np.array([name for name, _ in unit.writes if self.is_stored(name)], "U")
        steps = dict(root.attributes(self.path).get("steps", {}))
        cost = Cost.of(report for name, _, report in self.engine.reports if name == unit.name)
        steps[unit.name] = {
            "fingerprint": self.scans.fingerprints[unit.name],
            "seconds": round(seconds, 3),
            "cost": cost.as_dict(),
        }
        in_order = {u.name: steps[u.name] for u in units(self.recipe) if u.name in steps}
        root.set_attributes(self.path, {"steps": in_order})
        self.work.finish(unit.name, self.scans.fingerprints[unit.name], {**found, "stored": stored})
        self.progress.end(unit.name, seconds)

    def _clean(self, left: set[str]) -> None:
        """Remove work volumes that no unit will read any more, or go on writing."""
        plan = units(self.recipe)
        undone = {u.name for u in plan if u.name in left or not self._fits(u)}
        awaited = {key for u in plan if u.name in undone for key in (*u.reads, *u.writes)}
        # Asked once: in object storage each question is a request.
        there, at_work = set(self.work.volumes()), self.work.at_work()
        for unit in plan:
            for key in unit.writes:
                if key not in awaited and self.work.volume(*key).name in there and not self.is_stored(key[0]):
                    self.work.drop_volume(*key)
            if unit.name not in undone:
                if unit.name in at_work:
                    self.work.drop_records(unit.name)
                for name in INTERNAL.get(unit.step, ()):
                    if self.work.volume(name, unit.state).name in there:
                        self.work.drop_volume(name, unit.state)

    # ------------------------------------------------------------ what is there

    def _fits(self, unit: Unit) -> bool:
        """Tell whether a unit is done; while this run holds the store, what fitted once does so until it is redone."""
        if unit.name not in self._fitting and self.work.fingerprint(unit.name) == self.scans.fingerprints[unit.name]:
            self._fitting.add(unit.name)
        return unit.name in self._fitting

    def _is_done(self, unit: Unit) -> bool:
        found = self.work.result(unit.name)
        return found is not None and found[0] == self.scans.fingerprints[unit.name]

    # ------------------------------------------------------------ the store

    def _open_store(self) -> None:
        if root.is_there(self.path):
            self._check_store()
            root.tidy(self.path)
            lost = spoilt(self.path, self.recipe)
            if lost and root.attributes(self.path).get("complete"):
                self._mark(complete=False)  # first: an empty volume must never count as done
            for name in lost:
                self.work.forget(name)
                self.work.drop_records(name)
            gone = missing(self.path, self._volumes())
            if volumes := {name: dtype for name, dtype in self._volumes().items() if name in gone}:
                add_volumes(self.path, self.axes, volumes, self._layout())
            return
        self.work.start_anew()  # it may tell of a store that was removed or renamed
        create(self.path, self.axes, self._volumes(), self._layout(), self._facts())

    def _check_place(self) -> None:
        """Refuse a place that holds something else, before anything is made beside it."""
        for folder in (self.path, self.work.folder):
            root.refuse_links(folder)
        if root.is_there(self.path):
            root.attributes(self.path)
        elif root.is_begun(self.path):
            return
        elif isinstance(self.path, Path) and self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file, not a store; choose another place with --store")
        elif names(self.path):
            raise StoreError(f"{self.path} is not empty and not a store; choose another place with --store")

    def _check_store(self) -> None:
        found = root.attributes(self.path)
        identity = _identity(self.recipe, self.scans.shape)
        if found.get("identity") != identity:
            there = found.get("identity", {})
            differs = "".join(
                f"\n  {key}: {there.get(key)} in the store, {value} in the recipe"
                for key, value in identity.items()
                if there.get(key) != value
            )
            raise StoreError(
                f"{self.path} was made by another recipe:{differs}\nchoose another --store, or remove this one and "
                f"{Work.beside(self.path).folder.name} beside it"
            )
        root.set_attributes(self.path, self._facts())

    def _volumes(self) -> dict[str, str]:
        return {name: schema.VOLUMES[name].dtype for name in stored_volumes(self.recipe)}

    def _layout(self) -> VolumeLayout:
        compute = self.recipe.compute
        check_single_writer(self.grid, compute.shard or compute.chunk)
        return VolumeLayout(compute.chunk, compute.shard, Compression(compute.compression, compute.level))

    def _facts(self) -> dict[str, Any]:
        return {
            "format_version": schema.FORMAT_VERSION,
            "crackdask_version": importlib.metadata.version("crackdask"),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES}
            | {"python": platform.python_version()},
            "recipe": self.recipe.as_dict(),
            "identity": _identity(self.recipe, self.scans.shape),
        }

    def _mark(self, *, complete: bool) -> None:
        root.set_attributes(self.path, {"complete": complete})
        root.consolidate(self.path)


def _made_by(unit: Unit) -> tuple[VolumeKey, ...]:
    return (*unit.writes, *((name, unit.state) for name in INTERNAL.get(unit.step, ())))


def _upto(unit: Unit, until: str) -> bool:
    return schema.STEPS.index(unit.step) <= schema.STEPS.index(until)


def _identity(recipe: Recipe, shape: Triple) -> dict[str, Any]:
    """Return what makes a store this experiment's: another value is another experiment."""
    return {
        "experiment": recipe.experiment.name,
        "voxel_um": list(recipe.experiment.voxel_um),
        "states": [state.name for state in recipe.states],
        "shape": list(shape),
        "chunk": list(recipe.compute.chunk),
        "shard": list(recipe.compute.shard) if recipe.compute.shard else None,
    }


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "unit": failure.unit,
        "pass": failure.step,
        "block": failure.number,
        "start": list(failure.box.start),
        "stop": list(failure.box.stop),
        "error": failure.error,
    }
