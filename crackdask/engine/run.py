"""The whole way, in order: from the scans of a recipe to the tables of a store.

How each step is done is in `crackdask.engine.step_runners`, what becomes of the store in `crackdask.engine.run_store`.
The run is handed an executor and never makes one; it may be killed at any moment and called again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from crackdask import schema
from crackdask.blocks.passes import Array
from crackdask.engine import cell_renewal
from crackdask.engine.all_state_results import basis, unchanged
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import RunContext
from crackdask.engine.executors import Executor
from crackdask.engine.parallel_units import Lanes
from crackdask.engine.pass_runner import BlocksFailedError, Failure
from crackdask.engine.profile import Cost
from crackdask.engine.progress import Progress
from crackdask.engine.run_store import RunStore
from crackdask.engine.scans import Scans
from crackdask.engine.soundness import Damage, arrays_of, look
from crackdask.engine.step_runners import PERFORM
from crackdask.engine.work_units import Unit, dependent, in_order, outstanding, staying, units, upto
from crackdask.recipe.recipe import Recipe
from crackdask.schema import UnitKey
from crackdask.steps.registry import KEPT_ON_REQUEST, REGISTRY
from crackdask.storage.locations import Place
from crackdask.store import root, seals
from crackdask.store.damage import DamagedError
from crackdask.store.room import make_room


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
        self._store = RunStore(self.context)
        self._fitting: set[UnitKey] = set()
        self._unchanged: set[UnitKey] = set()
        #: Units that left a result: while this run holds the store, nobody else makes any.
        self._recorded: set[str] = set()
        self._found: Damage | None = None
        #: Whether the store alone vouches for all that was done before this run.
        self._vouched = False

    @property
    def _recipe(self) -> Recipe:
        return self.context.recipe

    @cached_property
    def _plan(self) -> list[Unit]:
        return units(self._recipe)

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
        self._store.check_place()
        with self._work.held(partial(self.context.progress.warn, "lock")):
            plan = list(upto(self._plan, until))
            levels = any(unit.step == schema.LEVELS for unit in plan)
            self._vouched = self._store.open(
                self._found, lambda found: self._alone(self._plan, found) is not None, levels=levels
            )
            self._found = Damage()  # what was amiss is not done any more
            self._work.note("planned", {str(key): fingerprint for key, fingerprint in self._fingerprints.items()})
            todo = self.outstanding(until)
            # A run that was killed may not have come to it.
            self.context.engine.recorded = self._work.at_work()
            self._clean({unit.key for unit in todo}, frozenset(self.context.engine.recorded))
            if not todo:
                if until is None and not root.attributes(self._path).get("complete"):
                    self._store.mark(complete=True)
                return Outcome((), len(plan), (), ())
            if not self._vouched:
                self._store.mark(complete=False)
            elif any(unit.step in cell_renewal.STEPS for unit in todo):
                cell_renewal.begin(self.context)
            self._work.note("failed", [])
            outcome = self._perform_mending(todo, len(plan) - len(todo), until)
            if not outcome.failures and until is None:
                self._store.mark(complete=True)
            return outcome

    def waited_share(self) -> float:
        """Return in which share of the time that blocks took their workers had no core, for the machine was busy."""
        reports = [report for *_, report in self.context.engine.reports]
        busy = sum(report.seconds for report in reports)
        return min(sum(report.waited for report in reports) / busy, 1.0) if busy else 0.0

    def may_be_done(self) -> bool:
        """Tell from the root of the store alone whether everything may be done; to look at all of it takes seconds."""
        facts = root.attributes(self._path)
        steps = facts.get("steps")
        if not facts.get("complete") or not isinstance(steps, dict):
            return False
        return all(steps.get(u.name, {}).get("fingerprint") == self._fingerprints[u.key] for u in self._plan)

    def outstanding(self, until: str | None = None) -> list[Unit]:
        """Return the units that are to be done."""
        plan = self._plan
        if self._found is None:
            self._found = look(self._path, self._recipe)
        spoilt = set(self._found.spoilt)
        if (lacking := self._alone(plan, self._found)) is not None:
            return [unit for unit in upto(plan, until) if unit in lacking]
        lying, self._recorded = set(self._work.volumes()), self._work.recorded()
        done = {u.key for u in plan if u.name in self._recorded and self._is_done(u)} - spoilt
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
        """Return what is lacking where the store alone vouches for all but perhaps its coarser levels and the record.

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
        if {*found.gone} <= {schema.LEVELS} and all(unit.step == schema.LEVELS for unit in lacking):
            return lacking
        others = [unit for unit in lacking if unit.step not in (schema.LEVELS, *cell_renewal.STEPS)]
        if others or not cell_renewal.is_all(self._path, self._recipe, self._fingerprints, found, steps):
            return None
        return [unit for unit in plan if unit in lacking or unit.step in cell_renewal.STEPS]

    def _perform_mending(self, todo: Sequence[Unit], skipped: int, until: str | None) -> Outcome:
        """Do units; where the disk damaged what one of them wrote, that one is done again, once."""
        done: list[UnitKey] = []
        mended: set[UnitKey] = set()
        while True:
            try:
                return self._perform(todo, skipped, done)
            except DamagedError as error:
                damaged = (error.name, error.state)
                maker = next(u.key for u in self._plan if damaged in (*u.writes, *u.internal))
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
        taken = basis(self.context, unit)
        if (kept := unchanged(self.context, unit, taken)) is not None:
            self._unchanged.add(unit.key)
            return kept
        return self._made(unit) | taken

    def _made(self, unit: Unit) -> dict[str, Array]:
        if self._vouched and unit.step in cell_renewal.STEPS:
            self._unchanged.add(unit.key)  # what it cost is told of when all tables were made
            return cell_renewal.PERFORM[unit.step](self.context, unit)
        self._fitting.discard(unit.key)
        self.context.at_hand.pop(unit.key, None)
        if unit.name in self._recorded:
            self._work.forget(unit.key)
        for name, state in unit.writes:
            if self.context.is_stored(name):
                for array in arrays_of(self._path, name, self.context.scans.shape):
                    make_room(self._path, array, state, len(schema.SPATIAL))
        if REGISTRY[unit.step].groups:
            seals.drop(self._path, seals.TABLES)
        return PERFORM[unit.step](self.context, unit)

    def _finish(self, unit: Unit, tables: Mapping[str, Array], seconds: float) -> None:
        """Write down that a unit is done; in one thread, for all of them write to the same attributes."""
        stored = np.array([name for name, _ in unit.writes if self.context.is_stored(name)], "U")
        cost = Cost.of(report for key, _, report in self.context.engine.reports if key == unit.key)

        def noted(facts: Mapping[str, Any]) -> dict[str, Any]:
            steps = dict(facts.get("steps", {}))
            spent = {"seconds": round(seconds, 3), "cost": cost.as_dict()}
            if unit.key in self._unchanged:  # what it cost when it was made
                spent = {name: steps.get(unit.name, {}).get(name, value) for name, value in spent.items()}
            steps[unit.name] = {"fingerprint": self._fingerprints[unit.key], **spent}
            return {"steps": in_order(self._plan, steps)}

        self._store.keep_root(root.change_attributes(self._path, noted))
        if self._vouched:  # results of some units would say that those of the others are lost
            self.context.held[unit.key] = dict(tables)
            self._work.drop_records(unit.key)
        else:
            left = {**tables, "stored": stored}
            self._work.finish(unit.key, self._fingerprints[unit.key], left)
            self.context.keep_at_hand(unit.key, left)
            self._recorded.add(unit.name)
            self._fitting.add(unit.key)
        self.context.progress.end(unit.key, seconds)

    def _clean(self, left: set[UnitKey], at_work: Set[UnitKey] = frozenset()) -> None:
        """Remove work volumes that no unit will read any more, or go on writing; and records of units that are done."""
        plan = self._plan
        undone = {u.key for u in plan if u.key in left or not self._fits(u)}
        awaited = {key for u in plan if u.key in undone for key in (*u.reads, *u.writes)}
        lying = self.context.lying or set()
        awaited |= staying(self._recipe, self.context.scans.projections(self._recipe.reference) is not None)
        for unit in plan:
            unread = [key for key in unit.writes if key not in awaited and not self.context.is_stored(key[0])]
            if unit.key not in undone:
                unread += unit.internal
                if unit.key in at_work:
                    self._work.drop_records(unit.key)
            for key in unread:
                if (name := self._work.volume(*key).name) in lying:
                    self._work.drop_volume(*key)
                    lying.discard(name)

    # ------------------------------------------------------------ what is there

    def _fits(self, unit: Unit) -> bool:
        """Tell whether a unit is done; while this run holds the store, what fitted once does so until it is redone."""
        if unit.key not in self._fitting and self._work.fingerprint(unit.key) == self._fingerprints[unit.key]:
            self._fitting.add(unit.key)
        return unit.key in self._fitting

    def _is_done(self, unit: Unit) -> bool:
        result = self._work.result(unit.key)
        return result is not None and result[0] == self._fingerprints[unit.key]


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "unit": str(failure.unit),
        "pass": failure.pass_,
        "block": failure.number,
        "start": list(failure.box.start),
        "stop": list(failure.box.stop),
        "error": failure.error,
    }
