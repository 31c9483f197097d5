"""Size, shape, grey level, shells and contacts of every particle (paper, 4.6).

The result does not depend on the blocks. Every block counts its own voxels, faces and 2x2x2 cells,
in integers, and integers add up to the same sums in any order; each voxel, face and cell has
exactly one owner. A voxel's depth is exact, because the halo is as wide as the deepest particle is
deep; and what grey levels are blurred by, where states differ in sharpness, is one number for a
state, applied in whole numbers with a halo as wide as the blur. Lengths, areas and percentiles are
computed once, from the merged integers, and a particle's row does not depend on the other rows.
`measure.md` says what equals GRAPES, the published toolkit, and what does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
from pydantic import BaseModel, ConfigDict

from crackdask.blocks.passes import Ahead, Array, Block, Pass, Result, Tables, Tally, inner, padded, share
from crackdask.grid import Box, Edges, Grid
from crackdask.kernels.depth_in_mask import square_weights
from crackdask.kernels.depth_in_particles import squared_depth
from crackdask.kernels.gaussian import gaussian, radius
from crackdask.kernels.level_counts import near_level
from crackdask.kernels.tally import tally
from crackdask.schema import OUTSIDE, SHELLS
from crackdask.steps.declaration import LABELLING, Of, Setting, Stage, Step, Volume
from crackdask.steps.particle_columns import CONTACTS, MEASURED, Groups, Merging, contacts, finalise, survey
from crackdask.steps.particle_motion import NOTHING_COMPARED, ShiftSums, compare, passes_again

#: Ranges of particles whose tables are made in one reading of the blocks' tallies; they are held meanwhile.
AT_ONCE = 2
#: Runs a function over ranges of particles.
Apply = Callable[[Callable[["SomeRanges"], None], Sequence["SomeRanges"]], Iterable[None]]
#: The strongest blur that a run may measure with, in voxels, for which memory is planned.
MOST_BLUR = 2.0


class TooDeepError(ValueError):
    """A particle is deeper than was planned for; nothing is counted, for its shells would be wrong.

    Attributes
    ----------
    particle, deepest
        The particle, and the depth in voxels that was planned for.
    """

    def __init__(self, particle: int, deepest: int) -> None:
        super().__init__(particle, deepest)
        self.particle, self.deepest = particle, deepest

    def __str__(self) -> str:
        return (
            f"particle {self.particle} is deeper than the {self.deepest} voxels that were planned for: "
            "measure with a larger bound"
        )


class MeasureParams(BaseModel):
    """Parameters of the measurement: there is nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def passes(
    params: MeasureParams, voxel_um: Edges, deepest: int, blur: float = 0.0, *, compared: bool = False
) -> tuple[Pass, ...]:
    """Return the one pass that counts, without the reduction that ends it; its tallies are for :func:`finalise`.

    `deepest` is an upper bound, in smallest voxel edges, of the depth of any particle: no voxel is
    further than that from its own particle's surface. A particle that is deeper is an error, never
    a wrong number.

    `blur` is the standard deviation, in voxels, of a Gaussian by which grey levels are blurred before they are counted;
    0 for none. Voxels outside the scan stay outside, and weigh nothing; the image is reflected at its edge.

    `compared` also leaves the sums that tell how far particles moved (`particle_motion.compare`); `reference_grey` is
    read then.
    """
    if deepest < 1:
        raise ValueError(f"deepest is {deepest} voxels, but a particle is at least 1 deep")
    reads = {"grey": Ahead(deepest + 1, _around(blur)), "label": Ahead(deepest + 1, deepest + 1)}
    if compared:
        reads["reference_grey"] = Ahead(deepest + 1, 1)
    kernel = partial(_measure, voxel_um, deepest, blur, compared)
    return (Pass(name="particle_sums", kernel=kernel, reads=reads, scratch=12 if compared else 10),)


