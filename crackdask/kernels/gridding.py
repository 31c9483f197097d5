"""Slices from projections by gridding (O'Sullivan 1985; Jackson et al. 1991; Beatty et al. 2005).

The transform of a projection is a line through the transform of the slice. Filtered lines are spread onto a square
grid, finer than the slice by half, with a Kaiser-Bessel window of four cells; the inverse transform of the grid,
divided by that of the window, is the slice. One half of the plane is enough, because slices are real.

Four slices lie side by side as the lanes of a vector, and each sum runs in one fixed order: over blocks of projections,
in these over blocks of radii, then projection by projection. Nothing is added across lanes. So the bits of a slice
depend on its own sinogram and its centre alone, not on the slices beside it, their number or threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crackdask.arrays import Floats, Singles
from crackdask.kernels.compiling import compiled
from crackdask.kernels.projection_angles import angular_weights, cosines_and_sines
from crackdask.kernels.ramp_filter import LANES, Filter, filtering, padded_length, transformed
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:  # which every command would wait for
    fft = Later("scipy.fft")

OVERSAMPLING = 1.5
CELLS = 4
GUARD = 3  # rows and columns around the grid, which windows at its border reach into
PLACES = 2048  # of a window between two cells, in the table
_TURN = 2 * LANES  # real numbers of one cell: real and imaginary parts of all lanes
_PROJECTIONS, _RADII = 32, 64  # of a block: its part of the grid stays in the cache
_LINES = 16
_at = np.uint64  # an index that is never counted from the end

#: The best shape of a window of four cells at this oversampling (Beatty et al. 2005, equation 5).
_BETA = math.pi * math.sqrt((CELLS / OVERSAMPLING * (OVERSAMPLING - 0.5)) ** 2 - 0.8)


def _bessel(x: Floats) -> Floats:
    """Return the modified Bessel function I0 by its series, of x * x / 4."""
    total = np.ones_like(x)
    for k in range(40, 0, -1):
        total = 1 + x * total / (k * k)
    return total


def _sinh_ratio(square: Floats) -> Floats:
    """Return sinh(x) / x by its series, of x * x."""
    total = np.ones_like(square)
    for k in range(40, 0, -1):
        total = 1 + square * total / ((2 * k) * (2 * k + 1))
    return total


@lru_cache(maxsize=1)
def window() -> Singles:
    """Return (place, cell): the window's value at the four cells around each place between two cells."""
    offsets = (np.arange(PLACES) + 0.5)[:, None] / PLACES + (1 - np.arange(CELLS))
    inside = 1 - (offsets * (2 / CELLS)) ** 2
    return (_bessel(_BETA**2 / 4 * inside) / _bessel(np.array([_BETA**2 / 4]))).astype(np.float32)


@dataclass(frozen=True)
class Plan:
    """What the slices of one scan share: the grid, the directions, what the window did to each voxel."""

    columns: int
    length: int
    side: int
    steps: NDArray[np.float64]
    weights: Singles
    turns_y: NDArray[np.complex64]
    turns_x: NDArray[np.complex64]
    window: Singles
    unwindowed: Singles


