"""The numbers of a phantom's experiment, and what follows from them alone: how each state lies in its scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crackdask.arrays import Floats
from crackdask.grid import Triple
from crackdask.phantom import random_particles
from crackdask.phantom.alterations import UNALTERED, Alterations
from crackdask.phantom.cell_states import FIVE_STATES, PAPER_PATHS, State


@dataclass(frozen=True)
class PhantomNumbers:
    """What decides an operando experiment.

    Parameters
    ----------
    shape
        Voxels of every scan, (z, y, x).
    states
        The first is the reference.
    seed
        Of everything drawn.
    radius_median, radius_spread, radius_range
        Log-normal radii in voxels: median, standard deviation of the logarithm, clipped.
    packing
        Fraction of the space filled, before the particles sink into each other.
    sink
        Depth to which touching particles flatten, as a fraction of the smaller radius.
    asphericity
        Axes of the ellipsoids are exp(-a) to exp(a) of the radius before equal volume is
        restored.
    roughness
        Largest sum of the two surface harmonics, as a fraction of the radius.
    void_step
        Smallest and largest change of a mean void fraction between states.
    path_weights
        Paths, one letter D (damaged) or H (healed) for each step between states, and their
        weights. Where they do not fit the number of states, each letter is drawn by what the
        cell is doing.
    max_rotation_deg, max_shift
        Largest rotation about the volume's centre, and largest shift in voxels along an axis,
        of a state against the reference.
    vanishing, leaving
        scene.Particles that are gone, or pushed out of the field, from some state on.
    solid_grey, background_grey, noise_sd, streak
        Grey levels of 255: solid, background, noise, amplitude of the streaks, which stay
        where they are in every scan.
    blur_sd
        Of the scan, in voxels.
    rim
        Strength of the phase contrast: the difference to a blur of 2 voxels is added.
    voxel_um
        Edge of a voxel.
    dtype
        Of the scans.
    alterations
        What the method does not expect; nothing unless set.
    """

    shape: Triple = (128, 160, 160)
    states: tuple[State, ...] = FIVE_STATES
    seed: int = 0
    radius_median: float = 8.0
    radius_spread: float = 0.3
    radius_range: tuple[float, float] = (5.0, 15.0)
    packing: float = 0.5
    sink: float = 0.06
    asphericity: float = 0.2
    roughness: float = 0.08
    void_step: tuple[float, float] = (0.025, 0.06)
    path_weights: tuple[tuple[str, float], ...] = PAPER_PATHS
    max_rotation_deg: float = 0.5
    max_shift: float = 3.0
    vanishing: int = 3
    leaving: int = 2
    solid_grey: float = 150.0
    background_grey: float = 60.0
    noise_sd: float = 6.0
    streak: float = 2.0
    blur_sd: float = 0.8
    rim: float = 0.6
    voxel_um: float = 0.325
    dtype: Literal["uint8", "uint16"] = "uint8"
    alterations: Alterations = UNALTERED

    def __post_init__(self) -> None:
        """Refuse numbers that make no experiment."""
        names = {state.folder for state in self.states}
        (small, large), (least, most) = self.radius_range, self.void_step
        rules = [
            (len(self.shape) == 3 and min(self.shape) >= 8, "shape", "three edges of 8 or more"),
            (len(names) == len(self.states) > 0, "states", "one or more, all different,"),
            (2 <= small <= large, "radius_range", "2 <= smallest <= largest"),
            (0.05 <= self.packing <= 0.6, "packing", "0.05 to 0.6"),
            (0 <= self.sink <= 0.2, "sink", "0 to 0.2"),
            (0 <= self.asphericity <= 0.4, "asphericity", "0 to 0.4"),
            (0 <= self.roughness <= 0.2, "roughness", "0 to 0.2"),
            (0 <= least <= most <= 0.1, "void_step", "0 <= smallest <= largest <= 0.1"),
            (self.dtype in ("uint8", "uint16"), "dtype", "'uint8' or 'uint16'"),
        ]
        wrong = [f"{name} is {getattr(self, name)!r}; {wanted} is needed" for fine, name, wanted in rules if not fine]
        wrong += self.alterations.wrong(len(self.states))
        if wrong:
            raise ValueError("; ".join(wrong))

    def matrix(self, state: int) -> Floats:
        """Return the 4 x 4 motion of a state, that of the reference being the identity.

        It takes a voxel index (z, y, x, 1) of the reference to that of the state's scan. It is rigid whatever is
        altered: local motion, slip and swelling are deformations, of `field`, that come before it.
        """
        if state == 0:
            return np.eye(4)
        rng = np.random.default_rng([self.seed, 1, state])
        axis = rng.normal(size=3)
        angle = math.radians(self.max_rotation_deg) * rng.uniform(0.3, 1.0)
        middle = (np.array(self.shape) - 1) / 2
        matrix = np.eye(4)
        matrix[:3, :3] = random_particles.rotation(axis, angle)
        shift = rng.uniform(-self.max_shift, self.max_shift, 3)
        matrix[:3, 3] = middle + shift - np.einsum("ij,j->i", matrix[:3, :3], middle)
        return matrix
