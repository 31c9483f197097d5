"""The shift between two blurred volumes by Gauss-Newton, with gain and offset of the grey levels free.

One compiled loop without fastmath. Sums run over rows lane by lane, and then over the lanes, in one fixed order, so
that neither the width of a processor's vectors nor who asks can show in a bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crackdask.arrays import Floats, Mask, Singles
from crackdask.kernels.compiling import compiled
from crackdask.kernels.interpolation import cubic_weights
from crackdask.kernels.smooth_curve import MAD

#: Unknowns: three shifts, gain, offset.
_UNKNOWNS = 5
#: Sums for them: the upper half of a symmetric matrix, the right side, the weights.
_SUMS = _UNKNOWNS * (_UNKNOWNS + 1) // 2 + _UNKNOWNS + 1
#: Bins in which the median of the residuals is told.
_BINS = 1024
#: Voxels, and share of the template, that must be valid; least pivot of the scaled normal equations.
_FEWEST, _LEAST_SHARE, _FLAT = 100, 0.2, 1e-9


class ShiftFit(NamedTuple):
    """What Gauss-Newton found.

    Attributes
    ----------
    shift
        (3,) voxels: fixed(x) is about gain * moving(x + shift) + offset.
    deviation
        Of the residuals, robust.
    correlation
        Of the grey levels that were used.
    information
        (3, 3), of the shift, with gain and offset left free, for residuals of deviation 1.
    middle
        (3,), mean place of the voxels used.
    """

    shift: Floats
    deviation: float
    correlation: float
    information: Floats
    middle: Floats


@compiled(apart=True)
def _weighted(grey, weights, axis, out) -> None:  # type: ignore[no-untyped-def]
    """Weigh each voxel and the three after it along an axis."""
    nz, ny, nx = out.shape
    w0, w1, w2, w3 = weights
    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
    for k in range(nz):
        for j in range(ny):
            target = out[k, j]
            a = grey[k, j, :nx]
            b = grey[k + dz, j + dy, dx : dx + nx]
            c = grey[k + 2 * dz, j + 2 * dy, 2 * dx : 2 * dx + nx]
            d = grey[k + 3 * dz, j + 3 * dy, 3 * dx : 3 * dx + nx]
            for i in range(nx):
                target[i] = (w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i])


@compiled
def _singles(fraction: float) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    a, b, c, d = cubic_weights(fraction)
    return np.float32(a), np.float32(b), np.float32(c), np.float32(d)


@compiled
def _move(grey, start, along_z, along_y, out) -> tuple[int, int, int]:  # type: ignore[no-untyped-def]
    """Fill `out` with Keys's cubic from `start` on; return the whole part of `start`."""
    z, y, x = int(np.floor(start[0])), int(np.floor(start[1])), int(np.floor(start[2]))
    nz, ny, nx = out.shape
    window = grey[z - 1 : z + nz + 2, y - 1 : y + ny + 2, x - 1 : x + nx + 2]
    # Of plain numbers numba would make constants, and compile a function for each.
    _weighted(window, _singles(start[0] - z), np.int64(0), along_z)
    _weighted(along_z, _singles(start[1] - y), np.int64(1), along_y)
    _weighted(along_y, _singles(start[2] - x), np.int64(2), out)
    return z, y, x


@compiled
def _hold(usable, valid, z, y, x, held, mask) -> int:  # type: ignore[no-untyped-def]
    """Mark the voxels of the template that count; return how many they are.

    A voxel of the moved volume is held where those next to it are valid: the taps further out weigh so little that the
    mean around them will do. It counts where its six neighbours are held as well, for its slopes.
    """
    nz, ny, nx = held.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                held[k, j, i] = (
                    valid[z + k, y + j, x + i]
                    and valid[z + k, y + j, x + i + 1]
                    and valid[z + k, y + j + 1, x + i]
                    and valid[z + k, y + j + 1, x + i + 1]
                    and valid[z + k + 1, y + j, x + i]
                    and valid[z + k + 1, y + j, x + i + 1]
                    and valid[z + k + 1, y + j + 1, x + i]
                    and valid[z + k + 1, y + j + 1, x + i + 1]
                )
    count = 0
    for k in range(nz - 2):
        for j in range(ny - 2):
            for i in range(nx - 2):
                mask[k, j, i] = (
                    usable[k, j, i]
                    and held[k + 1, j + 1, i + 1]
                    and held[k, j + 1, i + 1]
                    and held[k + 2, j + 1, i + 1]
                    and held[k + 1, j, i + 1]
                    and held[k + 1, j + 2, i + 1]
                    and held[k + 1, j + 1, i]
                    and held[k + 1, j + 1, i + 2]
                )
                count += mask[k, j, i]
    return count


