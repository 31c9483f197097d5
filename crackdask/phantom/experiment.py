"""Seeded operando experiments of any size whose truth is known.

Touching particles of many sizes and shapes, each with cracks in its inner half that open and
close along a programmed path, are scanned in several states, each moved rigidly. A voxel's
value depends on its position, the state and the phantom's numbers only, so any block of any
scan can be made alone, and blocks fit together bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.grid import Box, Grid, Triple
from crackdask.phantom import random_particles, scene
from crackdask.phantom.alterations import UNALTERED, Alterations
from crackdask.phantom.cell_states import (
    FIVE_STATES,
    PAPER_PATHS,
    State,
)
from crackdask.phantom.population import deformation_of, displacement_of, particles_of, view_of

TILE = (64, 96, 320)  # drawn at a time, to bound the memory
SIXTEEN_BIT = (200.0, 3000.0)  # grey * 200 + 3000 in uint16 scans


@dataclass(frozen=True)
class Phantom:
    """An operando experiment, from its numbers.

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

    def particles(self) -> scene.Particles:
        """Return every particle that any scan can show; the first one has the label 1."""
        return particles_of(self)

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

    def field(self, state: int, points: Floats) -> tuple[Floats, Floats]:
        """Return the displacement (n, 3) and the volumetric strain (n,) at any points (n, 3) of the reference frame.

        What is at a point p of the reference lies at matrix @ (p + displacement) in the state's scan. Local motion,
        slip and swelling add up; a particle moves, as a rigid body, by the field at its centre, and by its own
        jitter. The strain is the divergence; across the plane of the slip it is not defined, and beside it the slip
        adds nothing.
        """
        bent = deformation_of(self, state)
        return bent.displacement(points), bent.strain(points)

    def scan(self, state: int, box: Box) -> NDArray[Any]:
        """Return the voxels of one box of one scan."""
        return _draw(self, state, box, self.noise_sd)

    def clean(self, state: int, box: Box) -> NDArray[Any]:
        """Return a box of a scan as it would be without noise."""
        return _draw(self, state, box, 0.0)

    def solid(self, box: Box) -> NDArray[Any]:
        """Return a box of the reference scan as it would be without noise."""
        return self.clean(0, box)

    def labels(self, box: Box, state: int = 0) -> NDArray[np.uint32]:
        """Return a box of the true labels in a state's own frame, 0 between particles."""
        _check(self, state, box)
        table, seen = self.particles(), view_of(self, state)
        out = np.empty(box.shape, np.uint32)
        for tile in Grid(box.shape, TILE):
            start = np.add(box.start, tile.start)
            out[tile.slices] = scene.labels(table, seen, start, tile.shape)
        return out

    def truth(self) -> xr.Dataset:
        """Return what is true of every particle in every state, and every state's motion.

        Variables are `centre_z`, `centre_y`, `centre_x` and `radius` (voxels of the reference),
        `path` (D or H from state to state), `vanishes_at` and `leaves_at` (number of the state,
        -1 for never), `void_fraction` (mean over the inner half of the radius), `in_field` (all
        of the particle lies inside this scan and inside the reference, away from the outermost
        voxels, and it is there), `matrix`, and `displacement` (state, particle, axis; voxels of the reference, to be
        added to the centre before the matrix: local motion, slip, jitter and swelling; that of particles which left
        does not count their way out).
        """
        table, numbers = self.particles(), range(len(self.states))
        views = [view_of(self, state) for state in numbers]
        both = ("state", "particle")
        variables = {
            **{f"centre_{a}": ("particle", table.centres[:, k]) for k, a in enumerate("zyx")},
            "radius": ("particle", table.radii),
            "path": ("particle", np.array(table.paths, dtype=object)),
            "vanishes_at": ("particle", table.vanishes_at),
            "leaves_at": ("particle", table.leaves_at),
            "void_fraction": (both, table.void),
            "in_field": (
                both,
                np.array([v.whole(self.shape) & views[0].whole(self.shape) for v in views]),
            ),
            "displacement": ((*both, "axis"), np.array([displacement_of(self, s, table.centres) for s in numbers])),
            "matrix": (("state", "row", "col"), np.array([self.matrix(s) for s in numbers])),
        }
        return xr.Dataset(
            variables,
            coords={
                "state": [s.name for s in self.states],
                "voltage": ("state", [s.voltage for s in self.states]),
                "step": ("state", [s.step for s in self.states]),
                "cycle": ("state", [s.cycle for s in self.states]),
                "axis": list("zyx"),
                "particle": np.arange(1, len(table.radii) + 1, dtype=np.uint32),
            },
        )


def _check(phantom: Phantom, state: int, box: Box) -> None:
    if not 0 <= state < len(phantom.states):
        raise ValueError(f"state {state} asked for; there are {len(phantom.states)}, from 0")
    if box.intersect(Box.whole(phantom.shape)) != box:
        raise ValueError(f"{box} is empty or not inside the scan of {phantom.shape} voxels")


def _draw(phantom: Phantom, state: int, box: Box, noise_sd: float) -> NDArray[Any]:
    """Return a box of a scan, drawn a tile at a time."""
    _check(phantom, state, box)
    table, seen = phantom.particles(), view_of(phantom, state)
    still = scene.streaks(np.random.default_rng([phantom.seed, 2]), _ring_levels(phantom))
    optics = _optics(phantom, state, noise_sd)
    key = np.random.default_rng([phantom.seed, 3, state]).integers(0, 2**64, dtype=np.uint64)
    out, edges = np.empty(box.shape, phantom.dtype), (phantom.shape[1], phantom.shape[2])
    for tile in Grid(box.shape, TILE):
        start = np.add(box.start, tile.start)
        part, gains = out[tile.slices], table.gains[state]
        scene.expose(part, start, edges, table, seen, gains, optics, still, np.uint64(key))
    return out


def _optics(phantom: Phantom, state: int, noise_sd: float) -> scene.Optics:
    altered, contrast = phantom.alterations, phantom.solid_grey - phantom.background_grey
    scale, offset = SIXTEEN_BIT if phantom.dtype == "uint16" else (1.0, 0.0)
    return scene.Optics(
        solid=phantom.solid_grey, background=phantom.background_grey, rim=phantom.rim, blur_sd=phantom.blur_sd,
        streak=phantom.streak, noise_sd=noise_sd * altered.of("noise", state), scale=scale, offset=offset,
        binder=altered.binder_level, shell=altered.shell, more_blur=altered.of("blur", state),
        cupping=altered.of("cupping", state), rings=altered.rings * contrast, gain=altered.of("gain", state),
        lift=altered.of("offset", state) * contrast,
    )  # fmt: skip


def _ring_levels(phantom: Phantom) -> Floats:
    """Return a level, -1 to 1, for each whole radius to beyond the corners of a slice."""
    longest = math.ceil(math.hypot(phantom.shape[1], phantom.shape[2]) / 2) + 2
    return np.random.default_rng([phantom.seed, 6]).uniform(-1, 1, longest)
