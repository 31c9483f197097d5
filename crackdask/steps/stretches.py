"""What transform and field stretched of a scan around its particles, which are stiff and keep their shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Mask
from crackdask.grid import Box
from crackdask.kernels.particle_shift import PARTS, STRETCH_BITS
from crackdask.kernels.source_positions import displacements
from crackdask.steps.registration_result import StoredField

#: Voxels to both sides over which a field's gradient is told, and a stretch that moves no rim by a tenth of a voxel.
NEAR, LEAST_STRETCH = 4.0, 0.003
#: What `stretches` tells where nothing is stretched.
UNSTRETCHED: NDArray[np.int64] = np.zeros((0, 12), np.int64)


def stretches(field: StoredField, matrix: Floats, edges: Sequence[float], places: Floats) -> NDArray[np.int64]:
    """Return what resampling stretched around particles, as `add_up_shifted` takes it; of no particle where nothing.

    The scan around a particle was brought back by F, the gradient of transform and field. A stiff particle turned by
    the rotation in F alone, so what lies at d from its middle lies (1 - V) d further than the particle, with V, the
    stretch in F, to the second order in F'F - 1. By what the whole scan swelled, or is magnified, so are particles.

    Parameters
    ----------
    field, matrix
        Of the state.
    edges
        Of a voxel, in any unit.
    places
        Centroids in the stored volume of the state, (n, 3) voxels; NaN where absent.
    """
    there = np.asarray(np.isfinite(places).all(axis=1))
    gradient = np.zeros((len(places) if field.is_there else 1, 3, 3))  # without a field alike for all
    if field.is_there and there.any():
        low, high = np.floor(places[there].min(axis=0) - NEAR), np.floor(places[there].max(axis=0) + NEAR) + 2
        lattice = field.lattice(Box(tuple(low.astype(int).tolist()), tuple(high.astype(int).tolist())))
        for axis, step in enumerate(NEAR * np.eye(3)):
            ahead, behind = (displacements(lattice, places[there] + side * step) for side in (1, -1))
            gradient[there, :, axis] = (ahead - behind) / (2 * NEAR)
    slack = _slack(matrix, edges, gradient)
    if not (np.abs(slack) > LEAST_STRETCH).any():
        return UNSTRETCHED
    told = np.empty((len(places), 12), np.int64)
    told[:, :3] = np.rint(np.where(there[:, None], places, 0.0) * PARTS)
    told[:, 3:] = np.rint(slack.reshape(-1, 9) * 2**STRETCH_BITS)
    return told


def may_stretch(field: StoredField, matrix: Floats, edges: Sequence[float]) -> bool:
    """Tell whether `stretches` may find any, wherever particles lie."""
    return field.is_there or bool((np.abs(_slack(matrix, edges, np.zeros((1, 3, 3)))) > LEAST_STRETCH).any())


def _slack(matrix: Floats, edges: Sequence[float], gradient: Floats) -> Floats:
    """Return by how much further voxels lie than their particle, for each of their distances, (n, axis, axis)."""
    to_um, per_um = np.diag(edges), np.diag(1 / np.asarray(edges))
    swollen = float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))
    whole = to_um @ (matrix[:3, :3] / swollen) @ (np.eye(3) + gradient) @ per_um
    squared = np.swapaxes(whole, 1, 2) @ whole - np.eye(3)
    slack: Floats = per_um @ (squared @ squared / 8 - squared / 2) @ to_um
    return slack


def is_stretched(stretch: NDArray[np.int64], particles: int) -> Mask:
    """Return around which particles so much is stretched that it shows, from `stretches`."""
    if not len(stretch):
        return np.zeros(particles, bool)
    found: Mask = np.abs(stretch[:, 3:]).max(axis=1) > LEAST_STRETCH * 2**STRETCH_BITS
    return found
