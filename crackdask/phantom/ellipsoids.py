"""Packed ellipsoids whose slices and projections are known in closed form: the truth that reconstruction is tested on.

Nothing here is reconstructed or interpolated. A ray's path through an ellipsoid is the root of a quadratic, and a
voxel's value the share of it that is solid, so an error that is measured against them is one of reconstruction alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.kernels.compiling import compiled
from crackdask.phantom import random_particles


@dataclass(frozen=True)
class Ellipsoids:
    """Solid ellipsoids beside and in each other; where they overlap, their attenuations add up.

    Parameters
    ----------
    centres
        (ellipsoid, 3): row z, and y and x from the axis of rotation, in voxels.
    forms
        (ellipsoid, 3, 3): symmetric matrices A; a point p is inside where (p - centre) A (p - centre) <= 1.
    attenuations
        (ellipsoid,): per voxel edge; that of a crack inside a solid is negative.
    """

    centres: Floats
    forms: Floats
    attenuations: Floats

    def projections(self, degrees: Floats, rows: Floats, columns: int, center: float, fine: int = 4) -> Singles:
        """Return line integrals (row, projection, column), each the mean of `fine` x `fine` rays within the pixel.

        A point (z, y, x) is seen in row z at the column x cos(angle) + y sin(angle) + center.
        """
        turns = np.radians(np.asarray(degrees, np.float64))
        out = np.zeros((len(rows), len(turns), columns))
        _chords(
            self.centres, self.forms, self.attenuations, np.cos(turns), np.sin(turns), np.asarray(rows, np.float64),
            center, fine, out,
        )  # fmt: skip
        return out.astype(np.float32)

    def slices(self, rows: Floats, size: int, fine: int = 4) -> Singles:
        """Return voxels (row, y, x) of square slices about the axis, each the mean of `fine`**3 points within it."""
        out = np.zeros((len(rows), size, size))
        _voxels(self.centres, self.forms, self.attenuations, np.asarray(rows, np.float64), fine, out)
        return out.astype(np.float32)


def packed(
    seed: int, count: int, radius: float, height: float, radii: tuple[float, float], asphericity: float = 0.2
) -> Ellipsoids:
    """Return ellipsoids that do not overlap, of attenuation 1, in a cylinder about the axis with its middle at row 0.

    Parameters
    ----------
    seed
        Of everything drawn.
    count
        Wanted; the largest are placed first, and one that finds no room is left out.
    radius, height
        Of the cylinder, in voxels.
    radii
        Smallest and largest radius of the sphere around an ellipsoid.
    asphericity
        The shorter axes are down to exp(-2 asphericity) of that radius.
    """
    rng = np.random.default_rng([seed, 7])
    sizes = np.sort(rng.uniform(*radii, count))[::-1]
    centres, kept = np.empty((count, 3)), 0
    placed = np.empty(count)
    for size in sizes:
        turn, out = rng.uniform(0, 2 * math.pi, 150), (radius - size) * np.sqrt(rng.uniform(0, 1, 150))
        depth = rng.uniform(-height / 2, height / 2, 150)
        tries = np.stack([depth, out * np.sin(turn), out * np.cos(turn)], axis=1)
        apart = np.linalg.norm(tries[:, None] - centres[None, :kept], axis=2) >= size + placed[:kept]
        if (free := np.flatnonzero(apart.all(axis=1))).size:
            centres[kept], placed[kept] = tries[free[0]], size
            kept += 1
    axes = placed[:kept, None] * np.exp(-2 * asphericity * rng.uniform(0, 1, (kept, 3)))
    forms = np.empty((kept, 3, 3))
    for k in range(kept):
        frame = random_particles.rotation(rng.normal(size=3), rng.uniform(0, math.pi))
        forms[k] = (frame / axes[k] ** 2) @ frame.T
    return Ellipsoids(centres[:kept].copy(), forms, np.ones(kept))


@compiled
def _chords(
    centres: Floats,
    forms: Floats,
    attenuations: Floats,
    cosines: Floats,
    sines: Floats,
    rows: Floats,
    center: float,
    fine: int,
    out: Floats,
) -> None:
    """Add each ellipsoid's paths to the pixels that it is seen in.

    With the ray's direction d and an offset u across it, (u + t d) A (u + t d) = 1 has the two ends of the path as its
    roots t; across the ray lie z and the detector's column.
    """
    for e in range(len(centres)):
        form = forms[e]
        for p in range(len(cosines)):
            c, s = cosines[p], sines[p]
            # In the frame of the detector: z, column, along the ray (-sin, cos) of (x, y).
            zz, zy, zx = form[0, 0], form[0, 1], form[0, 2]
            yy, yx, xx = form[1, 1], form[1, 2], form[2, 2]
            zs, zt = zx * c + zy * s, -zx * s + zy * c
            ss, tt = xx * c * c + 2 * yx * s * c + yy * s * s, xx * s * s - 2 * yx * s * c + yy * c * c
            st = (yy - xx) * s * c + yx * (c * c - s * s)
            a, b, d = zz - zt * zt / tt, zs - zt * st / tt, ss - st * st / tt
            at = centres[e, 2] * c + centres[e, 1] * s + center
            reach = math.sqrt(a / (a * d - b * b)) + 1
            first, last = max(0, math.floor(at - reach)), min(out.shape[2] - 1, math.ceil(at + reach))
            for r in range(len(rows)):
                for column in range(first, last + 1):
                    total = 0.0
                    for i in range(fine):
                        z = rows[r] + (i + 0.5) / fine - 0.5 - centres[e, 0]
                        for j in range(fine):
                            u = column + (j + 0.5) / fine - 0.5 - at
                            left = 1 - (a * z * z + 2 * b * z * u + d * u * u)
                            if left > 0:
                                total += 2 * math.sqrt(left / tt)
                    out[r, p, column] += attenuations[e] * total / (fine * fine)


@compiled
def _voxels(centres: Floats, forms: Floats, attenuations: Floats, rows: Floats, fine: int, out: Floats) -> None:
    """Add each ellipsoid to the voxels that it reaches."""
    size = out.shape[1]
    middle = (size - 1) / 2
    for e in range(len(centres)):
        form = forms[e]
        inverse = np.linalg.inv(form)
        far_z, far_y, far_x = math.sqrt(inverse[0, 0]), math.sqrt(inverse[1, 1]), math.sqrt(inverse[2, 2])
        y0, x0 = centres[e, 1] + middle, centres[e, 2] + middle
        for r in range(len(rows)):
            if abs(rows[r] - centres[e, 0]) > far_z + 1:
                continue
            for y in range(max(0, math.floor(y0 - far_y)), min(size - 1, math.ceil(y0 + far_y)) + 1):
                for x in range(max(0, math.floor(x0 - far_x)), min(size - 1, math.ceil(x0 + far_x)) + 1):
                    inside = 0
                    for i in range(fine):
                        dz = rows[r] + (i + 0.5) / fine - 0.5 - centres[e, 0]
                        for j in range(fine):
                            dy = y + (j + 0.5) / fine - 0.5 - y0
                            for k in range(fine):
                                dx = x + (k + 0.5) / fine - 0.5 - x0
                                along_z = form[0, 0] * dz + 2 * (form[0, 1] * dy + form[0, 2] * dx)
                                across = form[1, 1] * dy * dy + 2 * form[1, 2] * dy * dx + form[2, 2] * dx * dx
                                inside += dz * along_z + across <= 1
                    out[r, y, x] += attenuations[e] * inside / fine**3
