"""What a run consists of: one unit of work for each step and state, and how they hang together.

Plain facts about order, inputs and outputs; nothing here touches a voxel. Fingerprints chain along `needs`: a unit's
result counts as done only while everything that decided it is unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from crackdask.recipe.recipe import Recipe
from crackdask.schema import STEPS

#: Raised when a step's code changes what it computes: old results of that step no longer count.
VERSIONS = dict.fromkeys(STEPS, 1) | {"register": 2}
#: Volumes that belong to the store; all others live in the work folder and go when nobody reads them any more.
STORED = ("grey", "label")
KEPT_ON_REQUEST = ("denoised", "mask")
#: dtype of each work volume (that of `raw` is the scan's).
DTYPES = {
    "denoised": "uint8",
    "rough": "bool",
    "solid": "bool",
    "mask": "bool",
    "depth": "uint16",
    "basin": "uint32",
}
#: Volumes, by step, that only the unit which writes them reads.
INTERNAL = {"mask": ("rough", "solid"), "labels": ("basin",), "transfer": ("basin",)}

#: The tables of a state on their way into the store; they lie where work volumes lie, and go like them.
MEASURED = "tables"

VolumeKey = tuple[str, int]

#: How far a run looks ahead: a unit may begin while at most so many before it are not done. With two lanes it bounds
#: what lies in the work folder: three raw scans in the first half of a run, the intermediate volumes of two states in
#: the second.
AHEAD = 3


@dataclass(frozen=True)
class Unit:
    """One step for one state.

    Attributes
    ----------
    step, state
        The step's name and the state's number.
    needs
        Units whose results (tables) this one uses.
    reads, writes
        Volumes as (name, state): those that other units wrote, and those that outlive this one.
    """

    step: str
    state: int
    needs: tuple[str, ...] = ()
    reads: tuple[VolumeKey, ...] = ()
    writes: tuple[VolumeKey, ...] = ()

    @property
    def name(self) -> str:
        """Name of the unit in the work folder."""
        return f"{self.step}-{self.state}"


def stored_volumes(recipe: Recipe) -> tuple[str, ...]:
    """Return the volumes that a recipe asks for in the store; what else is made lies in the work folder."""
    return (*STORED, *(KEPT_ON_REQUEST if recipe.compute.keep_intermediate else ()))


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


def units(recipe: Recipe) -> list[Unit]:
    """Return all units of a run in the order in which they are done.

    The first half goes scan by scan, the second state by state, so that few raw scans and intermediate volumes lie on
    the disk at once, also where a run looks ahead (`ready`).
    """
    ref = recipe.reference
    order = states_in_order(len(recipe.states), ref)
    made: list[Unit] = []
    for s in order:
        both = dict.fromkeys([("raw", ref), ("raw", s)])
        registered = tuple(both) if s != ref and recipe.register_.transform != "none" else ()
        made += [
            Unit("read", s, writes=(("raw", s),)),
            Unit("register", s, tuple(dict.fromkeys([f"read-{ref}", f"read-{s}"])), registered),
            Unit(
                "grey",
                s,
                tuple(dict.fromkeys([f"register-{s}", f"read-{ref}", f"read-{s}"])),
                (("raw", s),),
                (("grey", s),),
            ),
        ]
    for s in order:
        labelled = f"labels-{s}" if s == ref else f"transfer-{s}"
        made += [
            Unit(
                "denoise",
                s,
                (f"grey-{s}",) if s == ref else (f"denoise-{ref}", f"grey-{s}"),
                (("grey", s),),
                (("denoised", s),),
            ),
            Unit(
                "mask",
                s,
                tuple(dict.fromkeys([f"denoise-{s}", f"denoise-{ref}"])),
                (("denoised", s),),
                (("mask", s),),
            ),
            _labelling(recipe, s, ref),
            Unit("measure", s, (labelled, f"grey-{s}"), (("grey", s), ("label", s)), ((MEASURED, s),)),
        ]
    names = tuple(f"{step}-{s}" for step in ("measure", "register") for s in order)
    return [*made, Unit("track", ref, names, tuple((MEASURED, s) for s in order))]


def _labelling(recipe: Recipe, state: int, ref: int) -> Unit:
    written = (("depth", state), ("label", state))
    if state == ref:
        return Unit("labels", state, (f"mask-{state}",), (("mask", state),), written)
    source = predecessor(state, ref) if recipe.transfer.mode == "chain" else ref
    before = f"labels-{source}" if source == ref else f"transfer-{source}"
    needs = tuple(dict.fromkeys([f"mask-{state}", before, f"labels-{ref}"]))
    return Unit("transfer", state, needs, (("mask", state), ("label", source), ("depth", source)), written)


def fingerprints(recipe: Recipe, sources: Sequence[str], shape: Sequence[int]) -> dict[str, str]:
    """Return the fingerprint of every unit's result.

    Parameters
    ----------
    recipe
        The resolved recipe.
    sources
        Fingerprint of each state's scan.
    shape
        Shape of the stored volume.
    """
    found: dict[str, str] = {}
    for unit in units(recipe):
        facts: dict[str, Any] = {
            "step": unit.step,
            "version": VERSIONS[unit.step],
            "parameters": _parameters(recipe, unit.step),
            "needs": [found[name] for name in unit.needs],
        }
        if unit.step == "read":
            facts["source"] = sources[unit.state]
        if unit.step == "grey":
            facts["shape"] = list(shape)
        text = json.dumps(facts, sort_keys=True)
        found[unit.name] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _parameters(recipe: Recipe, step: str) -> Mapping[str, Any]:
    """Return what of the recipe decides a step's result (never how the work is cut)."""
    content = recipe.as_dict()
    experiment = content["experiment"]
    common = {"voxel_um": experiment["voxel_um"], "fill": experiment["fill"], "crop": content["crop"]}
    match step:
        case "read":
            return {"fill": common["fill"], "crop": common["crop"]}
        case "register":
            return common | content["register"]
        case "transfer":
            return content["transfer"] | content["labels"]
        case "track":
            return {"states": [{k: v for k, v in s.items() if k != "source"} for s in content["states"]]}
        case "labels" | "measure":
            return content[step] | {"voxel_um": common["voxel_um"]}
        case "denoise" | "mask":
            # What the chosen method does not read decides nothing.
            params = recipe.denoise if step == "denoise" else recipe.mask
            return params.deciding() | {"fill": common["fill"]}
        case _:
            return content[step] | {"fill": common["fill"]}


