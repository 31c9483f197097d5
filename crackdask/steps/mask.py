"""Particles against background: threshold, opening and closing, islands and holes (paper, 4.5).

The result does not depend on the blocks. The threshold is one number: given, or from the exact histogram of the whole
reference (of each state, with `per_state`). Opening and closing read as halo as far as they reach, and repeat the image
edge, never a block's. Islands and holes are judged by the size of the whole component: a block settles the components
that end inside it, and those that go on are united over the planes between blocks before anything is removed or filled.
A hole that touches the image edge or the outside of the scan is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, inner, padded, total
from crackdask.grid import Grid
from crackdask.kernels import components, union_find
from crackdask.kernels.level_counts import level_counts
from crackdask.kernels.morphology import opened_and_closed
from crackdask.kernels.thresholds import li, multiotsu, next_phase, otsu, triangle
from crackdask.schema import GREY_LEVELS, OUTSIDE
from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume


class MaskParams(BaseModel):
    """Parameters of the segmentation into particles and background."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    phase: Literal["bright", "dark"] = Field("bright", description="the phase that is sought")
    threshold: float | Literal["auto", "otsu", "li", "triangle", "multiotsu"] = Field(
        "auto",
        description="grey level, or the name of the method that finds it; auto: Otsu's, of three phases that between "
        "the sought one and the next",
    )
    per_state: bool = Field(False, description="a threshold for each state instead of the reference's")
    opening: int = Field(1, ge=0, le=10, description="radius of the opening, voxels")
    closing: int = Field(1, ge=0, le=10, description="radius of the closing, voxels")
    min_island: int = Field(50, ge=0, le=2**40, description="smaller islands are removed, voxels")
    max_hole: int = Field(5000, ge=0, le=2**40, description="enclosed holes up to this size are filled, voxels")
    classes: int = Field(3, ge=3, le=5, description="phases that multi-Otsu parts")
    threshold_class: int = Field(2, ge=1, le=4, description="which of their boundaries counts, from dark to bright")

    @field_validator("threshold")
    @classmethod
    def _in_range(cls, threshold: float | str) -> float | str:
        if not isinstance(threshold, str) and not 0 < threshold < GREY_LEVELS:
            raise ValueError(f"a grey level above 0 and below {GREY_LEVELS}, or the name of a method, not {threshold}")
        return threshold

    @field_validator("threshold_class")
    @classmethod
    def _between_classes(cls, boundary: int, others: ValidationInfo) -> int:
        classes = others.data.get("classes", boundary + 1)
        if boundary >= classes:
            raise ValueError(f"{classes} classes have {classes - 1} boundaries, so 1 to {classes - 1}, not {boundary}")
        return boundary

    @property
    def halo(self) -> int:
        """Voxels that opening and closing need around a block."""
        return 2 * (self.opening + self.closing)

    def deciding(self) -> dict[str, Any]:
        """Return the parameters that decide the result, as plain values; only multi-Otsu has classes."""
        unread = set() if self.threshold == "multiotsu" else {"classes", "threshold_class"}
        return self.model_dump(mode="json", exclude=unread)


def threshold_of(params: MaskParams, counts: Array) -> float:
    """Return the grey level above which voxels are bright, from the exact histogram of the denoised volume.

    Raises
    ------
    ThresholdError
        If the histogram cannot be parted as asked.
    """
    match params.threshold:
        case "auto":
            return next_phase(counts, params.phase == "bright")
        case "otsu":
            return otsu(counts)
        case "li":
            return li(counts)
        case "triangle":
            return triangle(counts)
        case "multiotsu":
            return multiotsu(counts, params.classes)[params.threshold_class - 1]
        case level:
            return float(level)