def plan(degrees: ArrayLike, columns: int) -> Plan:
    """Return the plan for projections at these angles on a detector of so many columns."""
    angles = np.asarray(degrees, np.float64)
    cosine, sine = cosines_and_sines(angles)
    length = padded_length(columns)
    side = 2 * fft.next_fast_len(math.ceil(OVERSAMPLING * max(columns, 8) / 2))
    backwards = (cosine < 0) | ((cosine == 0) & (sine < 0))
    signs = np.where(backwards, -1.0, 1.0)
    steps = np.stack([signs * sine, signs * cosine, signs], axis=1)
    steps[:, :2] *= side / length
    first = -(columns - 1) / 2
    place = (np.arange(columns) + first) / side
    square = _BETA**2 - (math.pi * CELLS * place) ** 2
    gain = CELLS * _sinh_ratio(square) / _bessel(np.array([_BETA**2 / 4]))
    return Plan(
        columns, length, side, steps, angular_weights(angles).astype(np.float32),
        _turns(np.arange(-side // 2 - GUARD, side // 2 + GUARD + 1), first, side),
        _turns(np.arange(side // 2 + 1), first, side), window(), (1 / gain).astype(np.float32),
    )  # fmt: skip


def _turns(frequency: NDArray[np.int64], first: float, side: int) -> NDArray[np.complex64]:
    """Return the factors that make the voxel at `first` the first one of the inverse transform."""
    turns = frequency * (first / side)
    cosine, sine = cosines_and_sines(360 * (turns - np.floor(turns)))
    return (cosine + 1j * sine).astype(np.complex64)


def gridded(sinograms: Singles, degrees: ArrayLike, centers: ArrayLike, filter_name: Filter = "ramp") -> Singles:
    """Return slices (slice, y, x) from sinograms (slice, projection, column) of line integrals.

    Parameters
    ----------
    sinograms
        Attenuation along the rays, in units of attenuation per voxel edge times voxel edges.
    degrees
        Angle of each projection, in any order. A voxel (y, x) from the middle of the slice is seen at the column
        x cos(angle) + y sin(angle) + center.
    centers
        Column at which the axis of rotation is seen, one number or one for each slice; column i lies at i.
    filter_name
        "ramp" or "hann".

    Returns
    -------
    Singles
        Attenuation per voxel edge. Beyond the circle that all projections see, values are guesses from padding.
    """
    sinograms = np.ascontiguousarray(sinograms, np.float32)
    slices, projections, columns = sinograms.shape
    prepared = plan(degrees, columns)
    if len(prepared.weights) != projections:
        raise ValueError(f"{projections} projections, but {len(prepared.weights)} angles")
    center_of = np.broadcast_to(np.asarray(centers, np.float64), slices)
    out = np.empty((slices, columns, columns), np.float32)
    for first in range(0, slices, LANES):
        some = slice(first, min(first + LANES, slices))
        _lanes(prepared, sinograms[some], center_of[some], filter_name, out[some])
    return out


def _lanes(prepared: Plan, sinograms: Singles, centers: Floats, filter_name: Filter, out: Singles) -> None:
    """Reconstruct up to as many slices as there are lanes."""
    side, length = prepared.side, prepared.length
    factors = np.zeros((length // 2 + 1, LANES), np.complex64)
    factors[:, : len(centers)] = filtering(length, filter_name, centers)
    factors[[0, -1]] *= np.float32(0.5)  # they are their own mirror images, and will be counted twice
    grid = np.zeros((side + 2 * GUARD + 1, side // 2 + 1 + 2 * GUARD, _TURN), np.float32)
    projections = sinograms.shape[1]
    padded = np.zeros((min(_PROJECTIONS, projections), length, LANES), np.float32)
    for first in range(0, projections, _PROJECTIONS):
        some = slice(first, min(first + _PROJECTIONS, projections))
        lines = transformed(sinograms, first, padded[: some.stop - first])
        _spread(
            lines.view(np.float32), factors.view(np.float32), prepared.steps[some], prepared.weights[some],
            prepared.window, grid,
        )  # fmt: skip
    _fold(grid)
    _inverse(prepared, grid, out)


@compiled(error_model="numpy")
def _spread(lines: Singles, factors: Singles, steps: Floats, weights: Singles, table: Singles, grid: Singles) -> None:
    """Filter the lines and add them to the grid, a block of radii at a time.

    The cells of a row lie side by side, so that their sums are those of vectors; that their number is not known when
    this is compiled keeps numba from writing them out one by one.
    """
    flat, places = grid.reshape(-1), table.reshape(-1)
    pitch, run = _at(grid.shape[1] * _TURN), _at(CELLS) * _at(grid.shape[2])
    middle = grid.shape[0] // 2 - 1
    values = np.empty(run, np.float32)
    for begin in range(0, factors.shape[0], _RADII):
        for p in range(lines.shape[0]):
            dy, dx, sign, weight = steps[p, 0], steps[p, 1], np.float32(steps[p, 2]), weights[p]
            for k in range(begin, min(begin + _RADII, factors.shape[0])):
                y, x = k * dy + middle, k * dx + (GUARD - 1)  # of the first cell that the window reaches
                low_y, low_x = np.int64(y), np.int64(x)
                place_y = _at(np.int64((y - low_y) * PLACES) * CELLS)
                place_x = _at(np.int64((x - low_x) * PLACES) * CELLS)
                for lane in range(LANES):
                    re, im = lines[p, k, 2 * lane] * weight, lines[p, k, 2 * lane + 1] * weight
                    a, b = factors[k, 2 * lane], factors[k, 2 * lane + 1]
                    real, imaginary = re * a - im * b, (re * b + im * a) * sign
                    for cell in range(CELLS):
                        values[_at(cell * _TURN + 2 * lane)] = real * places[place_x + _at(cell)]
                        values[_at(cell * _TURN + 2 * lane + 1)] = imaginary * places[place_x + _at(cell)]
                start = _at(low_y) * pitch + _at(low_x * _TURN)
                for cell in range(CELLS):
                    factor = places[place_y + _at(cell)]
                    row = flat[start + _at(cell) * pitch : start + _at(cell) * pitch + run]
                    for j in range(row.size):
                        row[_at(j)] += factor * values[_at(j)]


@compiled(error_model="numpy")
def _fold(grid: Singles) -> None:
    """Bring what lies beyond the half plane to where its mirror image, the conjugate, lies."""
    rows, wide = grid.shape[0], grid.shape[1]
    zero, last = GUARD, wide - 1 - GUARD
    for row in range(rows):
        mirror = rows - 1 - row
        for beyond in range(1, GUARD + 1):
            for j in range(0, _TURN, 2):
                grid[mirror, zero + beyond, j] += grid[row, zero - beyond, j]
                grid[mirror, zero + beyond, j + 1] -= grid[row, zero - beyond, j + 1]
                grid[mirror, last - beyond, j] += grid[row, last + beyond, j]
                grid[mirror, last - beyond, j + 1] -= grid[row, last + beyond, j + 1]
        for j in range(_TURN):
            grid[row, zero, j] *= np.float32(2)
            grid[row, last, j] *= np.float32(2)


def _inverse(prepared: Plan, grid: Singles, out: Singles) -> None:
    """Transform the grid into slices, lines along y first; the grid is used up."""
    side, columns, half = prepared.side, prepared.columns, prepared.side // 2 + 1
    spectrum = grid.view(np.complex64)
    for first in range(0, half, _LINES):
        lines = np.zeros((side, min(_LINES, half - first), LANES), np.complex64)
        _gather(spectrum, first, prepared.turns_y, prepared.turns_x, lines)
        lines = fft.ifft(lines, axis=0, norm="forward", overwrite_x=True)
        spectrum[:columns, GUARD + first : GUARD + first + lines.shape[1]] = lines[:columns]
    for first in range(0, columns, _LINES):
        some = slice(first, min(first + _LINES, columns))
        lines = fft.irfft(spectrum[some, GUARD : GUARD + half], n=side, axis=1, norm="forward")
        _finish(lines, first, prepared.unwindowed, out)


@compiled(error_model="numpy")
def _gather(
    spectrum: NDArray[np.complex64],
    first: int,
    turns_y: NDArray[np.complex64],
    turns_x: NDArray[np.complex64],
    lines: NDArray[np.complex64],
) -> None:
    """Copy some columns of the grid, from the order of frequencies to that of the transform."""
    side = lines.shape[0]
    for row in range(spectrum.shape[0]):
        at = (row - GUARD - side // 2) % side
        for column in range(lines.shape[1]):
            turn = turns_y[row] * turns_x[first + column]
            for lane in range(LANES):
                lines[at, column, lane] += spectrum[row, GUARD + first + column, lane] * turn


@compiled(error_model="numpy")
def _finish(lines: Singles, first: int, unwindowed: Singles, out: Singles) -> None:
    """Write some rows of all slices, divided by the transform of the window."""
    for y in range(lines.shape[0]):
        for lane in range(out.shape[0]):
            for x in range(unwindowed.size):
                out[lane, first + y, x] = lines[y, x, lane] * unwindowed[first + y] * unwindowed[x]
