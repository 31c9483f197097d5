"""The value of a scan between its voxels: Keys's cubic or trilinear, without a prefilter.

A value depends on its own taps only, added in one fixed order of IEEE operations without fastmath; `resample` tells
why.
"""

from __future__ import annotations

import numpy as np

from crackdask.kernels.compiling import compiled

TOLERANCE = 1e-6  # voxels: how far outside the scan still counts as on its border
NEGLIGIBLE = 1e-6  # linear weight under which a fill voxel does no harm

#: Voxels of a run that is worth a loop of its own.
_WORTH = 8


@compiled(inline="always")
def _inside(position: float, size: int) -> bool:
    """Say whether a position lies on the scan, its border included."""
    return position >= -TOLERANCE and position <= (size - 1) + TOLERANCE


@compiled
def cubic_weights(f: float) -> tuple[float, float, float, float]:
    """Return Keys's four weights (a = -0.5) for the fraction f, exactly 0 1 0 0 for f = 0."""
    return (
        ((-0.5 * f + 1.0) * f - 0.5) * f,
        ((1.5 * f - 2.5) * f) * f + 1.0,
        ((-1.5 * f + 2.0) * f + 0.5) * f,
        ((0.5 * f - 0.5) * f) * f,
    )


@compiled
def _taps(index: int, size: int, origin: int, stride: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the offsets of four taps along an axis, the border repeated outside the scan."""
    last = size - 1
    return (
        np.uint64((max(index - 1, 0) - origin) * stride),
        np.uint64((index - origin) * stride),
        np.uint64((min(index + 1, last) - origin) * stride),
        np.uint64((min(index + 2, last) - origin) * stride),
    )


@compiled(inline="always")
def _beside_fill(flat, tz, ty, tx, fz, fy, fx, fill) -> bool:  # type: ignore[no-untyped-def]
    """Say whether a fill voxel has more than a negligible weight in the linear neighbourhood."""
    for a in range(1, 3):
        if (fz if a == 2 else 1.0 - fz) <= NEGLIGIBLE:
            continue
        for b in range(1, 3):
            if (fy if b == 2 else 1.0 - fy) <= NEGLIGIBLE:
                continue
            row = tz[a] + ty[b]
            if fx < 1.0 - NEGLIGIBLE and flat[row + tx[1]] == fill:
                return True
            if fx > NEGLIGIBLE and flat[row + tx[2]] == fill:
                return True
    return False


@compiled(inline="always")
def _reaches_fill(flat, tz, ty, tx, fill) -> bool:  # type: ignore[no-untyped-def]
    """Say whether any tap of the cubic is a fill voxel."""
    reaches = False
    for a in range(4):
        for b in range(4):
            row = tz[a] + ty[b]
            for c in range(4):
                if flat[row + tx[c]] == fill:
                    reaches = True
    return reaches


@compiled(inline="always")
def _cubic(flat, tz, ty, tx, fz, fy, fx) -> float:  # type: ignore[no-untyped-def]
    """Return Keys's cubic of 64 taps, always added in the same order."""
    value = 0.0
    wz, wy, wx = cubic_weights(fz), cubic_weights(fy), cubic_weights(fx)
    for a in range(4):
        plane = 0.0
        for b in range(4):
            row = tz[a] + ty[b]
            plane += wy[b] * (
                (wx[0] * flat[row + tx[0]] + wx[1] * flat[row + tx[1]])
                + (wx[2] * flat[row + tx[2]] + wx[3] * flat[row + tx[3]])
            )
        value += wz[a] * plane
    return value


@compiled(inline="always")
def _linear(flat, tz, ty, tx, fz, fy, fx, has_fill, fill) -> float:  # type: ignore[no-untyped-def]
    """Return the trilinear value of the 8 taps around."""
    value = 0.0
    for a in range(1, 3):
        uz = fz if a == 2 else 1.0 - fz
        for b in range(1, 3):
            uy = fy if b == 2 else 1.0 - fy
            row = tz[a] + ty[b]
            left, right = (1.0 - fx) * flat[row + tx[1]], fx * flat[row + tx[2]]
            if has_fill:
                # A fill voxel of negligible weight (possibly enormous) is left out altogether.
                if flat[row + tx[1]] == fill:
                    left = 0.0
                if flat[row + tx[2]] == fill:
                    right = 0.0
            value += (uz * uy) * (left + right)
    return value


@compiled
def interpolate(  # type: ignore[no-untyped-def]
    flat, strides, origin, shape, cz, cy, cx, cubic, has_fill, fill
) -> tuple[bool, float]:
    """Return whether a source position is valid, and the value there."""
    if not (_inside(cz, shape[0]) and _inside(cy, shape[1]) and _inside(cx, shape[2])):
        return False, 0.0
    cz = min(max(cz, 0.0), shape[0] - 1.0)
    cy = min(max(cy, 0.0), shape[1] - 1.0)
    cx = min(max(cx, 0.0), shape[2] - 1.0)
    iz, iy, ix = int(cz), int(cy), int(cx)
    fz, fy, fx = cz - iz, cy - iy, cx - ix
    tz = _taps(iz, shape[0], origin[0], strides[0])
    ty = _taps(iy, shape[1], origin[1], strides[1])
    tx = _taps(ix, shape[2], origin[2], np.int64(1))
    if has_fill and _beside_fill(flat, tz, ty, tx, fz, fy, fx, fill):
        return False, 0.0
    # A fill voxel further out must not ring into the scan: such voxels fall back to linear.
    if cubic and not (has_fill and _reaches_fill(flat, tz, ty, tx, fill)):
        return True, _cubic(flat, tz, ty, tx, fz, fy, fx)
    return True, _linear(flat, tz, ty, tx, fz, fy, fx, has_fill, fill)


@compiled
def _run(row, first: int, shape) -> int:  # type: ignore[no-untyped-def]
    """Return where a run of positions ends that have the taps of the first one, one voxel further on each time.

    No tap of theirs is beyond the scan.
    """
    z, y, x = row[0, first], row[1, first], row[2, first]
    if not (z >= 1.0 and z < shape[0] - 2.0 and y >= 1.0 and y < shape[1] - 2.0 and x >= 1.0):
        return first
    iz, iy, ix = np.floor(z), np.floor(y), np.floor(x)
    last = min(row.shape[1], first + max(0, shape[2] - 2 - int(ix)))
    end = first
    while end < last and np.floor(row[0, end]) == iz and np.floor(row[1, end]) == iy and np.floor(row[2, end]) == ix:
        end += 1
        ix += 1.0
    return end


@compiled
def _first_tap(strides, origin, z: float, y: float, x: float) -> int:  # type: ignore[no-untyped-def]
    """Return the offset of the first of the 64 taps of a position, none of which is beyond the scan."""
    return (int(z) - 1 - origin[0]) * strides[0] + (int(y) - 1 - origin[1]) * strides[1] + int(x) - 1 - origin[2]


@compiled
def _meets_fill(flat, begin: int, strides, count: int, fill) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether any of so many voxels of 16 rows is a fill voxel."""
    found = 0
    for a in range(4):
        for b in range(4):
            row = flat[begin + a * strides[0] + b * strides[1] :][:count]
            for n in range(row.size):
                found |= row[n] == fill
    return found != 0


@compiled
def _cubic_run(flat, strides, origin, z, y, x, values) -> None:  # type: ignore[no-untyped-def]
    """Interpolate at a run of positions: as `_cubic` does, but in vectors, for their taps lie side by side."""
    iz, iy, ix = int(z[0]), int(y[0]), int(x[0])
    begin = _first_tap(strides, origin, z[0], y[0], x[0])
    for n in range(np.uint64(values.size)):
        value = 0.0
        wz, wy = cubic_weights(z[n] - iz), cubic_weights(y[n] - iy)
        wx = cubic_weights(x[n] - float(ix + np.int64(n)))
        for a in range(4):
            plane = 0.0
            for b in range(4):
                row = np.uint64(begin + a * strides[0] + b * strides[1]) + n
                plane += wy[b] * (
                    (wx[0] * flat[row] + wx[1] * flat[row + np.uint64(1)])
                    + (wx[2] * flat[row + np.uint64(2)] + wx[3] * flat[row + np.uint64(3)])
                )
            value += wz[a] * plane
        values[n] = value


@compiled
def interpolate_row(  # type: ignore[no-untyped-def]
    flat, strides, origin, shape, row, cubic, has_fill, fill, values, valid
) -> None:
    """Write the values at a row of source positions (axis, x), and whether they are valid; see `interpolate`."""
    i = np.int64(0)  # of a plain 0 numba would make a constant, and compile `_run` for it alone
    while i < values.size:
        end = _run(row, i, shape) if cubic else i
        is_plain = end - i >= _WORTH
        if is_plain and has_fill:
            begin = _first_tap(strides, origin, row[0, i], row[1, i], row[2, i])
            is_plain = not _meets_fill(flat, begin, strides, end - i + 3, fill)
        if is_plain:
            _cubic_run(flat, strides, origin, row[0, i:end], row[1, i:end], row[2, i:end], values[i:end])
            for n in range(i, end):
                valid[n] = True
            i = end
            continue
        for n in range(i, max(end, i + 1)):
            valid[n], values[n] = interpolate(
                flat, strides, origin, shape, row[0, n], row[1, n], row[2, n], cubic, has_fill, fill
            )
        i = max(end, i + 1)