def passes(params: MaskParams) -> tuple[Pass, ...]:
    """Return the segmentation as passes: `denoised` and the table `threshold` to `mask` (bool)."""
    islands = _Sieve("islands", components.FULL, params.min_island - 1)
    holes = _Sieve("holes", components.FACES, params.max_hole)
    return (
        Pass(
            name="threshold",
            kernel=partial(_rough, params, islands),
            reads={"denoised": params.halo},
            writes={"rough": "uint8"},
            tables=("threshold",),
            makes=islands.tables,
            reduce=islands.unite,
            scratch=20,
        ),
        Pass(
            name="islands",
            kernel=partial(_without_islands, islands, holes),
            reads={"rough": 0},
            writes={"solid": "uint8"},
            tables=islands.tables,
            makes=holes.tables,
            reduce=holes.unite,
            scratch=20,
        ),
        Pass(
            name="holes",
            kernel=partial(_without_holes, holes),
            reads={"solid": 0},
            writes={"mask": "bool"},
            tables=holes.tables,
            makes=("mask_voxels", "scan_voxels"),
            reduce=_count,
            scratch=20,
        ),
    )


def threshold_pass(params: MaskParams) -> Pass:
    """Return the pass from `denoised` to the table `threshold`, the level that parts the whole volume."""
    return Pass(
        name="level",
        kernel=_count_levels,
        reads={"denoised": 0},
        makes=("threshold",),
        reduce=partial(_level_of_all, params),
        scratch=8,
    )


def _count_levels(block: Block) -> Result:
    return Result(tally={"counts": level_counts(block.read("denoised"))})


