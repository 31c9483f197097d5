"""The scans of a recipe, opened, and what follows from their headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from crackdask.engine.block_plan import LARGEST_BLOCK, PassCost, Plan, plan_blocks
from crackdask.engine.cycler import Cycler
from crackdask.engine.fingerprints import fingerprints
from crackdask.engine.projection_costs import Projected
from crackdask.engine.recipe_warnings import (
    nothing_to_reconstruct,
    other_pixels,
    other_voxels,
    out_of_order,
    refuse_one_twice,
)
from crackdask.grid import Box, Triple
from crackdask.recipe.recipe import Recipe, RecipeError, ScannedState
from crackdask.schema import UnitKey
from crackdask.sources import NotThereError, Source, SourceError, open_source
from crackdask.sources.projections import Projections, is_projections, open_projections
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.storage.locations import PlaceError

#: Voxels of a stored volume from which on its chunks lie together in few files, unless the recipe says otherwise.
LARGE = 2**32


def is_large(shape: Triple) -> bool:
    """Tell whether the chunks of a volume are so many that they lie together in few files."""
    return prod(shape) >= LARGE


class ScansError(RecipeError):
    """Scans of a recipe cannot be used.

    Attributes
    ----------
    absent
        States whose scan is not there at all, perhaps not yet.
    unusable
        Whether any cannot be opened; else they do not go together.
    """

    def __init__(self, words: str, absent: Sequence[str], *, unusable: bool) -> None:
        super().__init__(words)
        self.absent, self.unusable = tuple(absent), unusable


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
        opened: list[Source | None] = []
        wrong: list[str] = []
        absent: list[str] = []
        for number, state in enumerate(recipe.states):
            found: Source | None = None
            try:
                found = opened_scan(recipe, state, base)
                if isinstance(found, Projections) and recipe.reconstruct:
                    found.check_axis(recipe.reconstruct.axes(len(recipe.states))[number])
            except (SourceError, PlaceError) as error:
                wrong.append(f"  states[{number}].source ({state.name}): {error}")
                absent += [state.name] if isinstance(error, NotThereError) else []
            opened.append(found)
        recipe, opened = _on_one_scale(recipe, opened)
        lines = [f"{len(wrong)} of {len(recipe.states)} scans cannot be used", *wrong] if wrong else []
        lines += _wrong_together(recipe, opened)
        cycler = None
        try:
            cycler = Cycler.of(recipe, base, opened)
        except (SourceError, PlaceError) as error:
            lines.append(f"  {error}")
        if lines:
            raise ScansError("\n".join(lines), absent, unusable=bool(wrong))
        sources = tuple(source for source in opened if source)
        (z0, z1), (y0, y1), (x0, x1) = recipe.crop_of(sources[0].shape)
        return cls(recipe, sources, Box((z0, y0, x0), (z1, y1, x1)), cycler)

    def projections(self, state: int) -> Projections | None:
        """Return a state's projections, or None where its scan is a tomogram already."""
        source = self.sources[state]
        return source if isinstance(source, Projections) else None

    @property
    def projected(self) -> list[Projected]:
        """What reconstruction takes, of each state whose scan is projections."""
        params = self.recipe.reconstruct or ReconstructParams()
        phase = params.phase.weight if params.phase else None
        axes = params.axes(len(self.sources))
        return [
            Projected(
                each.recorded.shape,
                each.recorded.dtype.itemsize,
                len(each.angles),
                params.rings,
                each.dtype.itemsize,
                phase,
                searched=axis == "auto",
                leveled=params.window == "auto" and state == self.recipe.reference,
            )
            for state, (each, axis) in enumerate(zip(self.sources, axes, strict=True))
            if isinstance(each, Projections)
        ]

    @property
    def unwritten(self) -> dict[str, str]:
        """What scans lack and the recipe takes for the fill value, by the names of their states."""
        states = zip(self.recipe.states, self.sources, strict=True)
        return {state.name: source.unwritten for state, source in states if source.unwritten}

    def doubts(self) -> list[str]:
        """Return what may be a mistake of the recipe's: other voxels, states out of order, a section without use."""
        return [
            *other_voxels(self.recipe, self.sources),
            *out_of_order(self.recipe),
            *nothing_to_reconstruct(self.recipe, self.sources),
            *other_pixels(self.recipe),
        ]

    @property
    def shape(self) -> Triple:
        """Shape of the stored volume."""
        return self.crop.shape

    def plan(self, workers: int) -> Plan:
        """Return the blocks for a number of workers."""
        widest = max((source.dtype for source in self.sources), key=lambda dtype: dtype.itemsize)
        costs = [PassCost("reconstruct", *cost) for each in self.projected for cost in each.pass_bytes.items()]
        return plan_blocks(self.recipe, self.sources[0].shape, self.shape, widest, workers, costs)

    def laid_out(self, there: Mapping[str, Any] | None) -> Scans:
        """Return the same with the shards that a store has, where the recipe leaves them open.

        Volumes of `LARGE` voxels and more are put into few files, if a block as large as a file fits the memory and the
        blocks that the recipe asks for. That rests on the recipe and the scans alone, so that it is the same with any
        number of workers. A store that exists stays as it is.

        Parameters
        ----------
        there
            The identity of a store that exists; None of one that is to be made.
        """
        compute = self.recipe.compute
        if compute.shard is not None:
            return self
        if there is not None:
            shard = there.get("shard")
            return self._with_shards(shard) if shard else self
        whole = tuple(max(c, LARGEST_BLOCK // c * c) for c in compute.chunk)
        fits = compute.block == "auto" or not any(b % s for b, s in zip(compute.block, whole, strict=True))
        if not is_large(self.shape) or not fits:
            return self
        sharded = self._with_shards(whole)
        try:
            sharded.plan(1)
        except RecipeError:  # there is memory for smaller blocks only
            return self
        return sharded

    def _with_shards(self, shard: Sequence[int]) -> Scans:
        compute = self.recipe.compute.model_copy(update={"shard": tuple(shard)})
        return replace(self, recipe=self.recipe.model_copy(update={"compute": compute}))

    @cached_property
    def fingerprints(self) -> dict[UnitKey, str]:
        """Fingerprint of every unit."""
        cycler = self.cycler.fingerprint() if self.cycler else ""
        return fingerprints(self.recipe, [source.fingerprint() for source in self.sources], self.shape, cycler)


def opened_scan(recipe: Recipe, state: ScannedState, base: Path) -> Source:
    """Open a state's scan, projections where the recipe says how they are to be reconstructed."""
    keys = recipe.reconstruct or ReconstructParams()
    if state.kind == "tomogram":
        return _slices(state, base)
    if state.kind == "auto" and not is_projections(state.source, base, keys):
        return open_source(state.source, base, state.missing)
    if recipe.reconstruct is None:
        raise SourceError(
            f"{state.source} holds projections, from which tomograms are yet to be made: add a section "
            "[reconstruct] to the recipe, which may be empty"
        )
    try:
        return open_projections(state.source, base, keys, state.missing)
    except SourceError as error:
        if state.kind == "auto" and not is_projections(state.source, base, ReconstructParams()):
            raise SourceError(
                f"{error} (taken for projections because [reconstruct] gives rotation_angle; if this state's source is "
                'a tomogram, say kind = "tomogram" in its [[states]])'
            ) from error
        raise


def _slices(state: ScannedState, base: Path) -> Source:
    """Open what the recipe calls a tomogram; frames that a file itself calls projections are none."""
    source = open_source(state.source, base, state.missing)
    if source.kind == "hdf5" and is_projections(state.source, base, ReconstructParams()):
        raise SourceError(
            f'{source.location}: the file says that these are projections, the recipe kind = "tomogram"; leave kind '
            "out, or name the slices as FILE::PATH"
        )
    return source


def _wrong_together(recipe: Recipe, opened: Sequence[Source | None]) -> list[str]:
    """Return what is wrong with the scans that could be opened, or with the recipe for them."""
    scans = [scan for scan in opened if scan]
    shapes = {source.shape for source in scans}
    lines = []
    if len(shapes) > 1:
        sizes = "".join(
            f"\n  {state.name}: {' x '.join(map(str, source.shape))}"
            for state, source in zip(recipe.states, opened, strict=True)
            if source
        )
        made = any(isinstance(scan, Projections) for scan in scans)
        axes = "z, y, x; of projections detector rows, columns, columns" if made else "z, y, x"
        lines.append(
            f"the scans have different shapes ({axes}):{sizes}\ncut or pad them to one shape, or leave a state out"
        )
    looks: list[Callable[[], object]] = [partial(refuse_one_twice, recipe, opened)]
    looks += [partial(_can_be_filled, recipe, scans)] if scans else []
    looks += [partial(recipe.crop_of, shape) for shape in shapes if len(shapes) == 1]
    for look in looks:
        try:
            look()
        except RecipeError as error:
            lines.append(str(error))
    return lines


def _on_one_scale(recipe: Recipe, opened: list[Source | None]) -> tuple[Recipe, list[Source | None]]:
    """Return recipe and scans without an open window where another scale is told.

    A state that was a tomogram already is on no window, and a grey window of the recipe is of attenuations: nobody
    knows the levels before the run.
    """
    made = all(scan is None or isinstance(scan, Projections) for scan in opened)
    if (made and recipe.grey.window == "auto") or recipe.reconstruct is None or recipe.reconstruct.window != "auto":
        return recipe, opened
    params = recipe.reconstruct.model_copy(update={"window": "none"})
    real = [replace(scan, dtype=np.dtype(params.stored)) if isinstance(scan, Projections) else scan for scan in opened]
    return recipe.model_copy(update={"reconstruct": params}), real


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
