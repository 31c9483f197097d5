"""What may be a mistake of a valid recipe: one scan twice, other voxels, states out of order, a section without use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from crackdask.recipe.recipe import Recipe, RecipeError
from crackdask.sources import Source, stated_voxel_um
from crackdask.storage.locations import place


def refuse_one_twice(recipe: Recipe, scans: Sequence[Source | None]) -> None:
    """Raise if two states have the same scan, under whatever names: it would be compared with itself.

    Scans that could not be opened are None.
    """
    seen: dict[tuple[Any, ...], str] = {}
    for number, (state, scan) in enumerate(zip(recipe.states, scans, strict=True)):
        if scan is None:
            continue
        where = place(scan.location)
        if isinstance(where, Path):
            file = where.stat()
            key: tuple[Any, ...] = (file.st_dev, file.st_ino or str(where.resolve()), scan.inner)
        else:
            key = (scan.location, scan.inner)
        if key in seen:
            raise RecipeError(
                f"states[{number}].source ({state.name}): the same scan as that of state {seen[key]!r}, "
                f"{scan.location}; correct one of the two, or leave a state out"
            )
        seen[key] = state.name


def other_voxels(recipe: Recipe, scans: Sequence[Source]) -> Iterator[str]:
    """Yield each scan whose own metadata tell another size of its voxels than the recipe."""
    said = recipe.experiment.voxel_um
    for state, scan in zip(recipe.states, scans, strict=True):
        own = stated_voxel_um(scan)
        if own and any(abs(a - b) > 0.01 * b for a, b in zip(own, said, strict=True)):
            sizes = [" x ".join(f"{edge:g}" for edge in edges) for edges in (own, said)]
            yield (
                f"{state.name}: its file says that a voxel is {sizes[0]} um, the recipe {sizes[1]} um; correct "
                "voxel_um, or leave the scan out if it is of another magnification"
            )


def out_of_order(recipe: Recipe) -> Iterator[str]:
    """Yield each state that does not follow from the one before it."""
    for before, state in pairwise(recipe.states):
        rise = state.voltage - before.voltage
        if (state.step == "charge" and rise < 0) or (state.step == "discharge" and rise > 0):
            yield (
                f"{state.name}: a {state.step}, yet its voltage, {state.voltage:g} V, is "
                f"{'below' if rise < 0 else 'above'} the {before.voltage:g} V of {before.name} before it; are two "
                "states or voltages exchanged?"
            )
        if state.cycle < before.cycle:
            yield (
                f"{state.name}: of cycle {state.cycle}, after {before.name} of cycle {before.cycle}; states stand in "
                "electrochemical order"
            )


def nothing_to_reconstruct(recipe: Recipe, scans: Sequence[Source]) -> Iterator[str]:
    """Yield that a section is of no use: it says how slices are made, and every scan is slices already."""
    if recipe.reconstruct is not None and not any(scan.kind == "projections" for scan in scans):
        yield (
            "[reconstruct]: no state's source is projections, so nothing is reconstructed; leave the section out, or "
            'say kind = "projections" in the [[states]] whose source is frames'
        )


def other_pixels(recipe: Recipe) -> Iterator[str]:
    """Yield that phase is retrieved for pixels of another size than the voxels that are made of them."""
    phase, edges = recipe.reconstruct.phase if recipe.reconstruct else None, recipe.experiment.voxel_um
    if phase is not None and any(abs(edge - phase.pixel_um) > 0.01 * edge for edge in edges):
        yield (
            f"[reconstruct] phase: pixel_um is {phase.pixel_um:g}, but voxel_um is "
            f"{' x '.join(f'{edge:g}' for edge in edges)}; a voxel is as large as a pixel at the sample: correct one"
        )