def _level_of_all(params: MaskParams, grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    return {"threshold": np.array(threshold_of(params, total(tallies, "counts")))}


@dataclass(frozen=True)
class _Sieve:
    """What finds small components, whole ones, and flips them: islands become background, holes solid.

    A block judges its components and flips those that are small and end in it, the reduction unites those that go on
    behind a wall, and the next pass flips what turned out to be small of them.

    Attributes
    ----------
    name
        Of the table that tells where the components are that are flipped.
    connectivity
        26 or 6.
    limit
        Components of at most this many voxels are flipped.
    """

    name: str
    connectivity: int
    limit: int

    @property
    def tables(self) -> tuple[str, str]:
        """The tables of the union: a voxel of each component to be flipped, and where those of each block begin."""
        return (self.name, f"{self.name}_offset")

    @property
    def is_of_solid(self) -> bool:
        """Tell whether the components are those of the solid, or those of all that is not."""
        return self.connectivity == components.FULL

    def judge(self, block: Block, voxels: Array) -> Tally:
        """Flip a block's small components, in place, and return what the union needs of those that go on."""
        shared = components.inner_sides(block.grid, block.number)
        settled = components.settle(voxels, self.is_of_solid, self.limit, self.connectivity, shared)
        return {"sizes": settled.sizes, "at": settled.at, **settled.sides}

    def flip(self, block: Block, voxels: Array) -> None:
        """Flip a block's components that go on and turned out to be small, in place, once the union has spoken."""
        at, offset = (block.table(name) for name in self.tables)
        own = at[offset[block.number] : offset[block.number + 1]]
        components.flip(voxels, own, self.is_of_solid, self.limit, self.connectivity)

    def unite(self, grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
        """Add up the components that cross block walls and tell where those are that are to be flipped.

        The blocks are read once, layer by layer along z, beside one plane of the layer before. Neighbours over an edge
        where walls of two axes meet lie on both of these walls' planes, so that a plane between the blocks of a layer
        may end with the layer: what goes on diagonally in the next is on the plane between the layers.
        """
        sizes: list[Array] = []
        at: list[Array] = []
        offset, parent, before = np.zeros(len(grid) + 1, np.int64), np.arange(1), None
        diagonal = self.connectivity == components.FULL
        across = grid.counts[1] * grid.counts[2]
        for place in range(grid.counts[0]):
            layer = {number: tallies[number] for number in range(place * across, (place + 1) * across)}
            for number, tally in layer.items():
                sizes.append(tally["sizes"])
                at.append(tally["at"])
                offset[number + 1] = offset[number] + len(tally["sizes"])
            parent = np.concatenate([parent, np.arange(parent.size, offset[(place + 1) * across] + 1)])
            if before is not None:
                components.join_planes(parent, before, _plane(grid, layer, offset, 0, place, 0), diagonal)
            for axis in (1, 2):
                for seam in range(grid.counts[axis] - 1):
                    low = _plane(grid, layer, offset, axis, seam, 1)
                    high = _plane(grid, layer, offset, axis, seam + 1, 0)
                    components.join_planes(parent, low, high, diagonal)
            before = _plane(grid, layer, offset, 0, place, 1) if place < grid.counts[0] - 1 else None
        root = union_find.roots(parent)
        # The node of all that is kept is too large, and so is what is joined to it.
        weights = np.concatenate([np.array([self.limit + 1]), *sizes])
        voxels = np.bincount(root, weights=weights, minlength=len(parent))
        small = (voxels[root] <= self.limit)[1:]
        flipped = np.concatenate([[0], np.cumsum(small)])
        return dict(zip(self.tables, (np.concatenate(at)[small], flipped[offset]), strict=True))


def _plane(grid: Grid, layer: Mapping[int, Tally], offset: Array, axis: int, place: int, end: int) -> Array:
    """Return one side of the plane between two blocks of a layer, or below or above all of it, as node numbers."""
    others = [a for a in range(3) if a != axis]
    boxes = {number: grid.box(number) for number in layer if grid.position(number)[axis] == place}
    start = [min(box.start[a] for box in boxes.values()) for a in others]
    stop = [max(box.stop[a] for box in boxes.values()) for a in others]
    plane = np.full([b - a for a, b in zip(start, stop, strict=True)], components.ABSENT, np.int64)
    for number, box in boxes.items():
        codes = layer[number][components.SIDES[2 * axis + end]].astype(np.int64)
        codes[codes > 0] += offset[number]
        at = tuple(slice(box.start[a] - s, box.stop[a] - s) for a, s in zip(others, start, strict=True))
        plane[at] = codes
    return plane


def _rough(params: MaskParams, islands: _Sieve, block: Block) -> Result:
    grey = padded(block, "denoised", params.halo, mode="edge")
    level = min(int(block.table("threshold")), GREY_LEVELS - 1)  # grey levels are whole
    inside = grey != OUTSIDE
    phase = (grey > level if params.phase == "bright" else grey <= level) & inside
    rough = opened_and_closed(phase, params.opening, params.closing)
    voxels = np.where(inner(inside, params.halo), inner(rough, params.halo), np.uint8(components.BEYOND))
    return Result({"rough": voxels}, islands.judge(block, voxels))


def _without_islands(islands: _Sieve, holes: _Sieve, block: Block) -> Result:
    voxels = np.array(block.read("rough"))
    islands.flip(block, voxels)
    return Result({"solid": voxels}, holes.judge(block, voxels))


def _without_holes(holes: _Sieve, block: Block) -> Result:
    voxels = np.array(block.read("solid"))
    holes.flip(block, voxels)
    mask = voxels == components.SOLID
    counts = np.array([np.count_nonzero(mask), mask.size - np.count_nonzero(voxels == components.BEYOND)])
    return Result({"mask": mask}, {"counts": counts})


def _count(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    mask, scan = total(tallies, "counts")
    return {"mask_voxels": np.array(mask), "scan_voxels": np.array(scan)}


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes(setting.parameters["mask"])


STEP = Step(
    name="mask",
    stage=Stage.STATES,
    parameters=MaskParams,
    sections=("mask",),
    version=2,  # of three phases, the sought one and the next are parted by default
    facts=("fill",),
    needs=(("denoise", Of.ITSELF), ("denoise", Of.REFERENCE)),
    reads=(("denoised", Of.ITSELF),),
    writes={"mask": Volume("bool", 0.02, kept="on request")},
    internal={"rough": Volume("uint8"), "solid": Volume("uint8")},
    passes=_planned,
    seconds_per_megavoxel=0.02,
)