@compiled
def _add_up(fixed, moved, mask, gain, offset, scale, row, lanes, sums) -> None:  # type: ignore[no-untyped-def]
    """Add up the normal equations of (dz, dy, dx, gain, offset); `moved` has one more voxel on every side.

    With scale 0 every voxel counts alike, otherwise those far off count little (Cauchy).
    """
    nz, ny, nx = fixed.shape
    lanes[:] = 0.0
    slope = 1.0 / (scale * scale) if scale > 0.0 else 0.0
    for k in range(nz):
        for j in range(ny):
            f, held = fixed[k, j], mask[k, j]
            centre = moved[k + 1, j + 1]
            above, below = moved[k, j + 1], moved[k + 2, j + 1]
            front, back = moved[k + 1, j], moved[k + 1, j + 2]
            for i in range(nx):
                here = float(centre[i + 1])
                rest = f[i] - (gain * here + offset)
                weight = (1.0 if held[i] else 0.0) / (1.0 + rest * rest * slope)
                row[0, i] = 0.5 * (float(below[i + 1]) - float(above[i + 1]))
                row[1, i] = 0.5 * (float(back[i + 1]) - float(front[i + 1]))
                row[2, i] = 0.5 * (float(centre[i + 2]) - float(centre[i]))
                row[3, i] = here
                row[4, i] = 1.0
                row[5, i] = float(f[i])
                row[6, i] = weight
                lanes[20, i] += weight
            place = 0
            for a in range(5):
                for i in range(nx):
                    row[7, i] = row[6, i] * row[a, i]
                for b in range(a, 6):  # 5 is the right side
                    for i in range(nx):
                        lanes[place, i] += row[7, i] * row[b, i]
                    place += 1
    for place in range(lanes.shape[0]):
        total = 0.0
        for i in range(nx):
            total += lanes[place, i]
        sums[place] = total


@compiled
def _solve(sums, normal, answer, right, scale, lower) -> bool:  # type: ignore[no-untyped-def]
    """Solve the normal equations by Cholesky, each unknown on a scale of its own; tell whether they can be."""
    place = 0
    for a in range(5):
        for b in range(a, 5):
            normal[a, b] = normal[b, a] = sums[place]
            place += 1
        right[a] = sums[place]
        place += 1
    for a in range(5):
        if not normal[a, a] > 0.0:
            return False
        scale[a] = np.sqrt(normal[a, a])
    for a in range(5):
        for b in range(a + 1):
            value = normal[a, b] / (scale[a] * scale[b])
            for c in range(b):
                value -= lower[a, c] * lower[b, c]
            if a == b:
                if not value > _FLAT:
                    return False
                lower[a, a] = np.sqrt(value)
            else:
                lower[a, b] = value / lower[b, b]
    for a in range(5):
        value = right[a] / scale[a]
        for c in range(a):
            value -= lower[a, c] * answer[c]
        answer[a] = value / lower[a, a]
    for a in range(4, -1, -1):
        value = answer[a]
        for c in range(a + 1, 5):
            value -= lower[c, a] * answer[c]
        answer[a] = value / lower[a, a]
    for a in range(5):
        answer[a] /= scale[a]
        if not abs(answer[a]) < np.inf:
            return False
    return answer[3] > 0.0


@compiled
def _median(fixed, moved, mask, used, gain, offset, rest, counts) -> float:  # type: ignore[no-untyped-def]
    """Return the median of the residuals' size, to a thousandth of the largest."""
    nz, ny, nx = fixed.shape
    largest = 0.0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                size = abs(float(fixed[k, j, i]) - (gain * float(moved[k + 1, j + 1, i + 1]) + offset))
                rest[k, j, i] = size if mask[k, j, i] else -1.0
                largest = max(largest, rest[k, j, i])
    if largest <= 0.0:
        return 0.0
    counts[:] = 0
    scale = (_BINS - 1) / largest
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if rest[k, j, i] >= 0.0:
                    counts[int(rest[k, j, i] * scale)] += 1
    below, half = 0, used / 2
    for n in range(_BINS):
        if below + counts[n] >= half:
            return float((n + (half - below) / counts[n]) / scale)
        below += counts[n]
    return largest


