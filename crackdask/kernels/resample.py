"""Resampling of one block of a scan into the frame of the store, fused with the grey window.

No block shows in the result. The source position of a voxel comes from its global index by one
fixed expression, ``((m0 * z + m1 * y) + m2 * x) + m3`` in float64 (`source_positions`), and the interpolation is
compact (Keys 1981 with a = -0.5, or trilinear) with no prefilter, so that a voxel depends on its own taps
only, added in one fixed order of IEEE operations without fastmath. Where a block begins, and how
much more of the source it was handed than it needs, cannot matter.
"""

from __future__ import annotations

from itertools import product
from math import floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crackdask.grid import Box, Triple
from crackdask.kernels.compiling import compiled
from crackdask.kernels.flat_field import EVEN, FlatField, flattened
from crackdask.kernels.interpolation import TOLERANCE, interpolate_row
from crackdask.kernels.scan_window import ScanWindow
from crackdask.kernels.source_positions import STRAIGHT, Lattice, bent_ends, line_of, row_positions

Interpolation = Literal["cubic", "linear"]
Matrix = NDArray[np.float64]


def check_matrix(matrix: Matrix) -> Matrix:
    """Return a voxel-to-voxel matrix as float64, or say what is wrong with it.

    >>> check_matrix(np.eye(4)).shape
    (4, 4)
    """
    checked = np.ascontiguousarray(matrix, dtype=np.float64)
    if checked.shape != (4, 4):
        raise ValueError(f"a transform is a 4 x 4 matrix, not one of shape {checked.shape}")
    if not np.isfinite(checked).all() or checked[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise ValueError(
            f"a transform must be finite and end in the row 0 0 0 1; this one ends in {checked[3].tolist()}"
        )
    return checked


def source_box(
    matrix: Matrix,
    box: Box,
    source_shape: Triple,
    interpolation: Interpolation = "cubic",
    lattice: Lattice = STRAIGHT,
) -> Box | None:
    """Return the source voxels that a block needs, support included.

    Parameters
    ----------
    matrix
        Stored voxel index (z, y, x, 1) to source voxel index.
    box
        The block, in stored voxels.
    source_shape
        Shape of the whole source; the answer is clipped to it.
    interpolation
        Decides the support: 4 taps an axis for "cubic", 2 for "linear".
    lattice
        Displacements of stored voxels, before the matrix.

    Returns
    -------
    Box or None
        None where the whole block lies outside the source.

    >>> source_box(np.eye(4), Box((4, 4, 4), (6, 6, 6)), (10, 10, 10), "linear")
    Box(start=(4, 4, 4), stop=(7, 7, 7))
    >>> source_box(np.eye(4), Box((10, 0, 0), (12, 9, 9)), (10, 10, 10)) is None
    True
    """
    rows = check_matrix(matrix)[:3].tolist()
    before, after = (1, 2) if interpolation == "cubic" else (0, 1)
    ends = bent_ends(lattice, box)
    start: list[int] = []
    stop: list[int] = []
    for (m0, m1, m2, m3), size in zip(rows, source_shape, strict=True):
        # Rounding is monotonic, so the extremes of the kernel's expression are at the corners.
        corners = [((m0 * z + m1 * y) + m2 * x) + m3 for z, y, x in product(*ends)]
        low, high = min(corners), max(corners)
        if high < -TOLERANCE or low > size - 1 + TOLERANCE:
            return None
        start.append(max(0, min(floor(max(low, 0.0)), size - 1) - before))
        stop.append(min(size, floor(min(max(high, 0.0), size - 1.0)) + after + 1))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


@compiled
def _grey_row(values, valid, window, counts, out) -> None:  # type: ignore[no-untyped-def]
    """Map the valid values of a row to 1..255, the others to 0; `counts` takes valid, clipped low, clipped high.

    Nothing branches, so that it runs in vectors.
    """
    gain, offset, lo, hi, scale = window
    inside, under, over = np.int64(0), np.int64(0), np.int64(0)
    for i in range(values.size):
        mapped = gain * values[i] + offset
        low, high = mapped < lo, mapped > hi
        level = np.floor((mapped - lo) * scale + 0.5)
        # The window may round to a hair above 254 steps.
        level = 0.0 if low else (254.0 if high or level > 254.0 else level)
        out[i] = np.int32(level) + np.int32(1) if valid[i] else np.int32(0)
        inside += valid[i]
        under += valid[i] & low
        over += valid[i] & high
    counts[0] += inside
    counts[1] += under
    counts[2] += over


@compiled
def _resample(  # type: ignore[no-untyped-def]
    flat, strides, origin, shape, matrix, lattice, line, start, cubic, has_fill, fill, field, window, counts,
    row, values, valid, grey, core, mask,
) -> None:  # fmt: skip
    """Fill `grey` as `_grey_row` does or, where it is empty, `core` with interpolated values and `mask` with validity.

    One kernel for both, for what it calls takes long to compile.
    """
    nz, ny, nx = core.shape if grey.size == 0 else grey.shape
    uneven = field.bright.size > 0
    for k in range(nz):
        for j in range(ny):
            row_positions(matrix, lattice, float(start[0] + k), float(start[1] + j), float(start[2]), line, row)
            interpolate_row(flat, strides, origin, shape, row, cubic, has_fill, fill, values, valid)
            if uneven:
                for i in range(nx):
                    if valid[i]:
                        values[i] = flattened(values[i], row[0, i], row[1, i], row[2, i], field)
            if grey.size > 0:
                _grey_row(values, valid, window, counts, grey[k, j])
                continue
            for i in range(nx):
                core[k, j, i], mask[k, j, i] = values[i], valid[i]


@compiled
def _shift_grey(values, valid, window, counts, out) -> None:  # type: ignore[no-untyped-def]
    for j in range(values.shape[0]):
        _grey_row(values[j], valid[j], window, counts, out[j])


def _check_window(
    window: NDArray[Any],
    window_box: Box,
    matrix: Matrix,
    box: Box,
    source_shape: Triple,
    interpolation: Interpolation,
    lattice: Lattice,
) -> bool:
    """Return whether the block meets the source at all; assert that the window covers it."""
    needed = source_box(matrix, box, source_shape, interpolation, lattice)
    if needed is None:
        return False
    if window.shape != window_box.shape or needed.intersect(window_box) != needed:
        raise ValueError(f"the block needs {needed}, got {window_box} with voxels of shape {window.shape}")
    return True


def _whole_shift(matrix: Matrix) -> Triple | None:
    """Return the shift of a transform that only moves by whole voxels, else None."""
    if not np.array_equal(matrix[:3, :3], np.eye(3)):
        return None
    shift = matrix[:3, 3]
    if not np.array_equal(shift, np.rint(shift)):
        return None
    return (int(shift[0]), int(shift[1]), int(shift[2]))


def resample_grey(
    window: NDArray[Any],
    window_box: Box,
    matrix: Matrix,
    box: Box,
    source_shape: Triple,
    *,
    lo: float,
    hi: float,
    fill: float | None = None,
    interpolation: Interpolation = "cubic",
    lattice: Lattice = STRAIGHT,
    gain: float = 1.0,
    offset: float = 0.0,
    field: FlatField = EVEN,
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Resample one block of a scan and map it to 8-bit grey.

    A voxel is invalid, grey 0, where its position lies outside the scan or where a voxel of its linear neighbourhood
    equals `fill`. A valid value v becomes ``1 + floor((gain * v + offset - lo) * (254 / (hi - lo)) + 0.5)``, clipped
    to 1..255. The cubic support repeats the border voxels; where it reaches a fill voxel, the value is trilinear.

    Parameters
    ----------
    window, window_box
        Source voxels, at least those of `source_box`, of any integer or float type, and where they lie in the source.
    matrix
        Stored voxel index (z, y, x, 1) to source voxel index.
    box, source_shape
        The block, in stored voxels, and the shape of the whole source.
    lo, hi
        The grey window, of which `lo` becomes 1 and `hi` becomes 255.
    fill
        Value of voxels that the scanner did not measure.
    interpolation
        "cubic" (Keys, 4 taps an axis) or "linear".
    lattice
        Displacements of stored voxels, before the matrix; its nodes reach around the block.
    gain, offset
        Map source values to the reference's, before the window.
    field
        The slow trend of the source, which is taken off first, where a voxel's position lies.

    Returns
    -------
    core
        Grey levels of the block, uint8.
    tally
        Counts of `valid` voxels, and of those `clipped_low` (under lo) and `clipped_high` (over hi); they add up.

    >>> scan = np.array([[[0, 5, 10, 20]]], dtype=np.uint16)
    >>> whole = Box.whole((1, 1, 4))
    >>> core, tally = resample_grey(scan, whole, np.eye(4), whole, (1, 1, 4), lo=5, hi=10, fill=0)
    >>> core.tolist(), tally
    ([[[0, 1, 255, 255]]], {'valid': 3, 'clipped_low': 0, 'clipped_high': 1})
    """
    if not lo < hi:
        raise ValueError(f"the grey window must have lo < hi, got [{lo}, {hi}]")
    matrix = check_matrix(matrix)
    core, counts = np.zeros(box.shape, np.uint8), np.zeros(3, np.int64)
    if _check_window(window, window_box, matrix, box, source_shape, interpolation, lattice):
        source = ScanWindow.of(window, window_box, source_shape, fill)
        levels = (float(gain), float(offset), float(lo), float(hi), 254.0 / (float(hi) - float(lo)))
        _fill_grey(source, matrix, lattice, box, interpolation == "cubic", field, levels, counts, core)
    valid, low, high = counts.tolist()
    return core, {"valid": valid, "clipped_low": low, "clipped_high": high}


def _fill_grey(
    source: ScanWindow,
    matrix: Matrix,
    lattice: Lattice,
    box: Box,
    cubic: bool,
    field: FlatField,
    levels: tuple[float, ...],
    counts: NDArray[np.int64],
    core: NDArray[np.uint8],
) -> None:
    """Fill `core` and `counts`; a move by whole voxels of a scan that is left as it is needs no interpolation."""
    shift = None if lattice.values.size or field.bright.size else _whole_shift(matrix)
    if shift is None:
        empty = np.empty((0, 0, 0), np.float32), np.empty((0, 0, 0), np.bool_)
        _interpolate(source, matrix, lattice, box, cubic, field, levels, counts, core, *empty)
        return
    here, there = source.met_by(box, shift)
    voxels, met = source.voxels[here], core[there]
    has_fill, fill = source.fill
    values, valid = np.empty(met.shape[1:]), np.ones(met.shape[1:], np.bool_)
    for k in range(met.shape[0]):
        values[:] = voxels[k]
        if has_fill:
            np.not_equal(voxels[k], fill, out=valid)
        _shift_grey(values, valid, levels, counts, met[k])


def _interpolate(
    source: ScanWindow,
    matrix: Matrix,
    lattice: Lattice,
    box: Box,
    cubic: bool,
    field: FlatField,
    levels: tuple[float, ...],
    counts: NDArray[np.int64],
    *into: NDArray[Any],
) -> None:
    nx = box.shape[2]
    flat, *where = source.flat()
    has_fill, fill = source.fill
    room = np.empty((3, nx)), np.empty(nx), np.empty(nx, np.bool_)
    how = (matrix, lattice, line_of(lattice), box.start, cubic, has_fill, flat.dtype.type(fill), field)
    _resample(flat, *where, *how, levels, counts, *room, *into)


def resample_values(
    window: NDArray[Any],
    window_box: Box,
    matrix: Matrix,
    box: Box,
    source_shape: Triple,
    *,
    fill: float | None = None,
    interpolation: Interpolation = "cubic",
    lattice: Lattice = STRAIGHT,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample one block of a scan as float32, with its validity; see `resample_grey`.

    >>> scan = np.arange(4.0).reshape(1, 1, 4)
    >>> half = np.eye(4)
    >>> half[2, 3] = 0.5
    >>> whole = Box.whole(scan.shape)
    >>> values, valid = resample_values(scan, whole, half, whole, scan.shape)
    >>> values.tolist(), valid.tolist()
    ([[[0.4375, 1.5, 2.5625, 0.0]]], [[[True, True, True, False]]])
    """
    matrix = check_matrix(matrix)
    core = np.zeros(box.shape, np.float32)
    mask = np.zeros(box.shape, np.bool_)
    if _check_window(window, window_box, matrix, box, source_shape, interpolation, lattice):
        source, cubic = ScanWindow.of(window, window_box, source_shape, fill), interpolation == "cubic"
        grey, counts = np.empty((0, 0, 0), np.uint8), np.zeros(3, np.int64)
        _interpolate(source, matrix, lattice, box, cubic, EVEN, (0.0,) * 5, counts, grey, core, mask)
    return core, mask
