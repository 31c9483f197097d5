"""How the sample deforms: displacements in the reference frame, with their volumetric strain.

A particle of reference centre c lies at matrix @ (c + u(c)) in a state's scan; u is what is summed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Floats
from crackdask.grid import Triple

JITTER_CUT = 3.0  # standard deviations beyond which no particle is displaced along an axis


@dataclass(frozen=True, eq=False)
class Deformation:
    """The smooth and the broken displacement of one state.

    Parameters
    ----------
    middle
        Of the volume, (3,); what swells moves away from it.
    amplitude, waves, phases
        Local motion: voxels along each axis, wave vector of each component in radians a voxel (3, 3), and phase (3,).
    normal, point, slide
        Plane of the slip, and the displacement (3,) of the side its normal points to.
    swelling
        Factor on lengths.
    """

    middle: Floats
    amplitude: float
    waves: Floats
    phases: Floats
    normal: Floats
    point: Floats
    slide: Floats
    swelling: float

    def displacement(self, points: Floats) -> Floats:
        """Return the displacement (n, 3) at points (n, 3), in voxels of the reference frame."""
        local = self.amplitude * np.sin(self._angles(points))
        beyond = ((points - self.point) * self.normal).sum(axis=1) > 0
        slipped = np.where(beyond[:, None], self.slide, 0.0)
        swollen = (self.swelling - 1) * (points - self.middle)
        moved: Floats = local + slipped + swollen
        return moved

    def strain(self, points: Floats) -> Floats:
        """Return the volumetric strain, the divergence of the displacement, at points off the plane of the slip."""
        own = self.amplitude * np.cos(self._angles(points)) * np.diagonal(self.waves)
        total: Floats = own.sum(axis=1) + 3 * (self.swelling - 1)
        return total

    def _angles(self, points: Floats) -> Floats:
        angles: Floats = np.einsum("ni,ai->na", points - self.middle, self.waves) + self.phases
        return angles


def deformation(
    rng: np.random.Generator,
    shape: Triple,
    local_motion: float,
    slip: float,
    plane: tuple[tuple[float, float, float] | None, tuple[float, float, float]],
    swelling: float,
) -> Deformation:
    """Draw the deformation of a state whose largest local motion, slip and swelling these are.

    Each component is a wave of its own, in a random direction, whose phase runs through about a half wave from face
    to face; each reaches the largest motion over the square root of 3, so their sum does not exceed it.
    """
    extent = np.array(shape, dtype=float)
    middle = (extent - 1) / 2
    direction = rng.normal(size=(3, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    waves = np.pi * rng.uniform(0.8, 1.2, (3, 1)) * direction / extent
    phases = rng.uniform(0, 2 * np.pi, 3)
    point, normal = plane
    across = np.array(normal, dtype=float)
    across /= np.linalg.norm(across)
    along = np.eye(3)[np.abs(across).argmin()]
    along = along - across * across[np.abs(across).argmin()]
    slide = slip * along / np.linalg.norm(along)
    through = middle if point is None else np.array(point, dtype=float)
    return Deformation(middle, local_motion / np.sqrt(3.0), waves, phases, across, through, slide, swelling)


def jitter(rng: np.random.Generator, number: int, sd: float) -> Floats:
    """Draw a displacement of its own for each particle, (number, 3) voxels."""
    drawn: Floats = sd * rng.normal(size=(number, 3)).clip(-JITTER_CUT, JITTER_CUT)
    return drawn
