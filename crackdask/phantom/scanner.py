"""What a scanner makes of drawn particles: blur, rim, streaks and noise, for one block of a scan.

Every voxel is computed from its own index in the scan, in one fixed order and without fast
maths, so it does not depend on the block that it is drawn in.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Integers, Singles
from crackdask.kernels.compiling import compiled

_QUANTILES = 4096


def gaussian(sd: float, radius: int) -> Singles:
    """Return one side of a Gaussian, from its middle outward, both sides summing to 1.

    >>> [round(float(w), 3) for w in gaussian(0.8, 2)]
    [0.499, 0.229, 0.022]
    """
    side = [math.exp(-0.5 * (k / sd) ** 2) if sd > 0 else float(k == 0) for k in range(radius + 1)]
    return (np.array(side) / (side[0] + 2 * sum(side[1:]))).astype(np.float32)


def gaussian_after(sd: float, radius: int, first_sd: float, first_radius: int) -> Singles:
    """Return one side of a Gaussian that follows another, both cut at their radius.

    >>> gaussian_after(0.0, 0, 0.8, 2).tolist() == gaussian(0.8, 2).tolist()
    True
    """
    first, second = (np.append(side[:0:-1], side) for side in (gaussian(first_sd, first_radius), gaussian(sd, radius)))
    return np.convolve(first, second)[first_radius + radius :]


@compiled
def blur(block: Singles, side: Singles) -> Singles:
    """Filter a block along x, then y, then z; it comes back smaller by the radius all round."""
    r = side.size - 1
    nz, ny, nx = block.shape
    mx, my, mz = nx - 2 * r, ny - 2 * r, nz - 2 * r
    plane = np.empty((ny, mx), np.float32)
    flat = np.empty((nz, my, mx), np.float32)
    for z in range(nz):
        for y in range(ny):
            row, out = block[z, y], plane[y]
            for x in range(mx):
                out[x] = side[0] * row[x + r]
            for t in range(1, r + 1):
                for x in range(mx):
                    out[x] += side[t] * (row[x + r - t] + row[x + r + t])
        for y in range(my):
            out, middle = flat[z, y], plane[y + r]
            for x in range(mx):
                out[x] = side[0] * middle[x]
            for t in range(1, r + 1):
                left, right = plane[y + r - t], plane[y + r + t]
                for x in range(mx):
                    out[x] += side[t] * (left[x] + right[x])
    smooth = np.empty((mz, my, mx), np.float32)
    for z in range(mz):
        for y in range(my):
            out, middle = smooth[z, y], flat[z + r, y]
            for x in range(mx):
                out[x] = side[0] * middle[x]
            for t in range(1, r + 1):
                left, right = flat[z + r - t, y], flat[z + r + t, y]
                for x in range(mx):
                    out[x] += side[t] * (left[x] + right[x])
    return smooth


def waves(vectors: Floats, phases: Floats, start: int, stop: int, axis: int) -> Singles:
    """Return (wave, cos or sin, voxel): each wave's phase along one axis, voxel by voxel."""
    angles = [
        [v[axis] * k + (p if axis == 2 else 0.0) for k in range(start, stop)]
        for v, p in zip(vectors.tolist(), phases.tolist(), strict=True)
    ]
    pairs = [[[math.cos(a) for a in row], [math.sin(a) for a in row]] for row in angles]
    return np.array(pairs, dtype=np.float32).reshape(len(angles), 2, stop - start)


def from_axis(place: Integers, shape: tuple[int, ...]) -> Floats:
    """Return the distance (y, x) of a block's voxels from the scan's axis, `place` being that of `expose`.

    >>> from_axis(np.array([0, 0, 0, 3, 5]), (1, 2, 2)).round(3).tolist()
    [[2.236, 1.414], [2.0, 1.0]]
    """
    y = np.arange(place[1], place[1] + shape[1]) - (place[3] - 1) / 2
    x = np.arange(place[2], place[2] + shape[2]) - (place[4] - 1) / 2
    far: Floats = np.sqrt(y[:, None] ** 2 + x[None] ** 2)
    return far