def passes_to_tables(
    params: MeasureParams,
    voxel_um: Edges,
    deepest: int,
    ids: Array | range,
    shells: int | None = None,
    blur: float = 0.0,
) -> tuple[Pass, ...]:
    """Return the same pass, ended by a reduction to tables named ``particles.voxels``, ``shells.grey_sum`` and so on.

    For crops that fit memory.
    """
    (counted,) = passes(params, voxel_um, deepest, blur)
    names = [
        *(f"particles.{name}" for name in MEASURED),
        *(f"shells.{name}" for name in SHELLS),
        "histograms.voxels",
        *(f"contacts.{name}" for name in CONTACTS),
    ]
    reduce = partial(_to_tables, voxel_um, ids, shells)
    return (replace(counted, makes=tuple(names), reduce=reduce),)


def passes_in_ranges(
    params: MeasureParams,
    voxel_um: Edges,
    deepest: int,
    ranges: Sequence[range],
    put: Callable[[range, Groups], None],
    blur: float = 0.0,
    apply: Apply = map,
    *,
    compared: bool = False,
) -> tuple[Pass, ...]:
    """Return the same pass, ended by a reduction that hands the tables of each range of ids to `put`.

    No more than the sums of `AT_ONCE` ranges, one range's tables and one block's tally are in memory at a time. The
    pass itself makes `shells`, the width of all shell tables, the columns of :func:`contacts`, and `corners`, see
    `particle_columns.Survey`; where states are `compared` also `shift_sums`, (particle, sum). `apply` runs a function
    over :class:`SomeRanges`: `map`, or one that hands them to workers, on which `put` is called then.
    """
    (counted,) = passes(params, voxel_um, deepest, blur, compared=compared)
    reduce = partial(_by_ranges, voxel_um, ranges, put, apply, compared)
    sums = ("shift_sums",) if compared else ()
    return (replace(counted, makes=("shells", "corners", *sums, *CONTACTS), reduce=reduce),)


@dataclass(frozen=True)
class SomeRanges:
    """Ranges of particles whose tables are made in one reading of the tallies that name them.

    Attributes
    ----------
    box
        The whole volume, for who tells where something failed.
    tallies, ranges, named_in
        Those of all blocks, the ranges, and for each the numbers of the tallies that name one of its particles.
    voxel_um, shells
        Voxel edges (z, y, x), and the width of the shell tables.
    put
        Is handed each range with its tables.
    """

    box: Box
    tallies: Sequence[Tally]
    ranges: Sequence[range]
    named_in: Sequence[Sequence[int]]
    voxel_um: Edges
    shells: int
    put: Callable[[range, Groups], None]


def make_tables(some: SomeRanges) -> None:
    """Make the tables of some ranges of particles, and hand them on."""
    named = [set(numbers) for numbers in some.named_in]
    merging = [Merging(ids, some.voxel_um, some.shells) for ids in some.ranges]
    for number in sorted(set().union(*named)):
        tally = some.tallies[number]
        for merged, numbers in zip(merging, named, strict=True):
            if number in numbers:
                merged.add(tally)
    for ids in some.ranges:
        some.put(ids, merging.pop(0).groups())


