"""What a run consists of: one unit of work for each step and state, and how they hang together.

Only arithmetic on what the steps declare of themselves; nothing here touches a voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from crackdask.recipe.recipe import Recipe
from crackdask.schema import STEPS, TOMOGRAMS, UnitKey
from crackdask.steps.declaration import LABELLING, Of, Stage, Step
from crackdask.steps.registry import KEPT_ON_REQUEST, REGISTRY, STORED, of_stage

VolumeKey = tuple[str, int]
#: How far a run looks ahead: a unit may begin while at most so many before it are not done. With two at work it bounds
#: what lies in the work folder: three raw scans while there are scans to read, the intermediate volumes of two states
#: when there are none.
AHEAD = 3
#: How many units of a part of a run are at work at once. While scans are read and registered, on one core, the workers
#: carry on a state that has its grey levels, one unit after the other: one state's volumes lie beside the scans.
TOGETHER, BESIDE_SCANS = 2, 1


@dataclass(frozen=True)
class Unit:
    """One step for one state.

    Attributes
    ----------
    key
        Which step, and the state's number.
    needs
        Units whose results (tables) this one uses.
    reads, writes
        Volumes as (name, state): those that other units wrote, and those that outlive this one.
    """

    key: UnitKey
    needs: tuple[UnitKey, ...] = ()
    reads: tuple[VolumeKey, ...] = ()
    writes: tuple[VolumeKey, ...] = ()

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.key.step

    @property
    def state(self) -> int:
        """Number of the state."""
        return self.key.state

    @property
    def name(self) -> str:
        """Name of the unit in files and messages."""
        return str(self.key)

    @property
    def internal(self) -> tuple[VolumeKey, ...]:
        """Volumes that only this unit reads."""
        return tuple((name, self.state) for name in REGISTRY[self.step].internal)


def stored_volumes(recipe: Recipe) -> tuple[str, ...]:
    """Return the volumes that a recipe asks for in the store; what else is made lies in the work folder."""
    kept = recipe.reconstruct is not None and recipe.reconstruct.keep is not None
    stored = STORED if kept else tuple(name for name in STORED if name != TOMOGRAMS)
    return (*stored, *(KEPT_ON_REQUEST if recipe.compute.keep_intermediate else ()))


def states_in_order(count: int, reference: int) -> list[int]:
    """Return the order in which labels are carried: outward from the reference.

    >>> states_in_order(4, 1)
    [1, 2, 3, 0]
    """
    return [*range(reference, count), *range(reference - 1, -1, -1)]


def predecessor(state: int, reference: int) -> int:
    """Return the state that hands its labels to this one.

    >>> predecessor(3, 1), predecessor(0, 1)
    (2, 1)
    """
    return state - 1 if state > reference else state + 1


def labelled_by(state: int, reference: int) -> UnitKey:
    """Return the unit that labels a state.

    >>> str(labelled_by(1, 1)), str(labelled_by(2, 1))
    ('labels-1', 'transfer-2')
    """
    return UnitKey("labels" if state == reference else "transfer", state)


def units(recipe: Recipe) -> list[Unit]:
    """Return all units of a run in the order in which they are done.

    The first half goes scan by scan, the second state by state, so that few raw scans and intermediate volumes lie on
    the disk at once, also where a run looks ahead or does units of both together (`ready`). What compares states comes
    after that, when only what the store keeps is left of them.
    """
    order = states_in_order(len(recipe.states), recipe.reference)
    sections = recipe.sections()
    planned = [
        _unit(step, state, recipe, sections, order)
        for stage in (Stage.SCANS, Stage.STATES, Stage.TABLES)
        for state in order
        for step in of_stage(stage)
        if step.states == "all" or (step.states == "reference") == (state == recipe.reference)
        if step.asked(sections, state == recipe.reference)
    ]
    whole = [step for step in of_stage(Stage.WHOLE) if step.asked(sections, True)]
    return planned + [_unit(step, recipe.reference, recipe, sections, order) for step in whole]


def in_order(plan: Sequence[Unit], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of units by their names, in the order of a plan; of units that it does not have, nothing."""
    return {unit.name: told[unit.name] for unit in plan if unit.name in told}