def cupping(place: Integers, shape: tuple[int, ...], depth: float) -> Singles:
    """Return what multiplies grey levels (y, x): 1 - depth on the axis, along a parabola to 1 in the corners."""
    corner = ((place[3] - 1) ** 2 + (place[4] - 1) ** 2) / 4
    return (1 - depth * (1 - from_axis(place, shape) ** 2 / corner)).astype(np.float32)


def rings(place: Integers, shape: tuple[int, ...], levels: Floats, amplitude: float) -> Singles:
    """Return what is added to grey levels (y, x): the level of each voxel's radius, linear between whole ones."""
    far = from_axis(place, shape)
    inner = far.astype(np.int64)
    share = far - inner
    return (amplitude * ((1 - share) * levels[inner] + share * levels[inner + 1])).astype(np.float32)


def quantiles() -> Singles:
    """Return a table of equally likely values; the sum of two draws has mean 0 and sd 1."""
    normal = NormalDist()
    table = np.array([normal.inv_cdf((k + 0.5) / _QUANTILES) for k in range(_QUANTILES)])
    scaled: Singles = (table / table.std() / math.sqrt(2.0)).astype(np.float32)
    return scaled


@compiled(inline="always")
def mix(key: np.uint64) -> np.uint64:
    """Return 64 well mixed bits of a 64-bit key (the splitmix64 finaliser)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled
def expose(
    out: NDArray[Any],
    sharp: Singles,
    wide: Singles,
    numbers: Singles,
    wave_z: Singles,
    wave_y: Singles,
    wave_x: Singles,
    shading: Singles,
    ringing: Singles,
    key: np.uint64,
    table: Singles,
    place: Integers,
) -> None:
    """Turn a block of blurred density into grey levels with rim, streaks, shading, rings and noise.

    `numbers` are rim, background, solid, streak, noise, scale and offset of the bytes, the largest grey, and the
    state's gain and offset. `shading` (y, x) multiplies grey levels and `ringing` (y, x) is added to them.
    `place` is (z, y, x) of the block's first voxel and the (y, x) edges of the scan, whose
    raster index drives the noise.
    """
    rim, dark, bright, streak, sd, scale, offset, most, gain, lift = numbers
    nz, ny, nx = out.shape
    line = np.empty(nx, np.float32)
    step, contrast = np.uint64(0x9E3779B97F4A7C15), bright - dark
    for z in range(nz):
        for y in range(ny):
            line[:] = 0.0
            for w in range(wave_x.shape[0]):
                c = wave_z[w, 0, z] * wave_y[w, 0, y] - wave_z[w, 1, z] * wave_y[w, 1, y]
                s = wave_z[w, 1, z] * wave_y[w, 0, y] + wave_z[w, 0, z] * wave_y[w, 1, y]
                for x in range(nx):
                    line[x] += c * wave_x[w, 0, x] - s * wave_x[w, 1, x]
            first = np.uint64(((place[0] + z) * place[3] + place[1] + y) * place[4] + place[2])
            for x in range(nx):
                density = sharp[z, y, x]
                edge = rim * (density - wide[z, y, x])
                grey = dark + contrast * (density + edge)
                grey += streak * line[x] * (np.float32(1.0) - np.float32(0.85) * density)
                grey = grey * shading[y, x] + ringing[y, x]
                bits = mix(key + (first + np.uint64(x)) * step)
                grey += sd * (table[bits & np.uint64(4095)] + table[(bits >> np.uint64(20)) & np.uint64(4095)])
                grey = grey * gain + lift
                grey = math.floor(grey * scale + offset + np.float32(0.5))
                out[z, y, x] = min(most, max(np.float32(0.0), grey))
