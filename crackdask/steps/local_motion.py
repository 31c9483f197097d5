"""What a rigid or affine motion leaves over, measured densely: a field of displacements on a lattice.

From a coarse lattice to a fine one: both scans are binned by two, the moving one is bent by the field so far, and each
sub-block is settled by block matching (`kernels.block_matching`), after a search in whole bins where that fails.
Sub-blocks lie where the shape of the stored volume and the recipe put them, and each is matched on its own, so neither
blocks nor workers show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Box, Triple, as_triple
from crackdask.kernels.block_matching import MARGIN, MISSING, Translation, settle, shrink, whole_shift
from crackdask.kernels.resample import resample_values, source_box
from crackdask.kernels.source_positions import STRAIGHT, Lattice, displacements, padded
from crackdask.steps.motion_lattice import Matched, Nodes, believed, filled, smoothed
from crackdask.steps.subblocks import BIN, MATCH_FLOOR, Matrix, Reader, as_point, measured, widened

Volume = NDArray[np.float32]
#: Runs a function over tiles of nodes and returns its results in their order.
Apply = Callable[[Callable[["TileTask"], "TileMatches"], Sequence["TileTask"]], Iterable["TileMatches"]]

EDGE = 40  # voxels: of the sub-blocks that are matched
SEARCH = 6  # bins: how far to look where a sub-block does not settle by itself
TILE = 2  # nodes along an axis that are matched in one task: they share what they read
#: Voxels: a sub-block is off from here on, besides three of its own errors; share of them from which a field is made.
OFF, OFF_SHARE = 0.3, 0.02
#: Voxels: the largest displacement that is believed, and planned for.
LARGEST = 16.0


@dataclass(frozen=True, eq=False)
class TileMatches:
    """What was found at some nodes, each array as their range: shift (voxels, axis last), variance, correlation."""

    shift: NDArray[np.float64]
    variance: NDArray[np.float64]
    correlation: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TileTask:
    """Some nodes to be matched, and the part of the lattice so far that bends their surroundings."""

    box: Box
    bent: Lattice


@dataclass(frozen=True)
class _TileTasks(Sequence[TileTask]):
    """Tasks that are made when they are asked for: lattices and volumes are large."""

    tiles: Sequence[Box]
    nodes: Nodes
    bent: Lattice

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, number: Any) -> Any:
        tile = self.tiles[number]
        return TileTask(tile, self.bent.near(widened(_covered(self.nodes, tile), BIN * (SEARCH + MARGIN))))


@dataclass(frozen=True, eq=False)
class Field:
    """Displacements on a lattice: voxel p of the reference lies at ``matrix @ (p + field(p))`` in the moving scan.

    Attributes
    ----------
    nodes
        Where they were measured.
    matched
        What was found there, gaps filled, as smooth as the errors ask.
    """

    nodes: Nodes
    matched: Matched

    def lattice(self, region: Box) -> Lattice:
        """Return the field as the kernels take it, with nodes enough for every voxel of a region."""
        return padded(self.matched.displacement, self.nodes.origin, self.nodes.spacing, region)


@dataclass(frozen=True)
class Scans:
    """Two scans of which the second is matched to the first.

    Attributes
    ----------
    read_reference, read_moving
        Return the voxels of a box.
    moving_shape, fill
        Shape of the moving scan, and the value of voxels that no scanner measured.
    region
        The part of the reference that counts.
    """

    read_reference: Reader
    read_moving: Reader
    moving_shape: Triple
    fill: float | None
    region: Box


def probes(region: Box, spacing: int, edge: int, shift: bool = False) -> Nodes:
    """Return few sub-blocks that tell whether there is local motion: 2 to 6 along an axis, by the size of the region.

    >>> probes(Box.whole((112, 176, 1760)), 40, 40).counts
    (2, 2, 6)
    """
    return Nodes.of(region, _widest(region, spacing, edge), edge, shift)


def lattice_nodes(region: Box, spacing: int, edge: int) -> Nodes:
    """Return the nodes of a field, decided by the region and the recipe alone."""
    return Nodes.of(region, spacing, edge)


def _widest(region: Box, spacing: int, edge: int) -> int:
    return max(2 * spacing, ceil(max(max(region.shape) - edge, 1) / 5))


def tile_bytes(spacing: int, itemsize: int) -> int:
    """Return the bytes that one task takes: both scans where it matches, as they are and as float32, and their bins.

    >>> tile_bytes(40, 2) // 2**20
    29
    """
    near = (TILE - 1 if spacing < 2 * EDGE else 0) * spacing + EDGE
    around = near + 2 * BIN * (SEARCH + MARGIN)
    return itemsize * (near**3 + around**3) + 3 * 4 * around**3 + 7 * 4 * (around // BIN) ** 3


def share_off(found: Matched) -> float:
    """Return the share of the matched sub-blocks that lie further off than their own errors explain."""
    size = np.sqrt((found.displacement**2).sum(axis=-1))
    matched, off = int(found.good.sum()), int((found.good & (size > OFF + 3 * found.error)).sum())
    return off / max(1, matched)


def residual(found: Matched) -> float:
    """Return the root mean square of what sub-blocks are off, in voxels; infinite where none was matched."""
    square = (found.displacement**2).sum(axis=-1)[found.good]
    return float(np.sqrt(square.mean())) if square.size else float("inf")


def measure(
    scans: Scans,
    matrix: Matrix,
    nodes: Nodes,
    field: Field | None,
    min_correlation: float,
    apply: Apply,
    *,
    search: bool,
) -> Matched:
    """Return what is left over at nodes, on top of a matrix and of a field so far.

    Parameters
    ----------
    scans, matrix, nodes
        What is matched, by which motion, and where.
    field
        So far, or None.
    min_correlation
        A match that correlates less is not believed.
    apply
        Runs a function over tiles of nodes.
    search
        Whether to look in whole bins first, wherever a sub-block may lie.
    """
    bent = STRAIGHT if field is None else field.lattice(widened(scans.region, 2 * BIN * (MARGIN + SEARCH)))
    task = partial(match_tile, scans, matrix, nodes, search)
    shift = np.zeros((*nodes.counts, 3))
    variance, correlation = np.full(nodes.counts, np.inf), np.zeros(nodes.counts)
    tiles = list(nodes.tiles(TILE))
    for tile, found in zip(tiles, apply(task, _TileTasks(tiles, nodes, bent)), strict=True):
        shift[tile.slices], variance[tile.slices], correlation[tile.slices] = (
            found.shift, found.variance, found.correlation,
        )  # fmt: skip
    error = np.sqrt(np.minimum(variance, 1e6) + MATCH_FLOOR**2)
    good = (correlation >= min_correlation) & (variance < 1) & (np.abs(shift).max(axis=-1) <= LARGEST)
    return Matched(shift, error, correlation, good)


def fit_field(
    scans: Scans, matrix: Matrix, found: Matched, spacing: int, edge: int, min_correlation: float, apply: Apply
) -> Field:
    """Return the field of what a motion leaves over, refined from few sub-blocks to a lattice of a spacing.

    Parameters
    ----------
    scans, matrix, min_correlation, apply
        See :func:`measure`.
    found
        What is left over at `probes`.
    spacing, edge
        Voxels from node to node in the end, and of a sub-block.
    """
    field = Field(probes(scans.region, spacing, edge), filled(believed(found)))
    for wide in _refinements(_widest(scans.region, spacing, edge), spacing):
        nodes = lattice_nodes(scans.region, wide, edge)
        rest = measure(scans, matrix, nodes, field, min_correlation, apply, search=False)
        whole = Matched(rest.displacement + _at_nodes(field, nodes), rest.error, rest.correlation, rest.good)
        field = Field(nodes, filled(believed(whole)))
    return Field(field.nodes, smoothed(field.matched))


def _refinements(widest: int, spacing: int) -> list[int]:
    """Return the spacings of the lattices after the first: halved to the last, which is matched twice.

    A sub-block tells of its middle where the field that it is bent by has the gradient there already.

    >>> _refinements(200, 40)
    [100, 50, 40, 40]
    """
    halved, wide = [], widest // 2
    while wide > spacing:
        halved.append(wide)
        wide //= 2
    return [*halved, spacing, spacing]


def match_tile(scans: Scans, matrix: Matrix, nodes: Nodes, search: bool, task: TileTask) -> TileMatches:
    """Match the sub-blocks of some nodes, which share what is read: the task of a worker."""
    tile, bent = task.box, task.bent
    near = _covered(nodes, tile)
    found = TileMatches(
        np.zeros((*tile.shape, 3)), np.full(tile.shape, np.inf), np.zeros(tile.shape)
    )  # fmt: skip
    # Where sub-blocks lie about where the field so far says, little is read around them.
    reach = SEARCH + MARGIN if search else MARGIN
    moving = _bent_bins(scans, matrix, bent, near, reach)
    fixed, valid = _binned(scans.read_reference(near), scans.fill)
    for node in np.ndindex(*tile.shape):
        block = nodes.block(as_triple(a + k for a, k in zip(tile.start, node, strict=True)))
        start = as_triple((a - o) // BIN for a, o in zip(block.start, near.start, strict=True))
        inner = tuple(slice(a, a + e // BIN) for a, e in zip(start, nodes.edge, strict=True))
        outer = tuple(slice(a, a + e // BIN + 2 * reach) for a, e in zip(start, nodes.edge, strict=True))
        if valid[inner].mean() < 0.3 or fixed[inner].min() == fixed[inner].max():
            continue
        around = None if moving is None else (moving[0][outer], moving[1][outer])
        settled = None
        if not search:
            settled = None if around is None else _near(fixed[inner], valid[inner], *around)
            if settled is None:
                around = _bent_bins(scans, matrix, bent, block, SEARCH + MARGIN)
        if settled is None and around is not None:
            settled = _searched(fixed[inner], valid[inner], *around)
        if settled is not None:
            found.shift[node] = BIN * settled.shift
            found.variance[node] = BIN**2 * settled.variance
            found.correlation[node] = settled.correlation
    return found


def _covered(nodes: Nodes, tile: Box) -> Box:
    """Return the voxels of the sub-blocks of some nodes, and all between them."""
    return Box(nodes.block(tile.start).start, nodes.block(as_triple(n - 1 for n in tile.stop)).stop)


def _near(fixed: Volume, valid: Mask, moving: Volume, moving_valid: Mask) -> Translation | None:
    """Return where a sub-block lies, in bins, if that is about where it should; `moving` has MARGIN bins more."""
    settled = settle(fixed, valid, moving, moving_valid)
    if settled is None or settled.correlation <= 0.5 or np.abs(settled.shift).max() >= MARGIN / 2:
        return None
    return settled


def _searched(fixed: Volume, valid: Mask, moving: Volume, moving_valid: Mask) -> Translation | None:
    """Return where a sub-block lies, in bins, wherever that is; `moving` has SEARCH + MARGIN bins more around it."""
    most = (slice(MARGIN, -MARGIN),) * 3
    shift = whole_shift(fixed, valid, moving[most], moving_valid[most], SEARCH)
    if shift is None:
        return None
    starts = (shift + SEARCH).astype(int)
    around = tuple(slice(a, a + n + 2 * MARGIN) for a, n in zip(starts, fixed.shape, strict=True))
    settled = settle(fixed, valid, moving[around], moving_valid[around])
    return None if settled is None else settled._replace(shift=settled.shift + shift)


def _bent_bins(scans: Scans, matrix: Matrix, bent: Lattice, near: Box, reach: int) -> tuple[Volume, Mask] | None:
    """Return the moving scan on the bins of a box of the reference and `reach` more on every side."""
    around = widened(near, BIN * reach)
    needed = source_box(matrix, around, scans.moving_shape, lattice=bent)
    if needed is None:
        return None
    even = Box(
        needed.start, as_triple(a + (b - a) // BIN * BIN for a, b in zip(needed.start, needed.stop, strict=True))
    )
    if min(even.shape) < BIN:
        return None
    binned, held = _binned(scans.read_moving(even), scans.fill)
    scale, half = np.diag([float(BIN)] * 3 + [1.0]), (BIN - 1) / 2
    from_bins, to_bins = scale.copy(), scale.copy()
    from_bins[:3, 3] = np.array(around.start) + half
    to_bins[:3, 3] = np.array(even.start) + half
    in_bins = bent._replace(
        values=bent.values / BIN,
        origin=as_point((o - a - half) / BIN for o, a in zip(bent.origin, around.start, strict=True)),
        spacing=as_point(s / BIN for s in bent.spacing),
    )
    shape = as_triple(n // BIN for n in around.shape)
    whole = bool(held.all())
    return resample_values(
        binned if whole else np.where(held, binned, MISSING),
        Box.whole(as_triple(binned.shape)),
        np.linalg.inv(to_bins) @ matrix @ from_bins,
        Box.whole(shape),
        as_triple(binned.shape),
        fill=None if whole else float(MISSING),
        interpolation="linear",
        lattice=in_bins if bent.values.size else STRAIGHT,
    )


def _binned(voxels: NDArray[Any], fill: float | None) -> tuple[Volume, Mask]:
    valid = measured(voxels, fill)
    return shrink(voxels, None if valid.all() else valid, (BIN, BIN, BIN))


def _at_nodes(field: Field, nodes: Nodes) -> NDArray[np.float64]:
    """Return a field at the nodes of another lattice."""
    along = [o + s * np.arange(n) for o, s, n in zip(nodes.origin, nodes.spacing, nodes.counts, strict=True)]
    places = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)
    reach = Box(as_triple(np.floor(a[0]) for a in along), as_triple(np.floor(a[-1]) + 2 for a in along))
    return displacements(field.lattice(reach), places.reshape(-1, 3)).reshape(places.shape)
