"""What the two steps that label particles share: depth, basins and saddles of one state.

Volumes: ``mask`` bool; ``depth`` uint16, the smoothed distance to the mask's surface in 1/64 of the smallest voxel
edge; ``basin`` uint32, for each voxel which of its block's path ends it leads to, which only the tables
``basin_of_code`` and ``code_offsets`` turn into a number that means the same in every block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt

import numpy as np

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, core, window, window_ahead, writable
from crackdask.grid import Box, Edges, Grid, Halo, Triple
from crackdask.kernels import basin_merging, depth_in_mask
from crackdask.kernels import watershed as kernels
from crackdask.kernels.saddles import saddles
from crackdask.steps.basin_paths import BasinPaths
from crackdask.steps.declaration import Volume

BASIN_TABLES = ("basin_of_code", "code_offsets")
#: What a labelling step leaves, and what only its own passes read.
LABELLED = {"depth": Volume("uint16", 1.0), "label": Volume("uint32", 0.06, kept="always")}
BASINS = {"basin": Volume("uint32", 0.45)}
_FIRST_RADIUS = 13  # voxels; most blocks need no wider halo
_AROUND = 2  # voxels whose depth shows where paths enter a block


def depth_pass(smoothing: float, max_radius: int, voxel_um: Edges) -> Pass:
    """Return the pass from mask to depth.

    The image border is no surface. Squared distances are integers and smoothing weights too, so a value can depend on
    the block only through the halo; that is widened until every distance in the block and the reach of the smoothing is
    below it, or is `max_radius` voxels (of the smallest edge), where distances are capped for every block alike.

    Makes ``deepest``, the largest distance in voxels, rounded up, and ``capped_voxels``, how many voxels were capped.
    """
    search = _Search.of(smoothing, max_radius, voxel_um)
    return Pass(
        name="depth",
        kernel=partial(_measure_depth, search=search),
        reads={"mask": search.widest},
        writes={"depth": "uint16"},
        makes=("deepest", "capped_voxels"),
        scratch=search.scratch,
        reduce=_deepest,
    )


def ascent_pass(smoothing: float, max_radius: int, voxel_um: Edges) -> Pass:
    """Return the pass from mask to depth, as :func:`depth_pass`, and to basins, one for every peak.

    Every voxel points to its highest 26-neighbour, ties going to the larger global index; depth of a halo of 2 shows
    where the neighbours' voxels point, so each block knows where paths leave it and where they enter. The reduction
    follows them from block to block until nothing changes, hence to the peaks of the whole volume.

    Makes what the pass to depth makes, ``peaks`` (global index (z * Y + y) * X + x, ascending; basin 1 is the first),
    ``peak_depth``, and ``basin_of_code`` with ``code_offsets``, by which a block's codes become basins.
    """
    search = _Search.of(smoothing, max_radius, voxel_um)
    return Pass(
        name="ascent",
        kernel=partial(climb, search=search),
        reads={"mask": search.widest + _AROUND},
        writes={"depth": "uint16", "basin": "uint32"},
        makes=("deepest", "capped_voxels", "peaks", "peak_depth", *BASIN_TABLES),
        scratch=max(search.scratch, 6),
        reduce=join_basins,
    )


def read_basins(block: Block, box: Box) -> Array:
    """Return basin numbers of the voxels of a box, each part translated by the block that wrote it."""
    basins = writable(block.read_box("basin", box))
    for part, names in codes_within(block, box):
        kernels.look_up(basins, names, basins, part)
    return basins


def codes_within(block: Block, box: Box) -> Iterator[tuple[tuple[slice, slice, slice], Array]]:
    """Yield the part of a box that each block wrote, as an index into the box, and the basins of its codes."""
    offsets, names = block.table("code_offsets"), block.table("basin_of_code")
    for number in block.grid.touching(box):
        part = block.grid.box(number).intersect(box)
        if part is None:
            raise RuntimeError("a touching block shares voxels")
        yield part.within(box), names[offsets[number] : offsets[number + 1]]


def tally_saddles(block: Block, nodes: Array) -> Tally:
    """Return the highest saddle of every pair of nodes that touch in :func:`window_ahead`, of which `nodes` are."""
    pairs, heights = saddles(nodes, block.read_box("depth", window_ahead(block)), (0, 0, 0), nodes.shape)
    return {"pairs": pairs, "saddles": heights}


def fold_saddles(tallies: Sequence[Tally]) -> tuple[Array, Array]:
    """Merge the blocks' saddles; the maximum does not mind the order or a pair that is met twice."""
    return basin_merging.fold(((t["pairs"], t["saddles"]) for t in tallies), how=np.maximum)


def global_index(flat: Array, outer: Box, shape: Triple) -> Array:
    """Return the index into the whole flat volume of voxels given by their index into a flat window."""
    z, y, x = np.unravel_index(flat, outer.shape)
    return np.asarray(
        np.ravel_multi_index(tuple(a + s for a, s in zip((z, y, x), outer.start, strict=True)), shape),
        np.int64,
    )


def corner(part: tuple[slice, slice, slice]) -> Triple:
    """Return where an index into an array starts."""
    z, y, x = (s.start for s in part)
    return (z, y, x)


