"""Reductions of raw voxels: counts, extremes and cube means, one pass each over a slab."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.kernels.compiling import compiled


@compiled
def count_values(voxels: NDArray[Any], offset: int, counts: NDArray[np.int64]) -> None:
    """Add to `counts` how often each whole number, moved by `offset`, occurs (1-D input).

    Two tables in turn: neighbours are often equal, and one table would wait for itself.
    """
    other = np.zeros_like(counts)
    n = voxels.size // 2 * 2
    for i in range(0, n, 2):
        counts[np.int64(voxels[i]) + offset] += 1
        other[np.int64(voxels[i + 1]) + offset] += 1
    if n < voxels.size:
        counts[np.int64(voxels[n]) + offset] += 1
    counts += other


@compiled
def count_bins(
    voxels: NDArray[Any],
    low: float,
    high: float,
    fill: float,
    has_fill: bool,
    counts: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Add voxels to equal bins from `low` to `high`; return how many are below, above and fill.

    The bin is ``floor((value - low) * (bins / (high - low)))`` in float64, the same for a value
    wherever it lies. NaN is in no bin.
    """
    below, above, left_out, last = 0, 0, 0, np.int64(counts.size - 1)
    scale = counts.size / (high - low)
    skip_nan = has_fill and np.isnan(fill)
    for i in range(voxels.size):
        value = np.float64(voxels[i])
        if has_fill and (value == fill or (skip_nan and np.isnan(value))):
            left_out += 1
        elif value < low:
            below += 1
        elif value > high:
            above += 1
        elif value >= low:
            counts[min(np.int64((value - low) * scale), last)] += 1
    return below, above, left_out


@compiled
def count_keys(
    voxels: NDArray[Any],
    bits: NDArray[np.uint32],
    real: bool,
    fill: float,
    has_fill: bool,
    counts: NDArray[np.int64],
) -> None:
    """Count voxels by the leading 16 of 32 bits, arranged so that keys rise with the values.

    Of a float32 that is sign, exponent and 7 bits of the fraction: bins that suit any range.
    """
    for i in range(voxels.size):
        value = np.float64(voxels[i])
        if (has_fill and value == fill) or not np.isfinite(value):
            continue
        key = bits[i]
        if real:
            key = ~key if key >> np.uint32(31) else key | np.uint32(0x80000000)
        counts[key >> np.uint32(16)] += 1


@compiled
def span(voxels: NDArray[Any], fill: float, has_fill: bool) -> tuple[float, float, int, int]:
    """Return least and largest finite value, and the numbers of non-finite and of fill voxels.

    Infinities when there is no finite voxel. With NaN as fill, NaN counts as fill.
    """
    low, high, nonfinite, left_out = np.inf, -np.inf, 0, 0
    skip_nan = has_fill and np.isnan(fill)
    for i in range(voxels.size):
        value = np.float64(voxels[i])
        if has_fill and (value == fill or (skip_nan and np.isnan(value))):
            left_out += 1
        elif not np.isfinite(value):
            nonfinite += 1
        else:
            low = min(low, value)
            high = max(high, value)
    return low, high, nonfinite, left_out


@compiled
def mean_whole(slab: NDArray[Any], f: int, out: NDArray[Any]) -> None:
    """Write the mean over cubes of f^3 whole numbers, halves rounded up, from int64 sums."""
    nz, ny, nx = slab.shape
    sums = np.empty(out.shape[2], np.int64)
    for oz in range(out.shape[0]):
        z1 = min((oz + 1) * f, nz)
        for oy in range(out.shape[1]):
            y1 = min((oy + 1) * f, ny)
            sums[:] = 0
            for z in range(oz * f, z1):
                for y in range(oy * f, y1):
                    row = slab[z, y]
                    for ox in range(out.shape[2]):
                        total = np.int64(0)
                        for x in range(ox * f, min((ox + 1) * f, nx)):
                            total += np.int64(row[x])
                        sums[ox] += total
            for ox in range(out.shape[2]):
                n = (z1 - oz * f) * (y1 - oy * f) * (min((ox + 1) * f, nx) - ox * f)
                out[oz, oy, ox] = (2 * sums[ox] + n) // (2 * n)


@compiled
def mean_real(slab: NDArray[Any], f: int, out: NDArray[Any]) -> None:
    """Write the mean over cubes of f^3 real numbers, float64 sums in raster order of a cube."""
    nz, ny, nx = slab.shape
    sums = np.empty(out.shape[2], np.float64)
    for oz in range(out.shape[0]):
        z1 = min((oz + 1) * f, nz)
        for oy in range(out.shape[1]):
            y1 = min((oy + 1) * f, ny)
            sums[:] = 0.0
            for z in range(oz * f, z1):
                for y in range(oy * f, y1):
                    row = slab[z, y]
                    for ox in range(out.shape[2]):
                        total = sums[ox]
                        for x in range(ox * f, min((ox + 1) * f, nx)):
                            total += np.float64(row[x])
                        sums[ox] = total
            for ox in range(out.shape[2]):
                n = (z1 - oz * f) * (y1 - oy * f) * (min((ox + 1) * f, nx) - ox * f)
                out[oz, oy, ox] = sums[ox] / n


@compiled
def mean_valid(slab: NDArray[Any], f: int, fill: float, whole: bool, out: NDArray[Any]) -> None:
    """Write the mean over the voxels of each cube that are not `fill`; `fill` where none is."""
    nz, ny, nx = slab.shape
    skip_nan = np.isnan(fill)
    for oz in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                total, exact, n = 0.0, np.int64(0), 0
                for z in range(oz * f, min((oz + 1) * f, nz)):
                    for y in range(oy * f, min((oy + 1) * f, ny)):
                        for x in range(ox * f, min((ox + 1) * f, nx)):
                            value = slab[z, y, x]
                            real = np.float64(value)
                            if real == fill or (skip_nan and np.isnan(real)):
                                continue
                            n += 1
                            if whole:
                                exact += np.int64(value)
                            else:
                                total += real
                if n == 0:
                    out[oz, oy, ox] = fill
                elif whole:
                    out[oz, oy, ox] = (2 * exact + n) // (2 * n)
                else:
                    out[oz, oy, ox] = total / n
