"""How each particle moved against the reference, and how the electrode swelled or shrank around it.

What the field did not follow of a particle is told by its grey levels in both resampled scans (`kernels.
particle_shift`), in whole numbers that add up over blocks; where these do not tell, by its centroids. Strain is a
property of the surroundings, and comes from the field: the volume gained around a particle over the volume it had,
det(F) - 1, F being the gradient of the whole motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import sqrt

import numpy as np

from crackdask.arrays import Floats
from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, window
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels.particle_shift import SUMS, add_up
from crackdask.kernels.source_positions import displacements
from crackdask.schema import OUTSIDE
from crackdask.steps.registration_result import StoredField

#: Nodes along an axis from which a gradient is made, and the order of the polynomial through them.
_NODES, _ORDER = 5, 3


def passes(particles: int) -> tuple[Pass, ...]:
    """Return the pass that compares a state with the reference: it makes `shift_sums`, (particle, sum).

    Parameters
    ----------
    particles
        In the reference: labels go from 1 to this number.
    """
    return (
        Pass(
            name="shifts",
            kernel=_compare,
            reads={"grey": 1, "reference_grey": 1, "label": 0},
            makes=("shift_sums",),
            reduce=partial(_total, particles),
            scratch=2,
        ),
    )


def _compare(block: Block) -> Result:
    before, after = (_with_rim(block, name) for name in ("reference_grey", "grey"))
    ids, sums = add_up(np.ascontiguousarray(block.read("label", 0)), before, after)
    return Result(tally={"ids": ids, "sums": sums})


def _with_rim(block: Block, name: str) -> Array:
    """Return a block and one voxel more on every side, OUTSIDE where the volume ends."""
    own, rim = block.grid.box(block.number), window(block, 1)
    grey = np.full([n + 2 for n in own.shape], OUTSIDE, np.uint8)
    grey[tuple(slice(a - o + 1, b - o + 1) for a, b, o in zip(rim.start, rim.stop, own.start, strict=True))] = (
        block.read(name, 1)
    )
    return grey


def _total(particles: int, grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    total = np.zeros((particles, SUMS), np.int64)
    for number in range(len(tallies)):
        each = tallies[number]
        total[each["ids"] - 1] += each["sums"]  # each label once in a block
    return {"shift_sums": total}


def own_displacement(field: StoredField, before: Floats, after: Floats) -> Floats:
    """Return how particles moved in the frame of the reference, less the transform of the whole scan, (n, 3) voxels.

    Parameters
    ----------
    field
        Of the state.
    before, after
        Where they lie in the stored volumes of the reference and of the state, (n, 3) as voxel indices; NaN where
        absent.
    """
    moved = after - before
    there = np.isfinite(moved).all(axis=1)
    if field.is_there and there.any():
        low, high = np.floor(after[there].min(axis=0)), np.floor(after[there].max(axis=0)) + 2
        reach = Box(tuple(low.astype(int).tolist()), tuple(high.astype(int).tolist()))
        moved[there] += displacements(field.lattice(reach), after[there])
    return moved


def strain(field: StoredField, matrix: Floats, points: Floats, whole_error: float) -> tuple[Floats, Floats]:
    """Return the volumetric strain at points, and its standard error.

    Parameters
    ----------
    field, matrix
        Of the state. The edges of a voxel cancel in a ratio of volumes.
    points
        (n, 3), voxel indices of the reference; NaN where a particle is absent.
    whole_error
        Of a transform without a field, see `whole_strain_error`.
    """
    whole = float(np.linalg.det(matrix[:3, :3]))
    there = np.isfinite(points).all(axis=1)
    gained, error = np.where(there, whole - 1, np.nan), np.where(there, whole_error, np.nan)
    if field.is_there and there.any():
        gained[there], error[there] = _local_strain(field, whole, points[there])
    return gained, error


def whole_strain_error(residual: float, used: int, shape: Triple) -> float:
    """Return the standard error of the strain of a whole scan: that of slopes through its sub-blocks, each so far off.

    >>> round(whole_strain_error(0.01, 27, (200, 200, 200)), 6)
    5.8e-05
    """
    if not used:
        return float("nan")
    return residual * sqrt(12 / used * sum(1 / max(n, 1) ** 2 for n in shape))


def _local_strain(field: StoredField, whole: float, points: Floats) -> tuple[Floats, Floats]:
    """Return strain and error where there is a field."""
    gradient = np.empty((len(points), 3, 3))
    doubt = np.zeros(len(points))
    along = [_weights(field, points, axis) for axis in range(3)]
    places = [first[:, None] + np.arange(slope.shape[1]) for first, _, slope in along]
    iz, iy, ix = places[0][:, :, None, None], places[1][:, None, :, None], places[2][:, None, None, :]
    near, error = field.displacement[iz, iy, ix], field.error[iz, iy, ix]
    for axis in range(3):
        z, y, x = (slope if k == axis else value for k, (_, value, slope) in enumerate(along))
        weight = z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]
        gradient[:, :, axis] = np.einsum("nzyx,nzyxa->na", weight, near)
        doubt += ((weight * error) ** 2).sum(axis=(1, 2, 3))
    local = np.linalg.det(np.eye(3) + gradient)
    return whole * local - 1, abs(whole) * np.sqrt(doubt)


def _weights(field: StoredField, points: Floats, axis: int) -> tuple[np.ndarray, Floats, Floats]:
    """Return for each point the first of the nodes near it along an axis, and their weights for value and slope.

    A polynomial is fitted to them by least squares (Savitzky and Golay 1964), at the border as inside.
    """
    count, spacing = field.displacement.shape[axis], field.spacing[axis]
    place = (points[:, axis] - field.origin[axis]) / spacing
    nodes = min(_NODES, count)
    order = min(_ORDER, nodes - 1)
    first = np.clip(np.rint(place).astype(int) - nodes // 2, 0, count - nodes)
    # A point outside the lattice has what is found at its end, as the field goes on straight from there.
    inside = np.clip(place, 0, count - 1) - first
    powers = np.arange(order + 1)
    fitted = np.linalg.pinv(np.arange(nodes)[:, None].astype(float) ** powers)
    value = (inside[:, None] ** powers) @ fitted
    lower = np.where(powers > 0, powers * inside[:, None] ** np.maximum(powers - 1, 0), 0.0)
    return first, value, lower @ fitted / spacing
