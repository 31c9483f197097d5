"""Particles with cracks as they stand in one scan, and one block of what the scan shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Integers
from crackdask.phantom import random_particles, render, scanner

MARGIN = 5  # voxels that blur and rim reach
NARROW = 3  # voxels that the blur alone reaches
RIM_SD = 2.0  # blur, in voxels, whose difference to the scan makes the rim
STREAK_LENGTHS = (13.0, 29.0, 71.0)


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of a phantom, sorted by their centres in the reference frame.

    Parameters
    ----------
    centres, radii
        Voxels, (n, 3) and (n,); a radius is that of the sphere of the same volume.
    frames, bumps
        Shape, as in `crackdask.phantom.packing`: (n, 3, 3) and (n, 2).
    sheets, sharpness
        Cracks, as in `crackdask.phantom.random_particles`: (n, 3, 7) and (n,).
    gains, void
        Opening of the cracks and mean void fraction over the inner half, (state, n).
    paths
        D or H from state to state.
    vanishes_at, leaves_at
        State from which a particle is gone or pushed out of the field, -1 for never.
    push
        By how far the leaving ones are pushed, (n, 3) voxels.
    """

    centres: Floats
    radii: Floats
    frames: Floats
    bumps: Floats
    sheets: Floats
    sharpness: Floats
    gains: Floats
    void: Floats
    paths: tuple[str, ...]
    vanishes_at: Integers
    leaves_at: Integers
    push: Floats


