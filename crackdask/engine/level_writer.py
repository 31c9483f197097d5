"""Coarser levels of a finished store, for viewers: room for them, and those that a store of old does not have yet.

A run makes them as one of its steps (`crackdask.steps.levels`). Here they are made without scans and recipe file, from
what the store holds and tells; records, seals and fingerprints are those of a run, which finds them done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from crackdask.engine.block_plan import LARGEST_BLOCK, level_blocks
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import USER_ERRORS, axes_of
from crackdask.engine.executors import Executor
from crackdask.engine.fingerprints import fingerprint
from crackdask.engine.pass_runner import Engine
from crackdask.engine.profile import Cost
from crackdask.engine.progress import Progress
from crackdask.engine.retries import Retries
from crackdask.engine.soundness import Damage, look
from crackdask.engine.work_units import Unit, in_order, units
from crackdask.grid import Grid, Triple
from crackdask.recipe.recipe import Recipe, check
from crackdask.schema import LEVELS, SPATIAL, UnitKey
from crackdask.steps.levels import passes
from crackdask.steps.registry import REGISTRY
from crackdask.storage.locations import Place, Prefix
from crackdask.store import room, root
from crackdask.store.arrays import Axes, Compression, VolumeLayout
from crackdask.store.levels import add_levels, image, level_arrays, mend_link
from crackdask.store.root import StoreError
from crackdask.store.volumes import volume


def layout_of(recipe: Recipe) -> VolumeLayout:
    """Return how a recipe has the volumes of a store cut and compressed."""
    compute = recipe.compute
    return VolumeLayout(compute.chunk, compute.shard, Compression(compute.compression, compute.level))


def make_room(path: Place, recipe: Recipe, axes: Axes, found: Damage) -> None:
    """Make empty arrays of coarser levels where they are gone, or were never made; units of what is gone are undone."""
    mine = [unit.key for unit in units(recipe) if unit.step == LEVELS]
    spoilt = {key for key in found.spoilt if key.step == LEVELS}
    arrays = level_arrays(path, axes.shape)
    if LEVELS in found.gone or not all((path / array / "zarr.json").is_file() for array in arrays):
        add_levels(path, axes, layout_of(recipe))
        root.consolidate(path)
        spoilt = set(mine)
    mend_link(path)
    work = Work.beside(path)
    for key in spoilt:
        work.forget(key)
        work.drop_records(key)
    steps = root.attributes(path).get("steps", {})
    if not spoilt.isdisjoint(map(UnitKey.parse, steps)):
        left = {name: told for name, told in steps.items() if UnitKey.parse(name) not in spoilt}
        root.set_attributes(path, {"steps": left})


def write_levels(path: Place, executor: Executor, progress: Progress) -> tuple[list[str], list[str]]:
    """Make the coarser levels of a finished store, state by state.

    Parameters
    ----------
    path
        The store.
    executor, progress
        Where it runs, and who is told.

    Returns
    -------
    tuple
        Names of the states whose levels were made, and of those that had them.

    Raises
    ------
    StoreError
        If there is no store, its run is not finished, another run holds it, or a chunk of it is damaged.
    BlocksFailedError
        If blocks fail for good. Those that are done are kept.
    """
    _finished(path)
    work = Work.beside(path)
    with work.held():
        root.refuse_links(path)
        root.tidy(path)
        facts = _finished(path)
        recipe = check(facts["recipe"])
        z, y, x = facts["identity"]["shape"]
        axes = axes_of(recipe, (z, y, x))
        make_room(path, recipe, axes, look(path, recipe))
        root.set_attributes(path, {"ome": image(axes)})
        plan, steps = units(recipe), root.attributes(path)["steps"]
        told = {unit.key: _fingerprint(unit, steps, axes.shape) for unit in plan if unit.step == LEVELS}
        todo = [u for u in plan if u.key in told and steps.get(u.name, {}).get("fingerprint") != told[u.key]]
        engine = Engine(work, executor, progress, Retries(recipe.compute.retries, USER_ERRORS))
        for unit in todo:
            _write_state(path, recipe, axes, unit, told[unit.key], engine)
        root.consolidate(path)
        work.note("root", root.attributes(path))
    made = {unit.state for unit in todo}
    names = list(enumerate(axes.names))
    return [name for s, name in names if s in made], [name for s, name in names if s not in made]


def _finished(path: Place) -> dict[str, Any]:
    """Return the root attributes of a store whose run is finished."""
    facts = root.attributes(path)
    if not facts.get("complete"):
        raise StoreError(f"{path} is not complete; `crackdask run RECIPE --store {path}` makes its levels too")
    return facts


def _fingerprint(unit: Unit, steps: Mapping[str, Any], shape: Triple) -> str:
    """Return the fingerprint that a run gives to the levels of a state, from those that the store remembers."""
    needs = [steps.get(str(key), {}).get("fingerprint") for key in unit.needs]
    return fingerprint(REGISTRY[unit.step], {}, needs, {"shape": list(shape)})


def _write_state(path: Place, recipe: Recipe, axes: Axes, unit: Unit, told: str, engine: Engine) -> None:
    """Make the levels of one state, and write down that they are made."""
    started, layout = time.perf_counter(), layout_of(recipe)
    files = layout.shard or layout.chunk
    z, y, x = (max(1, LARGEST_BLOCK // n) * n for n in files)
    whole = Grid(axes.shape, (z, y, x))
    planned = passes(level_blocks(axes.shape, layout, whole.block), whole, copied=isinstance(path, Prefix))
    for array in level_arrays(path, axes.shape):
        room.make_room(path, array, unit.state, len(SPATIAL))
    inputs = {name: volume(path, name, unit.state) for name in ("grey", "label")}
    outputs = {name: volume(path, name, unit.state) for each in planned for name in each.writes}
    engine.run(unit.key, told, planned, whole, inputs, outputs, {})
    _note(path, recipe, unit, told, engine, time.perf_counter() - started)


def _note(path: Place, recipe: Recipe, unit: Unit, told: str, engine: Engine, seconds: float) -> None:
    """Write down that the levels of a state are made, where a run looks for it."""
    work = engine.work
    cost = Cost.of(report for key, _, report in engine.reports if key == unit.key)
    steps = root.attributes(path)["steps"]
    steps[unit.name] = {"fingerprint": told, "seconds": round(seconds, 3), "cost": cost.as_dict()}
    root.set_attributes(path, {"steps": in_order(units(recipe), steps)})
    if work.has_results():
        planned = work.noted("planned")
        if isinstance(planned, dict):
            work.note("planned", planned | {unit.name: told})
        work.finish(unit.key, told, {"stored": np.array([LEVELS], "U")})
    else:  # results of some units would say that those of the others are lost
        work.drop_records(unit.key)
    engine.progress.end(unit.key, seconds)