def ready(left: Sequence[Unit], at_work: Set[str]) -> list[Unit]:
    """Return the units that may begin, in order.

    Parameters
    ----------
    left
        Units that are not done, in order.
    at_work
        Names of those that have begun.
    """
    found: list[Unit] = []
    awaited: set[str | VolumeKey] = set()
    for unit in left[: AHEAD + 1]:
        if unit.name not in at_work and awaited.isdisjoint([*unit.needs, *unit.reads]):
            found.append(unit)
        awaited.update([unit.name, *unit.writes])
    return found


def dependent(failed: Unit, left: Sequence[Unit]) -> list[Unit]:
    """Return the units that cannot be done because one failed, in order."""
    spoilt: set[str | VolumeKey] = {failed.name, *failed.writes}
    found: list[Unit] = []
    for unit in left:
        if not spoilt.isdisjoint([*unit.needs, *unit.reads]):
            found.append(unit)
            spoilt.update([unit.name, *unit.writes])
    return found


def outstanding(
    plan: Sequence[Unit],
    done: set[str],
    there: set[VolumeKey],
    until: str | None = None,
    kept: set[VolumeKey] | None = None,
) -> list[Unit]:
    """Return the units that a run must do, in order.

    A unit is needed when its result is not there, or when a needed unit reads a volume of it that is gone.

    Parameters
    ----------
    plan
        All units in order.
    done
        Names of units whose result is there and whose fingerprint fits.
    there
        Volumes that lie on the disk.
    until
        Last step to do, or None for all.
    kept
        Volumes that are wanted for themselves.
    """
    last = len(STEPS) if until is None else STEPS.index(until)
    wanted = set(kept or ())
    needed: list[Unit] = []
    for unit in reversed(plan):
        beyond = STEPS.index(unit.step) > last
        gone = any(key in wanted and key not in there for key in unit.writes)
        if beyond or (unit.name in done and not gone):
            continue
        needed.append(unit)
        wanted.update(unit.reads)
    return needed[::-1]
