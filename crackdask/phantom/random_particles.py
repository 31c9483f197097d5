"""Draw the particles of a phantom: sizes, crack sheets, damage paths and losses.

Everything comes from the generator that is handed in, in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crackdask.arrays import Floats, Integers

MOST_PROGRAMMED = 0.28  # mean void fraction at which free paths turn back
FAR_OUT = 9.0  # offset of a sheet that is not there
CLEARANCE = 8.0  # voxels between the field and a particle that has left it


def rotation(axis: Floats, angle: float) -> Floats:
    """Return the rotation by an angle (radians) about an axis (Rodrigues).

    >>> rotation(np.array([1.0, 0.0, 0.0]), math.pi / 2).round(6)[1].tolist()
    [0.0, 0.0, -1.0]
    """
    a, b, c = (axis / np.linalg.norm(axis)).tolist()
    cross = np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]])
    square = np.einsum("ij,jk->ik", cross, cross)
    turned: Floats = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * square
    return turned


def moved(matrix: Floats, points: Floats) -> Floats:
    """Return points (n, 3) moved by a 4 x 4 matrix."""
    out: Floats = np.einsum("ij,nj->ni", matrix[:3, :3], points) + matrix[:3, 3]
    return out


def extents(frames: Floats, swell: Floats) -> Floats:
    """Return how far ellipsoids, `swell` times as large, reach along z, y and x.

    >>> extents(np.diag([0.5, 0.25, 0.2])[None], np.array([1.1])).round(6).tolist()
    [[2.2, 4.4, 5.5]]
    """
    size: Floats = swell[:, None] * np.sqrt((np.linalg.inv(frames) ** 2).sum(axis=2))
    return size


def radii(
    rng: np.random.Generator,
    median: float,
    spread: float,
    between: tuple[float, float],
    volume: float,
) -> Floats:
    """Draw clipped log-normal radii until they fill a volume; return them largest first."""
    drawn: list[Floats] = []
    filled = 0.0
    while filled < volume:
        part = np.exp(rng.normal(math.log(median), spread, 4096)).clip(*between)
        drawn.append(part)
        filled += 4 / 3 * math.pi * float((part**3).sum())
    every = np.concatenate(drawn)
    enough = int(np.searchsorted(np.cumsum(4 / 3 * math.pi * every**3), volume))
    largest: Floats = -np.sort(-every[: max(1, enough)])
    return largest


def sheets(rng: np.random.Generator, size: Floats) -> tuple[Floats, Floats]:
    """Draw two or three bent crack sheets near the centre of particles of these radii.

    Returns
    -------
    tuple
        Sheets (n, 3, 7): unit normal, bend, offset from the centre, in units of the radius; and
        radius over half the thickness (n,), the thickness growing slowly with the radius.
    """
    n = len(size)
    drawn = np.empty((n, 3, 7))
    normal, bend = rng.normal(size=(2, n, 3, 3))
    drawn[:, :, :3] = normal / np.linalg.norm(normal, axis=2, keepdims=True)
    drawn[:, :, 3:6] = 0.5 * bend / np.linalg.norm(bend, axis=2, keepdims=True)
    drawn[:, :, 6] = rng.uniform(-0.12, 0.12, (n, 3))
    drawn[rng.random(n) < 0.4, 2, 6] = FAR_OUT
    return drawn, size / (1.05 + 0.055 * size)


def programme(
    rng: np.random.Generator,
    number: int,
    steps: int,
    between: tuple[float, float],
    path_weights: Sequence[tuple[str, float]],
    damage_chances: Sequence[float],
) -> tuple[tuple[str, ...], Floats]:
    """Draw every particle's path, D or H a step, and its void fraction in every state.

    Paths come from the weighted list where it has paths that are long enough (the first letters
    count). Otherwise each letter is drawn with the step's chance of D, and a path turns back at 0
    and at `MOST_PROGRAMMED`. Steps are uniform within `between`.
    """
    change = rng.uniform(*between, (steps, number))
    void = np.empty((steps + 1, number))
    void[0] = rng.uniform(0.01, 0.03, number)
    damaged = np.empty((steps, number), bool)
    fitting = [(path, weight) for path, weight in path_weights if len(path) >= steps]
    if fitting:
        chances = np.array([weight for _, weight in fitting])
        drawn = rng.choice(len(fitting), number, p=chances / chances.sum())
        letters = np.array([[c == "D" for c in path[:steps]] for path, _ in fitting], bool)
        damaged[:] = letters[drawn].T
        signed = np.cumsum(np.where(damaged, change, -change), axis=0)
        void[0] += np.maximum(0, -signed.min(axis=0, initial=0))
        void[1:] = void[0] + signed
    else:
        for k, chance in enumerate(damage_chances):
            damaged[k] = rng.random(number) < chance
            damaged[k] |= void[k] < change[k]
            damaged[k] &= void[k] + change[k] < MOST_PROGRAMMED
            void[k + 1] = void[k] + np.where(damaged[k], change[k], -change[k])
    return tuple("".join("D" if d else "H" for d in one) for one in damaged.T), void


def losses(
    rng: np.random.Generator,
    centres: Floats,
    extent: Floats,
    shape: tuple[int, int, int],
    steps: int,
    vanishing: int,
    leaving: int,
    motion: float,
) -> tuple[Integers, Integers, Floats]:
    """Draw which particles vanish, which are pushed out through a face, when and how far.

    Only particles that lie in the reference field as a whole are drawn; those that leave are
    near a face. `motion` bounds how far the scans' own motions take a voxel.

    Returns
    -------
    tuple
        Step at which each vanishes, and leaves (-1 for never), and its push (n, 3) in voxels.
    """
    n = len(centres)
    vanishes_at, leaves_at, push = np.full(n, -1), np.full(n, -1), np.zeros((n, 3))
    if not steps:
        return vanishes_at, leaves_at, push
    top = np.array(shape) - 1.0
    room = np.concatenate([centres - extent, top - centres - extent], axis=1)
    whole = np.flatnonzero((room > 0).all(axis=1))
    near = whole[np.argsort(room[whole].min(axis=1), kind="stable")]
    for i in near[::4][:leaving]:
        face = int(room[i].argmin())
        leaves_at[i] = rng.integers(1, steps + 1)
        out = room[i, face] + 2 * extent[i].max() + motion + CLEARANCE
        push[i, face % 3] = -out if face < 3 else out
    for i in rng.permutation(whole[leaves_at[whole] < 0])[:vanishing]:
        vanishes_at[i] = rng.integers(1, steps + 1)
    return vanishes_at, leaves_at, push
