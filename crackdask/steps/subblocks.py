"""Sub-blocks of two scans, each matched on its own at full resolution.

Where they lie depends on the volume's shape and the parameters alone, never on blocks or workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from math import ceil, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.grid import Box, Triple, as_triple
from crackdask.kernels.block_matching import MARGIN, MISSING, settle, shrink, whole_shift
from crackdask.kernels.resample import resample_values, source_box

Matrix = NDArray[np.float64]
Point = tuple[float, float, float]
Reader = Callable[[Box], NDArray[Any]]
Volume = NDArray[np.float32]

UNIT: Point = (1.0, 1.0, 1.0)
BIN = 2  # voxels: edge of the bins on which a sub-block is searched for
MATCH_FLOOR = 0.03  # voxels: a match is never trusted further than this


@dataclass(frozen=True)
class Match:
    """The translation of one sub-block.

    The voxel `point` of the reference lies at ``matrix @ (point + displacement)`` in the moving
    scan, `matrix` being the one the match was made with. `weight` is 0 (not to be used) to 1.
    """

    point: Point
    displacement: Point
    weight: float
    correlation: float


def subblocks(shape: Triple, largest: int, per_axis: int) -> tuple[Box, ...]:
    """Return the sub-blocks of a volume: spread evenly, a little inside its faces.

    Parameters
    ----------
    shape
        Of the volume.
    largest
        Longest edge of a sub-block, in voxels.
    per_axis
        Most sub-blocks along an axis.

    >>> blocks = subblocks((100, 100, 100), 48, 3)
    >>> len(blocks), blocks[0]
    (27, Box(start=(4, 4, 4), stop=(37, 37, 37)))
    """
    starts: list[list[int]] = []
    edges: list[int] = []
    for n in shape:
        edge = min(largest, max(16, n // 3), n)
        inset = min(n // 25, (n - edge) // 2)
        room = n - edge - 2 * inset
        count = min(per_axis, max(2, ceil(n / edge))) if room else 1
        starts.append([inset + room * i // max(1, count - 1) for i in range(count)])
        edges.append(edge)
    return tuple(Box((z, y, x), (z + edges[0], y + edges[1], x + edges[2])) for z, y, x in product(*starts))


def refine(
    block: Box,
    fixed: NDArray[Any],
    read_moving: Reader,
    moving_shape: Triple,
    matrix: Matrix,
    *,
    search: int,
    min_correlation: float,
    fill: float | None = None,
) -> Match:
    """Return the translation left over in one sub-block after `matrix`.

    Parameters
    ----------
    block
        One of `subblocks`.
    fixed
        The reference there.
    read_moving
        Returns the moving scan's voxels in a box.
    moving_shape
        Shape of the moving scan.
    matrix
        The transform so far.
    search
        How far to look, in voxels. With 0 the sub-block is believed to lie within a few voxels.
    min_correlation
        A match that correlates less has no weight.
    fill
        Value of voxels that the scanner did not measure, in both scans.
    """
    if fixed.shape != block.shape:
        raise ValueError(f"wanted the voxels of {block}, got {fixed.shape}")
    nothing, valid = _nothing(block), measured(fixed, fill)
    reach = -(-search // BIN)
    needed = source_box(matrix, widened(block, BIN * reach + MARGIN), moving_shape)
    if needed is None or valid.mean() < 0.3 or fixed.min() == fixed.max():
        return nothing
    window, start = read_moving(needed), np.zeros(3)
    if search:
        binned = BinnedBlock(block, *_shrunk(fixed, valid), *_shrunk(window, measured(window, fill)), needed.start)
        coarsely = whole_shift(binned.grey, binned.valid, *_resampled_bins(binned, matrix, reach), reach)
        if coarsely is None:
            return nothing
        start = BIN * coarsely
    return _matched(block, fixed, valid, window, needed, matrix, start, moving_shape, min_correlation, fill) or nothing


def _matched(
    block: Box,
    fixed: NDArray[Any],
    valid: Mask,
    window: NDArray[Any],
    window_box: Box,
    matrix: Matrix,
    start: NDArray[np.float64],
    moving_shape: Triple,
    min_correlation: float,
    fill: float | None,
) -> Match | None:
    """Return the match of a sub-block that lies about `start` from where `matrix` puts it."""
    moved = matrix @ _translation(start)
    around = widened(block, MARGIN)
    if source_box(moved, around, moving_shape) is None:
        return None
    other, other_valid = resample_values(window, window_box, moved, around, moving_shape, fill=fill)
    settled = settle(fixed.astype(np.float32), valid, other, other_valid)
    if settled is None:
        return None
    return Match(
        as_point(settled.middle + block.start),
        as_point(start + settled.shift),
        _weight(settled.correlation, settled.variance, min_correlation),
        settled.correlation,
    )


def _weight(correlation: float, variance: float, min_correlation: float) -> float:
    if correlation < min_correlation or variance > 1:
        return 0.0
    return 1 / (1 + variance / MATCH_FLOOR**2)


@dataclass(frozen=True, eq=False)
class BinnedBlock:
    """One sub-block in bins, and what lies around it in the other scan: small enough to be kept from round to round.

    Attributes
    ----------
    block
        The voxels of the reference.
    grey, valid
        Of the reference, in bins.
    around, around_valid
        Of the other scan, in bins of its own.
    start
        Voxel of the other scan with which the first of these begins.
    """

    block: Box
    grey: Volume
    valid: Mask
    around: Volume
    around_valid: Mask
    start: Triple


def read_bins(
    block: Box,
    *,
    read_reference: Reader,
    read_moving: Reader,
    moving_shape: Triple,
    matrix: Matrix,
    search: int,
    fill: float | None,
) -> BinnedBlock | None:
    """Return a sub-block and its surroundings in bins; None where they show nothing. See :func:`refine`."""
    needed = source_box(matrix, widened(block, BIN * (-(-search // BIN) + MARGIN)), moving_shape)
    if needed is None or min(needed.shape) < BIN:
        return None
    fixed = read_reference(block)
    valid = measured(fixed, fill)
    if valid.mean() < 0.3 or fixed.min() == fixed.max():
        return None
    window = read_moving(needed)
    return BinnedBlock(block, *_shrunk(fixed, valid), *_shrunk(window, measured(window, fill)), needed.start)


def match_bins(binned: BinnedBlock, matrix: Matrix, search: int, min_correlation: float) -> Match:
    """Return the translation left over in one sub-block on bins, to about a tenth of a voxel; see :func:`refine`."""
    reach = -(-search // BIN)
    wide, held = _resampled_bins(binned, matrix, reach + MARGIN)
    shift: NDArray[np.float64] | None = np.zeros(3)
    if search:
        most = (slice(MARGIN, -MARGIN),) * 3
        shift = whole_shift(binned.grey, binned.valid, wide[most], held[most], reach)
    if shift is None:
        return _nothing(binned.block)
    starts = (shift + reach).astype(int)
    here = tuple(slice(a, a + n + 2 * MARGIN) for a, n in zip(starts, binned.grey.shape, strict=True))
    settled = settle(binned.grey, binned.valid, wide[here], held[here])
    if settled is None:
        return _nothing(binned.block)
    return Match(
        as_point(BIN * settled.middle + (BIN - 1) / 2 + binned.block.start),
        as_point(BIN * (shift + settled.shift)),
        _weight(settled.correlation, BIN**2 * settled.variance, min_correlation),
        settled.correlation,
    )


def _nothing(block: Box) -> Match:
    """Return what a sub-block tells that cannot be matched."""
    centre = as_point((a + b - 1) / 2 for a, b in zip(block.start, block.stop, strict=True))
    return Match(centre, (0.0, 0.0, 0.0), 0.0, 0.0)


def _shrunk(voxels: NDArray[Any], valid: Mask) -> tuple[Volume, Mask]:
    return shrink(voxels, None if valid.all() else valid, (BIN, BIN, BIN))


def _resampled_bins(binned: BinnedBlock, matrix: Matrix, reach: int) -> tuple[Volume, Mask]:
    """Return the other scan on a sub-block's bins and `reach` more on every side."""
    scale, half = np.diag([BIN, BIN, BIN, 1.0]), np.full(3, (BIN - 1) / 2)
    to_source = np.linalg.inv(_translation(half + binned.start) @ scale)
    from_bins = _translation(half + binned.block.start) @ scale
    whole, shape = bool(binned.around_valid.all()), as_triple(binned.around.shape)
    return resample_values(
        binned.around if whole else np.where(binned.around_valid, binned.around, MISSING),
        Box.whole(shape),
        to_source @ matrix @ from_bins,
        widened(Box.whole(as_triple(binned.grey.shape)), reach),
        shape,
        fill=None if whole else float(MISSING),
        interpolation="linear",
    )


def match_block(block: Box, *, read_reference: Reader, **how: Any) -> Match:
    """Read one sub-block of the reference and `refine` it: the task of a worker."""
    return refine(block, read_reference(block), **how)


def measured(voxels: NDArray[Any], fill: float | None) -> Mask:
    """Return which voxels the scanner measured."""
    if fill is None:
        return np.ones(voxels.shape, bool)
    return ~np.isnan(voxels) if isnan(fill) else voxels != fill


def widened(box: Box, by: int) -> Box:
    """Return a box with as many more voxels on every side, inside the volume or not."""
    return Box(as_triple(a - by for a in box.start), as_triple(b + by for b in box.stop))


def _translation(shift: NDArray[np.float64]) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def as_point(numbers: Iterable[Any]) -> Point:
    """Return three numbers as a point."""
    z, y, x = (float(n) for n in numbers)
    return (z, y, x)
