"""Tomograms that the store keeps as they were reconstructed: room for them, and how those of a state get there."""

from __future__ import annotations

from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.level_writer import layout_of
from crackdask.engine.work_units import Unit
from crackdask.grid import check_single_writer
from crackdask.schema import TOMOGRAMS, UnitKey
from crackdask.steps.tomograms import passes
from crackdask.storage.locations import remove
from crackdask.store import root, seals
from crackdask.store.tomograms import add_tomograms, has_tomograms


def make_room(context: RunContext) -> None:
    """Make an empty array of tomograms where the recipe asks for another than is there; its units are undone.

    Where the recipe asks for none any more they are removed, or they would fall behind what it tells.
    """
    path, params = context.path, context.recipe.reconstruct
    kept = None if params is None else params.keep
    scan = context.scans.sources[0].shape
    if has_tomograms(path, scan, kept) if kept else not (path / TOMOGRAMS / "zarr.json").is_file():
        return
    if kept:
        layout = layout_of(context.recipe)
        check_single_writer(context.plan.scan_blocks, layout.shard or layout.chunk)
        add_tomograms(path, context.axes, scan, kept, layout)
    else:
        remove(path / TOMOGRAMS)
        context.progress.warn("store", f"{path / TOMOGRAMS} is removed: the recipe does not keep tomograms any more")
    seals.drop(path, seals.COORDINATES)
    root.consolidate(path)
    for state in range(len(context.recipe.states)):
        unit = UnitKey(TOMOGRAMS, state)
        context.work.forget(unit)
        context.work.drop_records(unit)


def kept(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Keep a state's tomogram; of a state that was a tomogram already there is none."""
    made, params = context.scans.projections(unit.state) is not None, context.recipe.reconstruct
    if params is None:
        raise AssertionError(f"{unit.name} is asked for by the section [reconstruct] alone")
    window = None if isinstance(params.window, str) else params.window
    if made and params.window == "auto":
        low, high = context.result("reconstruct", unit.state)["window"].tolist()
        window = low, high
    planned = passes(params, window, made=made)
    inputs = {"raw": context.volume("raw", unit.state)} if made else {}
    context.passes(unit, planned, inputs, grid=context.plan.scan_blocks)
    return {}