@dataclass(frozen=True, eq=False)
class View:
    """Where particles are in one scan, how they are turned, and how far they reach.

    Parameters
    ----------
    centres, frames
        In the scan's frame, (n, 3) and (n, 3, 3).
    extent, reach
        Half edges of a box that holds the surface, and of one that holds the last covered
        voxel, (n, 3).
    there
        Whether a particle exists in this state, (n,).
    radii
        In this state, (n,).
    rims
        How far the third phase reaches beyond the surface, in units of |v|, (n,).
    """

    centres: Floats
    frames: Floats
    extent: Floats
    reach: Floats
    there: NDArray[np.bool_]
    radii: Floats
    rims: Floats

    def inside(self, start: Integers, stop: Integers) -> Integers:
        """Return the particles that may cover voxels from `start` to before `stop`."""
        near = (self.centres + self.reach >= start) & (self.centres - self.reach <= stop - 1)
        return np.flatnonzero(near.all(axis=1) & self.there)

    def whole(self, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
        """Return which particles lie inside a scan, clear of its outermost voxels."""
        low, high = self.centres - self.extent, self.centres + self.extent
        clear = ((low > 0) & (high < np.array(shape) - 1)).all(axis=1)
        return np.asarray(clear & self.there, np.bool_)


def view(
    table: Particles, state: int, matrix: Floats, displacement: Floats, swelling: float = 1.0, shell: float = 0.0
) -> View:
    """Return the particles as a state's motion, deformation and losses leave them, each moved as a rigid body.

    `displacement` (n, 3) is in voxels of the reference frame, before the matrix; `swelling` is a factor on lengths,
    and `shell` the thickness of the third phase in voxels.
    """
    left = (table.leaves_at >= 0) & (table.leaves_at <= state)
    gone = (table.vanishes_at >= 0) & (table.vanishes_at <= state)
    centres = random_particles.moved(matrix, table.centres + np.where(left[:, None], table.push, 0.0) + displacement)
    frames = np.ascontiguousarray(np.einsum("nij,kj->nik", table.frames, matrix[:3, :3])) / swelling
    radii = table.radii * swelling
    swell = 1 + np.abs(table.bumps).sum(axis=1)
    # |v| grows by no more than the largest stretch of a frame a voxel; coverage ends half a voxel further out.
    rims = (shell + 0.5) * np.linalg.norm(frames, 2, axis=(1, 2)) * (shell > 0) * 1.001
    reach = random_particles.extents(frames, swell + np.maximum(render.EDGE / radii, rims))
    return View(centres, frames, random_particles.extents(frames, swell), reach, ~gone, radii, rims)


def labels(table: Particles, seen: View, start: Integers, shape: tuple[int, ...]) -> Any:
    """Return one block of labels (uint32): the particle's place in the table, from 1."""
    label, nearness = np.zeros(shape, np.uint32), np.ones(shape)
    chosen = seen.inside(start, start + shape)
    render.paint_labels(label, nearness, start, chosen, seen.centres, seen.frames, seen.reach, table.bumps)
    return label


@dataclass(frozen=True)
class Optics:
    """What the scanner makes of the solid: grey levels of 255, lengths in voxels.

    From `binder` on they are what `crackdask.phantom.alterations` names, in the same units; `lift` is its offset.
    """

    solid: float
    background: float
    rim: float
    blur_sd: float
    streak: float
    noise_sd: float
    scale: float
    offset: float
    binder: float = 0.0
    shell: float = 0.0
    more_blur: float = 0.0
    cupping: float = 0.0
    rings: float = 0.0
    gain: float = 1.0
    lift: float = 0.0

    @property
    def spread(self) -> int:
        """Voxels that the state's own blur reaches."""
        return math.ceil(3 * self.more_blur)


@dataclass(frozen=True, eq=False)
class Streaks:
    """What lies still in the scanner: plane waves, of wave vectors (n, 3) and phases (n,), and a level a radius."""

    vectors: Floats
    phases: Floats
    rings: Floats


def streaks(rng: np.random.Generator, rings: Floats) -> Streaks:
    """Draw streaks that run nearly along z, each with its own wavelength."""
    across = 2 * np.pi / np.array(STREAK_LENGTHS)
    angles, phases = rng.uniform(0, np.pi, 3), rng.uniform(0, 2 * np.pi, 3)
    vectors = np.stack([0.1 * across, across * np.cos(angles), across * np.sin(angles)], axis=1)
    return Streaks(vectors, phases, rings)


def expose(
    out: NDArray[Any],
    start: Integers,
    edges: tuple[int, int],
    table: Particles,
    seen: View,
    gains: Floats,
    optics: Optics,
    still: Streaks,
    key: np.uint64,
) -> None:
    """Fill one block of a scan, whose first voxel is `start` in a scan of (y, x) `edges`.

    The density is drawn with a margin as wide as the filters reach and cut afterwards, so a
    voxel is the same in every block. `key` names the scan's noise.
    """
    stop = start + out.shape
    margin, narrow = MARGIN + optics.spread, NARROW + optics.spread
    density = _density(start - margin, stop + margin, table, seen, gains, optics)
    cut = slice(margin - narrow, narrow - margin)
    more = optics.more_blur
    # Kernels are cut, so that a wider one is not as one blur after the other: the state's own comes on top of both.
    sharp = scanner.blur(density[cut, cut, cut], scanner.gaussian_after(more, optics.spread, optics.blur_sd, NARROW))
    wide = scanner.blur(density, scanner.gaussian_after(more, optics.spread, RIM_SD, MARGIN))
    z, y, x = (scanner.waves(still.vectors, still.phases, int(start[a]), int(stop[a]), a) for a in range(3))
    numbers = np.array(
        [
            optics.rim, optics.background, optics.solid, optics.streak, optics.noise_sd,
            optics.scale, optics.offset, np.iinfo(out.dtype).max, optics.gain, optics.lift,
        ],
        np.float32,
    )  # fmt: skip
    place = np.array([*start, *edges], np.int64)
    shading = scanner.cupping(place, out.shape, optics.cupping)
    ringing = scanner.rings(place, out.shape, still.rings, optics.rings)
    scanner.expose(out, sharp, wide, numbers, z, y, x, shading, ringing, key, _quantiles(), place)


def _density(
    start: Integers, stop: Integers, table: Particles, seen: View, gains: Floats, optics: Optics
) -> NDArray[np.float32]:
    """Return the solid density of a block, that of the third phase included."""
    density = np.zeros(stop - start, np.float32)
    chosen = seen.inside(start, stop)
    render.paint(
        density, start, chosen, seen.centres, seen.frames, seen.reach,
        table.bumps, seen.radii, table.sheets, table.sharpness, gains,
    )  # fmt: skip
    if optics.binder:
        cover = np.zeros_like(density)
        render.paint_shells(
            cover, start, chosen, seen.centres, seen.frames, seen.reach, table.bumps, seen.rims, optics.shell
        )
        density += (1 - density) * np.float32(optics.binder) * np.maximum(cover, 0)
    return density


@cache
def _quantiles() -> NDArray[np.float32]:
    return scanner.quantiles()