def _unit(step: Step, state: int, recipe: Recipe, sections: Mapping[str, Any], order: Sequence[int]) -> Unit:
    """Return a step's unit for a state: what it declares, with the states' numbers."""
    reference, key = recipe.reference, UnitKey(step.name, state)
    before = predecessor(state, reference) if recipe.transfer.mode == "chain" else reference
    states = {Of.ITSELF: (state,), Of.REFERENCE: (reference,), Of.BEFORE: (before,), Of.ALL: tuple(order)}
    needs = dict.fromkeys(
        labelled_by(s, reference) if name == LABELLING else UnitKey(name, s)
        for name, which in (step.needs if step.needs_in(sections, state == reference) else ())
        for s in states[which]
    )
    for each in [key, *(each for each in needs if not REGISTRY[each.step].asked(sections, each.state == reference))]:
        needs.pop(each, None)
    looks = step.reads_in(sections, state == reference)
    volumes = [(name, s) for name, which in step.reads for s in states[which] if looks]
    reads = dict.fromkeys(each for each in volumes if _is_made(each, sections, reference))
    return Unit(key, tuple(needs), tuple(reads), tuple((name, state) for name in step.writes))


def _is_made(volume: VolumeKey, sections: Mapping[str, Any], reference: int) -> bool:
    """Tell whether a step that is asked for makes a volume."""
    name, state = volume
    return any(name in step.writes and step.asked(sections, state == reference) for step in REGISTRY.values())


def staying(recipe: Recipe, reconstructed: bool) -> set[VolumeKey]:
    """Return the volumes of the work folder that stay when a run is done: so a state is added at its own price.

    Those are the tables of each state, from which those of the store are written; the depth in the state that hands its
    labels to the next one; and the reference's slices, where they had to be reconstructed.
    """
    last = len(recipe.states) - 1 if recipe.transfer.mode == "chain" else recipe.reference
    kept = {("tables", state) for state in range(len(recipe.states))} | {("depth", last)}
    return kept | ({("raw", recipe.reference)} if reconstructed else set())


def ready(left: Sequence[Unit], at_work: Set[UnitKey]) -> list[Unit]:
    """Return the units that may begin, in order.

    Parameters
    ----------
    left
        Units that are not done, in order.
    at_work
        Those that have begun.
    """
    scans = [unit for unit in left if REGISTRY[unit.step].stage is Stage.SCANS]
    beyond = [unit for unit in left if REGISTRY[unit.step].stage is not Stage.SCANS]
    if not scans:
        return _ready(beyond, beyond, at_work, TOGETHER)
    beside = [unit for unit in beyond if REGISTRY[unit.step].stage is Stage.STATES]
    return _ready(scans, left, at_work, TOGETHER) + _ready(beside, left, at_work, BESIDE_SCANS)


def _ready(some: Sequence[Unit], left: Sequence[Unit], at_work: Set[UnitKey], together: int) -> list[Unit]:
    """Return which of some units that are left may begin, where no more than `together` of them may be at work."""
    able: list[Unit] = []
    awaited: set[UnitKey | VolumeKey] = set()
    for unit in left:
        if unit in some[: AHEAD + 1] and unit.key not in at_work and awaited.isdisjoint([*unit.needs, *unit.reads]):
            able.append(unit)
        awaited.update([unit.key, *unit.writes])
    return able[: together - sum(unit.key in at_work for unit in some)]


def dependent(failed: Unit, left: Sequence[Unit]) -> list[Unit]:
    """Return the units that cannot be done because one failed, in order."""
    spoilt: set[UnitKey | VolumeKey] = {failed.key, *failed.writes}
    blocked: list[Unit] = []
    for unit in left:
        if not spoilt.isdisjoint([*unit.needs, *unit.reads]):
            blocked.append(unit)
            spoilt.update([unit.key, *unit.writes])
    return blocked


def upto(plan: Sequence[Unit], until: str | None) -> Iterator[Unit]:
    """Yield the units of a plan up to and including those of a step, or all."""
    last = len(STEPS) if until is None else STEPS.index(until)
    return (unit for unit in plan if STEPS.index(unit.step) <= last)


def outstanding(
    plan: Sequence[Unit],
    done: Set[UnitKey],
    there: Set[VolumeKey],
    until: str | None = None,
    kept: Set[VolumeKey] = frozenset(),
) -> list[Unit]:
    """Return the units that a run must do, in order.

    A unit is needed when its result is not there, or when a needed unit reads a volume of it that is gone.

    Parameters
    ----------
    plan
        All units in order.
    done
        Units whose result is there and whose fingerprint fits.
    there
        Volumes that lie on the disk.
    until
        Last step to do, or None for all.
    kept
        Volumes that are wanted for themselves.
    """
    wanted = set(kept)
    needed: list[Unit] = []
    for unit in reversed(list(upto(plan, until))):
        gone = any(key in wanted and key not in there for key in unit.writes)
        if unit.key in done and not gone:
            continue
        needed.append(unit)
        wanted.update(unit.reads)
    return needed[::-1]