@compiled
def _correlate(fixed, moved, mask, middle) -> float:  # type: ignore[no-untyped-def]
    """Return the correlation of the voxels that count, and fill in their mean place."""
    nz, ny, nx = fixed.shape
    used, f, g, ff, gg, fg = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    level = float(fixed[0, 0, 0])  # so that squares stay small
    middle[:] = 0.0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if not mask[k, j, i]:
                    continue
                a, b = float(fixed[k, j, i]) - level, float(moved[k + 1, j + 1, i + 1]) - level
                used += 1
                f += a
                g += b
                ff += a * a
                gg += b * b
                fg += a * b
                middle[0] += k
                middle[1] += j
                middle[2] += i
    for axis in range(3):
        middle[axis] /= used
    power = (ff - f * f / used) * (gg - g * g / used)
    return (fg - f * g / used) / np.sqrt(power) if power > 0.0 else 0.0


def _descend(  # type: ignore[no-untyped-def]
    fixed, usable, moving, valid, whole, margin, rounds, settled, runaway, shift, normal, answer, middle
) -> tuple[bool, float, float]:
    """Step until a step is short; return whether that went well, the deviation and the correlation.

    Not compiled: what it calls is, and would be once more in here, which takes seconds.
    """
    nz, ny, nx = fixed.shape
    along_z = np.empty((nz + 2, ny + 5, nx + 5), np.float32)
    along_y = np.empty((nz + 2, ny + 2, nx + 5), np.float32)
    moved = np.empty((nz + 2, ny + 2, nx + 2), np.float32)
    held, mask = np.empty(moved.shape, np.bool_), usable.copy()
    rest, counts = np.empty(fixed.shape), np.empty(_BINS, np.int64)
    row, lanes, sums = np.empty((8, nx)), np.empty((_SUMS, nx)), np.empty(_SUMS)
    right, scale, lower = np.empty(5), np.empty(5), np.empty((5, 5))
    used = int(np.count_nonzero(mask))
    gain, offset, deviation = 1.0, 0.0, 0.0
    for _ in range(rounds):
        z, y, x = _move(moving, shift + margin, along_z, along_y, moved)
        if not whole:
            used = _hold(usable, valid, z, y, x, held, mask)
        if used < _LEAST_SHARE * mask.size:
            return False, 0.0, 0.0
        _add_up(fixed, moved, mask, gain, offset, 2 * deviation, row, lanes, sums)
        if sums[20] < _FEWEST or not _solve(sums, normal, answer, right, scale, lower):
            return False, 0.0, 0.0
        gain, offset = answer[3], answer[4]
        length = 0.0
        for axis in range(3):
            answer[axis] /= gain
            length += answer[axis] * answer[axis]
        length = np.sqrt(length)
        for axis in range(3):
            shift[axis] += answer[axis] / max(1.0, length)
            if abs(shift[axis]) > runaway:
                return False, 0.0, 0.0
        deviation = MAD * _median(fixed, moved, mask, used, gain, offset, rest, counts)
        if length < settled:
            break
    return True, deviation, _correlate(fixed, moved, mask, middle)


def fit_shift(
    fixed: Singles,
    usable: Mask,
    moving: Singles,
    valid: Mask,
    *,
    margin: int,
    rounds: int,
    settled: float,
    runaway: float,
) -> ShiftFit | None:
    """Return the shift that brings ``gain * moving(x + shift) + offset`` closest to a template.

    Large residuals (cracks) count little: Cauchy weights on the scale of the residuals' median.

    Parameters
    ----------
    fixed, usable
        The template, and its voxels that count.
    moving, valid
        The same place and `margin` + 1 more voxels on every side, of which `runaway` and 3 are looked at.
    margin, rounds, settled, runaway
        See `moving`; most steps; a step shorter than `settled` voxels is the last; further off than `runaway` none is
        believed.

    Returns
    -------
    ShiftFit or None
        None where the grey levels do not settle a shift, or where it runs away.
    """
    shift, normal, answer, middle = np.zeros(3), np.empty((5, 5)), np.empty(5), np.empty(3)
    well, deviation, correlation = _descend(
        fixed, usable, moving, valid, bool(valid.all()), float(margin), rounds, settled, runaway,
        shift, normal, answer, middle,
    )  # fmt: skip
    if not well:
        return None
    # What the data say about the shift once gain and offset are free (Schur complement).
    cross = normal[:3, 3:]
    inner = normal[:3, :3] - cross @ np.linalg.solve(normal[3:, 3:], cross.T)
    return ShiftFit(shift, float(deviation), float(correlation), inner * float(answer[3]) ** 2, middle)
