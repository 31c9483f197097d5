"""Seeded operando experiments of any size whose truth is known.

Touching particles of many sizes and shapes, each with cracks in its inner half that open and
close along a programmed path, are scanned in several states, each moved rigidly. A voxel's
value depends on its position, the state and the phantom's numbers only, so any block of any
scan can be made alone, and blocks fit together bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.grid import Box, Grid
from crackdask.phantom import scene
from crackdask.phantom.numbers import PhantomNumbers
from crackdask.phantom.population import deformation_of, displacement_of, particles_of, view_of

TILE = (64, 96, 320)  # drawn at a time, to bound the memory
SIXTEEN_BIT = (200.0, 3000.0)  # grey * 200 + 3000 in uint16 scans


class Phantom(PhantomNumbers):
    """An operando experiment, from the numbers of :class:`crackdask.phantom.numbers.PhantomNumbers`."""

    def particles(self) -> scene.Particles:
        """Return every particle that any scan can show; the first one has the label 1."""
        return particles_of(self)

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