def _by_ranges(
    voxel_um: Edges,
    ranges: Sequence[range],
    put: Callable[[range, Groups], None],
    apply: Apply,
    compared: bool,
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    # Particles are numbered along z, so that some ranges of them lie in few blocks, and only theirs are read again.
    sums = ShiftSums(max((ids.stop for ids in ranges), default=1) - 1)
    found = survey(sums.added(tallies) if compared else tallies, ranges, voxel_um)
    whole, parts = Box.whole(grid.shape), [slice(k, k + AT_ONCE) for k in range(0, len(ranges), AT_ONCE)]
    jobs = [SomeRanges(whole, tallies, ranges[p], found.named_in[p], voxel_um, found.shells, put) for p in parts]
    for _ in apply(make_tables, jobs):
        pass
    moved = {"shift_sums": sums.total} if compared else {}
    return {"shells": np.array(found.shells), "corners": found.corners, **moved, **found.contacts}


def _to_tables(
    voxel_um: Edges,
    ids: Array | range,
    shells: int | None,
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    groups = finalise(tallies, ids, voxel_um, shells)
    groups["contacts"] = contacts(tallies, voxel_um)
    return {f"{group}.{name}": v for group, columns in groups.items() for name, v in columns.items()}


def _around(blur: float) -> int:
    """Return how many voxels around what is counted grey levels are read."""
    return max(radius(blur), 1) if blur else 1


def _measure(voxel_um: Edges, deepest: int, blur: float, compared: bool, block: Block) -> Result:
    halo, shape = deepest + 1, block.grid.shape
    own = share(block, halo)
    squared, unit = square_weights(voxel_um)
    if not own.size:
        nothing = tally(*_nothing(), unit, own.start, shape)
        return Result(tally={**nothing, **NOTHING_COMPARED} if compared else nothing)
    outer = own.grow(halo, within=shape)
    label = np.ascontiguousarray(block.read_box("label", outer))
    inside = own.within(outer)
    edges = tuple((a == 0, b == n) for a, b, n in zip(outer.start, outer.stop, shape, strict=True))
    depth = squared_depth(label, inside, edges, squared, unit, deepest)
    if int(depth.max(initial=0)) > unit * deepest**2:
        raise TooDeepError(int(label[inside].flat[int(depth.argmax())]), deepest)
    rim = own.grow(1, within=shape)
    around = np.zeros([n + 2 for n in own.shape], label.dtype)
    place = tuple(slice(a - o + 1, b - o + 1) for a, b, o in zip(rim.start, rim.stop, own.start, strict=True))
    around[place] = label[rim.within(outer)]
    grey = block.read_box("grey", rim)
    at = own.within(rim)
    invalid = near_level(grey, at, OUTSIDE)
    counted = _blurred(block, own, blur) if blur else grey[at]
    found = tally(around, counted, invalid, depth, unit, own.start, shape)
    return Result(tally={**found, **compare(block, own, label[inside], grey)} if compared else found)


def _nothing() -> tuple[Array, Array, None, Array]:
    """Return labels, grey levels and depth of no voxel."""
    return np.zeros((2, 2, 2), np.uint32), np.zeros((0, 0, 0), np.uint8), None, np.zeros((0, 0, 0), np.uint16)


def _blurred(block: Block, own: Box, blur: float) -> Array:
    grey = padded(block, "grey", radius(blur), mode="reflect", own=own)
    counted = inner(grey, radius(blur))
    return gaussian(grey, blur, OUTSIDE) if counted.any() else counted


def _planned(setting: Setting) -> tuple[Pass, ...]:
    deepest = ceil(setting.parameters["labels"].max_radius)
    matched = setting.parameters["grey"].match_sharpness != "none"
    blur = MOST_BLUR if matched else 0.0
    counted = passes(setting.parameters["measure"], setting.voxel_um, deepest, blur, compared=True)
    return (*counted, *passes_again(1, 0))


STEP = Step(
    name="measure",
    stage=Stage.TABLES,
    parameters=MeasureParams,
    version=4,  # particles do not follow what stretches the scan around them
    sections=("measure", "grey.match_sharpness"),
    facts=("voxel_um",),
    needs=(
        (LABELLING, Of.ITSELF),
        (LABELLING, Of.REFERENCE),
        ("grey", Of.ITSELF),
        ("grey", Of.REFERENCE),
        ("register", Of.ITSELF),
        ("sharpness", Of.ALL),
    ),
    reads=(("grey", Of.ITSELF), ("label", Of.ITSELF), ("grey", Of.REFERENCE)),
    aliases={"reference_grey": "grey"},
    # The tables of a state on their way into the store; they lie where work volumes lie, and go like them.
    writes={"tables": Volume(dtype=None)},
    passes=_planned,
    seconds_per_megavoxel=0.05,
)
