"""Known moves of a scan, and how far a match is from them."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

SHAPE = (60, 76, 84)


UNIT = (1.0, 1.0, 1.0)


def truth(shape, angles, shift, spacing=UNIT):
    """Return a turn about the middle of the field and a shift (parts of the field), in voxels."""
    edges = np.array(spacing)
    centre = (np.array(shape) - 1) / 2 * edges
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + np.array(shift) * shape * edges
    scale = np.diag([*spacing, 1.0])
    return np.linalg.inv(scale) @ matrix @ scale


def corner_error(found, expected, shape):
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    return np.sqrt((((found - expected) @ corners)[:3] ** 2).sum(axis=0)).max()