@dataclass(frozen=True)
class _Search:
    """How depth is measured: how far a distance and the smoothing reach; weights as in ``square_weights``."""

    weights: Triple
    unit: int
    taps: tuple[Array, Array, Array]
    max_radius: int

    @classmethod
    def of(cls, smoothing: float, max_radius: int, voxel_um: Edges) -> _Search:
        """Return how depth is measured with some parameters of the labels."""
        weights, unit = depth_in_mask.square_weights(voxel_um)
        z, y, x = (depth_in_mask.gaussian_taps(smoothing * (unit / w) ** 0.5) for w in weights)
        return cls(weights, unit, (z, y, x), max_radius)

    @property
    def widest(self) -> int:
        """Voxels that are read around those whose depth is wanted, at most."""
        return max(self.halo(self.max_radius, 0))

    @property
    def scratch(self) -> int:
        """Bytes of a voxel's squared distance and depth."""
        return 4 if 2 * self.max_radius**2 * self.unit < 1 << 16 else 8

    def smooth(self, around: int) -> Triple:
        """Voxels along (z, y, x) by which the smoothing reaches beyond a block and what is around it."""
        z, y, x = (taps.size - 1 + around for taps in self.taps)
        return (z, y, x)

    def halo(self, radius: int, around: int) -> Triple:
        """Voxels along (z, y, x) within which a distance of `radius` is exact, plus the reach of the smoothing."""
        reach = (isqrt(radius * radius * self.unit // w) for w in self.weights)
        z, y, x = (r + s for r, s in zip(reach, self.smooth(around), strict=True))
        return (z, y, x)

    def depth(self, block: Block, around: int, likely: int) -> tuple[Array, Tally]:
        """Return the depth of a block and some voxels around it, and what is told of the block's own.

        With the depth that is `likely` the largest, in voxels, the search need not begin anew.
        """
        radius = min(max(_FIRST_RADIUS, likely), self.max_radius)
        if window(block, self.halo(radius, around)) == window(block, self.halo(self.max_radius, around)):
            radius = self.max_radius
        near = window(block, self.smooth(around))
        while True:
            halo: Halo = self.halo(radius, around)
            mask = block.read("mask", halo)
            cap = radius * radius * self.unit
            squares = depth_in_mask.squared_distance(mask, self.weights, cap)
            wanted = near.within(window(block, halo))
            if radius == self.max_radius or int(squares[wanted].max()) < cap:
                break
            radius = min(2 * radius, self.max_radius)
        own = squares[core(block, halo)]
        tally = {
            "deepest": np.array([int(own.max())], np.int64),
            "capped": np.array([np.count_nonzero(own >= cap) if radius == self.max_radius else 0], np.int64),
            "unit": np.array([self.unit], np.int64),
        }
        asked = window(block, around).within(window(block, halo))
        shift = 15 - (depth_in_mask.STEPS_PER_VOXEL * self.max_radius).bit_length() + 1
        depth = depth_in_mask.depth_of_squares(squares, self.unit, depth_in_mask.STEPS_PER_VOXEL << shift)
        return depth_in_mask.smooth(depth, mask[asked], self.taps, corner(asked), shift), tally


def _measure_depth(block: Block, *, search: _Search) -> Result:
    depth, tally = search.depth(block, 0, 0)
    return Result({"depth": depth}, tally)


def _deepest(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    squares, capped, unit = 0, 0, 1
    for tally in tallies:
        squares = max(squares, int(tally["deepest"][0]))
        capped += int(tally["capped"][0])
        unit = int(tally["unit"][0])
    deepest = isqrt(max(squares - 1, 0) // unit) + 1 if squares else 0
    return {"deepest": np.array([deepest], np.int64), "capped_voxels": np.array([capped], np.int64)}


def climb(block: Block, *, search: _Search, likely: int = 0) -> Result:
    """Measure depth, which is likely that large at most, and follow every voxel's path upwards, to a peak or out."""
    depth, tally = search.depth(block, _AROUND, likely)
    outer = window(block, 1)
    start = corner(outer.within(window(block, _AROUND)))
    pointers = kernels.steepest(depth, start, outer.shape)
    own = block.grid.box(block.number)
    inner = corner(own.within(outer))
    codes, ends, entered, entered_codes = kernels.follow(pointers, inner, own.shape)
    z, y, x = np.unravel_index(ends, outer.shape)
    heights = depth[z + start[0], y + start[1], x + start[2]]
    for at, first, size in zip((z, y, x), inner, own.shape, strict=True):
        heights[(at < first) | (at >= first + size)] = 0
    paths = {
        "ends": global_index(ends, outer, block.grid.shape),
        "heights": heights,  # 0 where a path leaves the block
        "entered": global_index(entered, outer, block.grid.shape),
        "entered_codes": entered_codes,
    }
    return Result({"depth": np.ascontiguousarray(depth[core(block, _AROUND)]), "basin": codes}, {**tally, **paths})


def join_basins(grid: Grid, tallies: Iterable[Tally], tables: Tables) -> Tables:
    """Follow paths from block to block to the peaks, and number those; each tally is asked for once."""
    paths, depths = BasinPaths(grid), []
    for number, tally in enumerate(tallies):
        paths.add(number, tally)
        depths.append({name: tally[name] for name in ("deepest", "capped", "unit")})
    return {**paths.joined(), **_deepest(grid, depths, tables)}


def carried_tables(tallies: Sequence[Tally], count: int) -> dict[str, Array]:
    """Return what a transfer starts from: the largest depth of labels 0..count, and no lost seed."""
    depths: Array = np.zeros(count + 1, np.uint16)
    for tally in tallies:
        np.maximum.at(depths, tally["labels"], tally["max_depth"])
    return {
        "previous_max_depth": depths,
        "lost_seed_voxel": np.zeros(0, np.int64),
        "lost_seed_label": np.zeros(0, np.uint32),
    }
