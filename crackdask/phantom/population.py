"""The particles of a phantom: packed, shaped and cracked once, and seen in each state where they have moved to."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats
from crackdask.phantom import deformation, packing, random_particles, render, scene
from crackdask.phantom.cell_states import DAMAGE_CHANCE
from crackdask.phantom.numbers import PhantomNumbers


def _motion_reach(phantom: PhantomNumbers) -> float:
    """Return a bound, in voxels, on how far any motion takes any voxel."""
    diagonal = math.dist((0, 0, 0), phantom.shape)
    rigid = math.sqrt(3) * phantom.max_shift + math.radians(phantom.max_rotation_deg) * diagonal / 2
    return rigid + max(phantom.alterations.reach(state, diagonal) for state in range(len(phantom.states)))


def deformation_of(phantom: PhantomNumbers, state: int) -> deformation.Deformation:
    """Return what bends a state before its rigid motion."""
    altered, rng = phantom.alterations, np.random.default_rng([phantom.seed, 4, state])
    return deformation.deformation(
        rng, phantom.shape, altered.of("local_motion", state), altered.of("slip", state),
        (altered.slip_point, altered.slip_normal), altered.of("swelling", state),
    )  # fmt: skip


def displacement_of(phantom: PhantomNumbers, state: int, centres: Floats) -> Floats:
    """Return the displacement of every particle of the table, whose centres these are."""
    rng = np.random.default_rng([phantom.seed, 5, state])
    own = deformation.jitter(rng, len(centres), phantom.alterations.of("jitter", state))
    return deformation_of(phantom, state).displacement(centres) + own


def _mechanics(phantom: PhantomNumbers) -> PhantomNumbers:
    """Return the phantom without the numbers that change no particle, so that they are not packed again."""
    return replace(phantom, noise_sd=0.0, dtype="uint8", alterations=phantom.alterations.mechanics())


_lock = RLock()


def particles_of(phantom: PhantomNumbers) -> scene.Particles:
    """Return every particle that any scan can show."""
    with _lock:
        return _made_once(_mechanics(phantom))


@lru_cache(maxsize=2)
def _made_once(phantom: PhantomNumbers) -> scene.Particles:
    rng = np.random.default_rng([phantom.seed, 0])
    motion, steps = _motion_reach(phantom), len(phantom.states) - 1
    pad = phantom.radius_range[1] * 1.4 + motion + 2
    size = np.array(phantom.shape) + 2 * pad
    radii = random_particles.radii(
        rng, phantom.radius_median, phantom.radius_spread, phantom.radius_range,
        phantom.packing * float(size.prod()),
    )  # fmt: skip
    packed = packing.place(rng, radii, size, phantom.asphericity, phantom.roughness, phantom.sink)
    keep = _seen(phantom, packed.centres - pad, packed.frames, packed.bumps)
    keep = keep[np.lexsort(packed.centres[keep].T[::-1])]
    centres, radii = packed.centres[keep] - pad, radii[keep]
    frames, bumps = packed.frames[keep], packed.bumps[keep]
    sheets, sharpness = random_particles.sheets(rng, radii)
    chances = [DAMAGE_CHANCE[state.step] for state in phantom.states[1:]]
    paths, wanted = random_particles.programme(rng, len(keep), steps, phantom.void_step, phantom.path_weights, chances)
    gains, void = render.calibrate(centres, frames, radii, sheets, sharpness, wanted)
    vanishes_at, leaves_at, push = random_particles.losses(
        rng, centres, random_particles.extents(frames, 1 + np.abs(bumps).sum(axis=1)), phantom.shape, steps,
        phantom.vanishing, phantom.leaving, motion,
    )  # fmt: skip
    return scene.Particles(
        centres, radii, frames, bumps, sheets, sharpness, gains, void, paths,
        vanishes_at, leaves_at, push,
    )  # fmt: skip


def _seen(phantom: PhantomNumbers, centres: Floats, frames: Floats, bumps: Floats) -> NDArray[np.int64]:
    """Return the particles that reach into any scan."""
    reach = random_particles.extents(frames, 1 + np.abs(bumps).sum(axis=1)).max(axis=1) + 2 + scene.MARGIN
    reach += max(0.0, phantom.alterations.shell + scene.NARROW - scene.MARGIN - 2)
    seen = np.zeros(len(centres), bool)
    for state in range(len(phantom.states)):
        displaced = centres + deformation_of(phantom, state).displacement(centres)
        moved = random_particles.moved(phantom.matrix(state), displaced)
        # Particles have no number yet, so their own displacements are bounded here.
        own = deformation.JITTER_CUT * phantom.alterations.of("jitter", state)
        far = reach[:, None] * max(1.0, phantom.alterations.of("swelling", state)) + math.sqrt(3) * own
        seen |= ((moved > -far) & (moved < np.array(phantom.shape) + far)).all(axis=1)
    return np.flatnonzero(seen)


def view_of(phantom: PhantomNumbers, state: int) -> scene.View:
    """Return the particles as they lie in a state's scan."""
    with _lock:
        return _seen_once(_mechanics(phantom), state)


@lru_cache(maxsize=16)
def _seen_once(phantom: PhantomNumbers, state: int) -> scene.View:
    table, altered = particles_of(phantom), phantom.alterations
    displacement = displacement_of(phantom, state, table.centres)
    return scene.view(table, state, phantom.matrix(state), displacement, altered.of("swelling", state), altered.shell)
