"""The whole way, in order: from the scans of a recipe to the tables of a store.

How each step is done is in `crackdask.engine.step_runners`. The run is handed an executor and never makes one; it may
be killed at any moment and called again.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crackdask import schema
from crackdask.blocks.passes import Array
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import RunContext
from crackdask.engine.executors import Executor
from crackdask.engine.level_writer import layout_of, make_room
from crackdask.engine.parallel_units import Lanes
from crackdask.engine.pass_runner import BlocksFailedError, Failure, Progress
from crackdask.engine.profile import Cost
from crackdask.engine.scans import Scans
from crackdask.engine.soundness import GROUP, Damage, arrays_of, look
from crackdask.engine.step_runners import PERFORM
from crackdask.engine.work_units import Unit, dependent, outstanding, stored_volumes, units, upto
from crackdask.grid import Triple, check_single_writer
from crackdask.recipe.recipe import Recipe
from crackdask.schema import UnitKey
from crackdask.steps.registry import GROUPS, GROUPS_IF_ANY, KEPT_ON_REQUEST, REGISTRY
from crackdask.storage.locations import Place, names, remove
from crackdask.store import root, seals
from crackdask.store.arrays import VolumeLayout
from crackdask.store.create import COORDINATES, add_coordinates, add_volumes, create
from crackdask.store.damage import DamagedError
from crackdask.store.levels import image
from crackdask.store.root import StoreError

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


class Run:
    """One run of a recipe into a store.

    Attributes
    ----------
    context
        What its steps work with.
    """

    def __init__(self, scans: Scans, path: Place, executor: Executor, progress: Progress) -> None:
        self.context = RunContext(scans, path, executor, progress)
        self._fitting: set[UnitKey] = set()
        self._found: Damage | None = None
        #: Whether the store alone vouches for all that was done before this run.
        self._vouched = False

    @property
    def _recipe(self) -> Recipe:
        return self.context.recipe

    @property
    def _path(self) -> Place:
        return self.context.path

    @property
    def _work(self) -> Work:
        return self.context.work

    @property
    def _fingerprints(self) -> Mapping[UnitKey, str]:
        return self.context.scans.fingerprints

    def __call__(self, until: str | None = None) -> Outcome:
        """Do what is not done, up to and including a step."""
        self._check_place()
        with self._work.held(partial(self.context.progress.warn, "lock")):
            self._open_store()
            self._found = Damage()  # what was amiss is not done any more
            self._work.note("planned", {str(key): fingerprint for key, fingerprint in self._fingerprints.items()})
            todo = self.outstanding(until)
            plan = list(upto(units(self._recipe), until))
            self._clean({unit.key for unit in todo})  # a run that was killed may not have come to it
            if not todo:
                if until is None and not root.attributes(self._path).get("complete"):
                    self._mark(complete=True)
                return Outcome((), len(plan), (), ())
            if not self._vouched:
                self._mark(complete=False)
            self._work.note("failed", [])
            outcome = self._perform_mending(todo, len(plan) - len(todo), until)
            if not outcome.failures and until is None:
                self._mark(complete=True)
            return outcome

    def outstanding(self, until: str | None = None) -> list[Unit]:
        """Return the units that are to be done."""
        plan = units(self._recipe)
        if self._found is None:
            self._found = look(self._path, self._recipe)
        spoilt = set(self._found.spoilt)
        if (lacking := self._alone(plan, self._found)) is not None:
            return [unit for unit in upto(plan, until) if unit in lacking]
        lying = set(self._work.volumes())
        done = {u.key for u in plan if self._is_done(u)} - spoilt
        there = {
            key
            for u in plan
            for key in u.writes
            if (u.key in done and self.context.is_stored(key[0]) and key[0] in self.context.result_of(u.key)["stored"])
            or self._work.volume(*key).name in lying
        }
        kept = {key for u in plan for key in u.writes if key[0] in KEPT_ON_REQUEST and self.context.is_stored(key[0])}
        return outstanding(plan, done, there, until, kept)

    def _alone(self, plan: Sequence[Unit], found: Damage) -> list[Unit] | None:
        """Return what is lacking where the store alone vouches for all units, but perhaps those of its coarser levels.

        Its work folder may have been deleted. None where it does not vouch for that much.
        """
        facts = root.attributes(self._path)
        steps = facts.get("steps", {})
        if not facts.get("complete") or self._work.has_results() or self._recipe.compute.keep_intermediate:
            return None
        lacking = [
            unit
            for unit in plan
            if unit.key in found.spoilt or steps.get(unit.name, {}).get("fingerprint") != self._fingerprints[unit.key]
        ]
        only_levels = {*found.gone} <= {schema.LEVELS} and all(unit.step == schema.LEVELS for unit in lacking)
        return lacking if only_levels else None

    def _perform_mending(self, todo: Sequence[Unit], skipped: int, until: str | None) -> Outcome:
        """Do units; where the disk damaged what one of them wrote, that one is done again, once."""
        done: list[UnitKey] = []
        mended: set[UnitKey] = set()
        while True:
            try:
                return self._perform(todo, skipped, done)
            except DamagedError as error:
                damaged = (error.name, error.state)
                maker = next(u.key for u in units(self._recipe) if damaged in (*u.writes, *u.internal))
                if maker in mended:
                    raise
                mended.add(maker)
                self.context.progress.warn(maker, f"{error.found}; it is made anew")
                self._fitting.discard(maker)
                self._work.forget(maker)
                self._work.drop_records(maker)
                if not self.context.is_stored(error.name):
                    self._work.drop_volume(error.name, error.state)
                todo = self.outstanding(until)
                again = {unit.key for unit in todo}
                done = [key for key in done if key not in again]

    def _perform(self, todo: Sequence[Unit], skipped: int, done: list[UnitKey]) -> Outcome:
        failures: list[Failure] = []
        blocked: list[Unit] = []
        cause: BaseException | None = None
        left = list(todo)
        with Lanes(self.context.executor, self._do) as lanes:
            lanes.fill(left)
            while left:
                unit, ended, seconds = lanes.ended()
                left.remove(unit)
                try:
                    self._finish(unit, ended.result(), seconds)
                except BlocksFailedError as error:
                    failures += error.failures
                    cause = cause or error.cause
                    self.context.progress.leave(unit.key)
                    self._work.note("failed", [_as_json(failure) for failure in failures])
                    blocked += dependent(unit, left)
                    left = [each for each in left if each not in blocked]
                else:
                    done.append(unit.key)
                lanes.fill(left)
                # Thousands of files may have to go; the lanes are at work meanwhile.
                self._clean({u.key for u in todo} - set(done))
        return Outcome(tuple(map(str, done)), skipped, tuple(failures), tuple(u.name for u in blocked), cause)

    def _do(self, unit: Unit) -> dict[str, Array]:
        self._fitting.discard(unit.key)
        self._work.forget(unit.key)
        for name, state in unit.writes:
            if self.context.is_stored(name):
                for array in arrays_of(self._path, name, self.context.scans.shape):
                    seals.make_room(self._path, array, state, len(schema.SPATIAL))
        if REGISTRY[unit.step].groups:
            seals.drop(self._path, seals.TABLES)
        return PERFORM[unit.step](self.context, unit)

    def _finish(self, unit: Unit, tables: Mapping[str, Array], seconds: float) -> None:
        """Write down that a unit is done; in one thread, for all of them write to the same attributes."""
        stored = np.array([name for name, _ in unit.writes if self.context.is_stored(name)], "U")
        steps = dict(root.attributes(self._path).get("steps", {}))
        cost = Cost.of(report for key, _, report in self.context.engine.reports if key == unit.key)
        steps[unit.name] = {
            "fingerprint": self._fingerprints[unit.key],
            "seconds": round(seconds, 3),
            "cost": cost.as_dict(),
        }
        in_order = {u.name: steps[u.name] for u in units(self._recipe) if u.name in steps}
        root.set_attributes(self._path, {"steps": in_order})
        self._keep_root()
        if self._vouched:  # results of some units would say that those of the others are lost
            self._work.drop_records(unit.key)
        else:
            self._work.finish(unit.key, self._fingerprints[unit.key], {**tables, "stored": stored})
        self.context.progress.end(unit.key, seconds)

    def _clean(self, left: set[UnitKey]) -> None:
        """Remove work volumes that no unit will read any more, or go on writing."""
        plan = units(self._recipe)
        undone = {u.key for u in plan if u.key in left or not self._fits(u)}
        awaited = {key for u in plan if u.key in undone for key in (*u.reads, *u.writes)}
        # Asked once: in object storage each question is a request.
        there, at_work = set(self._work.volumes()), self._work.at_work()
        for unit in plan:
            unread = [key for key in unit.writes if key not in awaited and not self.context.is_stored(key[0])]
            if unit.key not in undone:
                unread += unit.internal
                if unit.key in at_work:
                    self._work.drop_records(unit.key)
            for key in unread:
                if self._work.volume(*key).name in there:
                    self._work.drop_volume(*key)

    # ------------------------------------------------------------ what is there

    def _fits(self, unit: Unit) -> bool:
        """Tell whether a unit is done; while this run holds the store, what fitted once does so until it is redone."""
        if unit.key not in self._fitting and self._work.fingerprint(unit.key) == self._fingerprints[unit.key]:
            self._fitting.add(unit.key)
        return unit.key in self._fitting

    def _is_done(self, unit: Unit) -> bool:
        result = self._work.result(unit.key)
        return result is not None and result[0] == self._fingerprints[unit.key]

    # ------------------------------------------------------------ the store

    def _open_store(self) -> None:
        if root.is_there(self._path) or root.has_remains(self._path):
            if root.broken(self._path) and (kept := root.kept_root(self._path)) is not None:
                self.context.progress.warn("store", f"{self._path}/zarr.json {root.broken(self._path)}; it is restored")
                root.restore(self._path, kept)
                root.consolidate(self._path)
            self._check_store()
            root.tidy(self._path)
            found = self._found or look(self._path, self._recipe)
            self._vouched = self._alone(units(self._recipe), found) is not None
            self._mend(found)
            make_room(self._path, self._recipe, self.context.axes, found)
        else:
            self._work.start_anew()  # it may tell of a store that was removed or renamed
            create(self._path, self.context.axes, self._volumes(), self._layout(), self._facts())
            self._keep_root()
        if seals.load(self._path, seals.COORDINATES) is None:
            folders = [f"volumes/{name}/c" for name in COORDINATES]
            seals.keep(self._path, seals.COORDINATES, [seals.seals_of(self._path, folders)])

    def _mend(self, found: Damage) -> None:
        """Make room for what is gone, and let what is spoilt count as not done."""
        said_complete = bool(root.attributes(self._path).get("complete"))
        if (found.gone or found.spoilt) and said_complete and not self._vouched:
            root.set_attributes(self._path, {"complete": False})  # first: an empty volume must never count as done
        told: dict[UnitKey | str, str] = {GROUP: found.gone[GROUP]} if GROUP in found.gone else {}
        for unit, reason in found.spoilt.items():
            if said_complete or self._work.fingerprint(unit) is not None:
                told[unit] = reason
            self._work.forget(unit)
            self._work.drop_records(unit)
        for about, reason in told.items():
            self.context.progress.warn(about, f"{reason}; it is made anew")
        if not found.gone:
            return
        for name in found.gone:
            if name in (*GROUPS, *GROUPS_IF_ANY):
                remove(self._path / name)
            elif name in KEPT_ON_REQUEST:
                remove(self._path / "volumes" / name)
        if GROUP in found.gone:
            add_coordinates(self._path, self.context.axes)
            seals.drop(self._path, seals.COORDINATES)
        volumes = {name: dtype for name, dtype in self._volumes().items() if name in found.gone}
        add_volumes(self._path, self.context.axes, volumes, self._layout())

    def _check_place(self) -> None:
        """Refuse a place that holds something else, before anything is made beside it."""
        for folder in (self._path, self._work.folder):
            root.refuse_links(folder)
        if root.is_there(self._path) or root.has_remains(self._path):
            if root.kept_root(self._path) is None or not root.broken(self._path):
                root.attributes(self._path)
        elif root.is_begun(self._path):
            return
        elif isinstance(self._path, Path) and self._path.exists() and not self._path.is_dir():
            raise StoreError(f"{self._path} is a file, not a store; choose another place with --store")
        elif names(self._path):
            raise StoreError(f"{self._path} is not empty and not a store; choose another place with --store")

    def _check_store(self) -> None:
        there = root.attributes(self._path).get("identity")
        identity = _identity(self._recipe, self.context.scans.shape)
        if there != identity:
            there = there or {}
            differs = "".join(
                f"\n  {key}: {there.get(key)} in the store, {value} in the recipe"
                for key, value in identity.items()
                if there.get(key) != value
            )
            raise StoreError(
                f"{self._path} was made by another recipe:{differs}\nchoose another --store, or remove this one and "
                f"{Work.beside(self._path).folder.name} beside it"
            )
        root.set_attributes(self._path, self._facts())

    def _volumes(self) -> dict[str, str]:
        return {name: schema.VOLUMES[name].dtype for name in stored_volumes(self._recipe) if name in schema.VOLUMES}

    def _layout(self) -> VolumeLayout:
        layout = layout_of(self._recipe)
        check_single_writer(self.context.grid, layout.shard or layout.chunk)
        return layout

    def _facts(self) -> dict[str, Any]:
        return {
            "format_version": schema.FORMAT_VERSION,
            "crackdask_version": importlib.metadata.version("crackdask"),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES}
            | {"python": platform.python_version()},
            "recipe": self._recipe.as_dict(),
            "identity": _identity(self._recipe, self.context.scans.shape),
            "ome": image(self.context.axes),
        }

    def _mark(self, *, complete: bool) -> None:
        root.set_attributes(self._path, {"complete": complete})
        root.consolidate(self._path)
        self._keep_root()

    def _keep_root(self) -> None:
        """Keep a copy of what the root of the store tells, from which it can be restored."""
        self._work.note("root", root.attributes(self._path))


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
        "unit": str(failure.unit),
        "pass": failure.pass_,
        "block": failure.number,
        "start": list(failure.box.start),
        "stop": list(failure.box.stop),
        "error": failure.error,
    }
