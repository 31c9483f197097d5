"""The scans of a recipe, opened, and what follows from their headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from crackdask.engine.block_plan import PassCost, Plan, Projected, plan_blocks
from crackdask.engine.cycler import Cycler
from crackdask.engine.doubts import other_voxels, out_of_order, refuse_one_twice
from crackdask.engine.work_units import fingerprints
from crackdask.grid import Box, Triple
from crackdask.recipe.recipe import Recipe, RecipeError, ScannedState
from crackdask.schema import UnitKey
from crackdask.sources import Source, SourceError, open_source
from crackdask.sources.projections import Projections, is_projections, open_projections
from crackdask.steps.reconstruct import slab_bytes, slab_rows
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.storage.locations import PlaceError


@dataclass(frozen=True)
class Scans:
    """The opened scans of a recipe and what follows from their headers alone."""

    recipe: Recipe
    sources: tuple[Source, ...]
    crop: Box
    cycler: Cycler | None = None

    @classmethod
    def of(cls, recipe: Recipe, base: Path) -> Scans:
        """Open every scan of a recipe; no voxel is read.

        Raises
        ------
        RecipeError
            If a scan cannot be used, naming every one, or two states have the same.
        """
        opened: list[Source] = []
        wrong: list[str] = []
        for number, state in enumerate(recipe.states):
            try:
                opened.append(_opened(recipe, state, base))
            except (SourceError, PlaceError) as error:
                wrong.append(f"  states[{number}].source ({state.name}): {error}")
        try:
            cycler = Cycler.of(recipe, base, tuple(opened))
        except (SourceError, PlaceError) as error:
            raise RecipeError(f"  {error}") from None
        if wrong:
            raise RecipeError("\n".join([f"{len(wrong)} of {len(recipe.states)} scans cannot be used", *wrong]))
        shapes = {source.shape for source in opened}
        if len(shapes) > 1:
            sizes = "".join(
                f"\n  {state.name}: {' x '.join(map(str, source.shape))}"
                for state, source in zip(recipe.states, opened, strict=True)
            )
            raise RecipeError(
                f"the scans have different shapes (z, y, x):{sizes}\ncut or pad them to one shape, or leave a state out"
            )
        refuse_one_twice(recipe, opened)
        _can_be_filled(recipe, opened)
        limits = recipe.crop_of(opened[0].shape)
        (z0, z1), (y0, y1), (x0, x1) = limits
        return cls(recipe, tuple(opened), Box((z0, y0, x0), (z1, y1, x1)), cycler)

    def projections(self, state: int) -> Projections | None:
        """Return a state's projections, or None where its scan is a tomogram already."""
        source = self.sources[state]
        return source if isinstance(source, Projections) else None

    @property
    def projected(self) -> list[Projected]:
        """What reconstruction takes, of each state whose scan is projections."""
        found = [self.projections(state) for state in range(len(self.sources))]
        return [Projected(each.recorded.shape, each.recorded.dtype.itemsize) for each in found if each]

    @property
    def unwritten(self) -> dict[str, str]:
        """What scans lack and the recipe takes for the fill value, by the names of their states."""
        states = zip(self.recipe.states, self.sources, strict=True)
        return {state.name: source.unwritten for state, source in states if source.unwritten}

    def doubts(self) -> list[str]:
        """Return what may be a mistake of the recipe's: voxels of another size, states out of order."""
        return [*other_voxels(self.recipe, self.sources), *out_of_order(self.recipe)]

    @property
    def shape(self) -> Triple:
        """Shape of the stored volume."""
        return self.crop.shape

    def plan(self, workers: int) -> Plan:
        """Return the blocks for a number of workers."""
        widest = max((source.dtype for source in self.sources), key=lambda dtype: dtype.itemsize)
        frames = [each.recorded.shape for each in self.sources if isinstance(each, Projections)]
        costs = [PassCost("reconstruct", "slices", slab_bytes(shape, slab_rows(shape))) for shape in frames]
        return plan_blocks(self.recipe, self.sources[0].shape, self.shape, widest, workers, costs)

    @cached_property
    def fingerprints(self) -> dict[UnitKey, str]:
        """Fingerprint of every unit."""
        cycler = self.cycler.fingerprint() if self.cycler else ""
        return fingerprints(self.recipe, [source.fingerprint() for source in self.sources], self.shape, cycler)


def _opened(recipe: Recipe, state: ScannedState, base: Path) -> Source:
    """Open a state's scan, projections where the recipe says how they are to be reconstructed."""
    if is_projections(state.source, base, recipe.reconstruct or ReconstructParams()):
        if recipe.reconstruct is None:
            raise SourceError(
                f"{state.source} holds projections, from which tomograms are yet to be made: add a section "
                "[reconstruct] to the recipe, which may be empty"
            )
        return open_projections(state.source, base, recipe.reconstruct, state.missing)
    return open_source(state.source, base, state.missing)


def _can_be_filled(recipe: Recipe, scans: Sequence[Source]) -> None:
    """Raise if no voxel of any scan could ever be what marks voxels outside the measured field."""
    fill = recipe.experiment.fill
    if fill is None or any(_may_hold(scan.dtype, fill) for scan in scans):
        return  # NaN may mark them in the scans of real numbers, and nothing in the others
    state, dtype = recipe.states[0].name, scans[0].dtype
    raise RecipeError(
        f"experiment.fill: {fill:g} is nothing that {dtype} voxels can be, as those of state {state!r} are; "
        "correct it, or leave it out"
    )


def _may_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Tell whether a voxel of a type can have a value."""
    if dtype.kind == "f":
        return not isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return isfinite(value) and value == int(value) and limits.min <= value <= limits.max
