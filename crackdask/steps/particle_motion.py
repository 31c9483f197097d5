"""How each particle moved against the reference, and how the electrode swelled or shrank around it.

What the field did not follow of a particle is told by its grey levels in both resampled scans (`kernels.
particle_shift`), in whole numbers that add up over blocks; where these do not tell, by its centroids. Particles are
stiff: where transform and field stretch the scan they turn with it but keep their shape, so that is taken off. Strain
is a property of the surroundings: the volume gained around a particle over the volume it had, det(F) - 1, F being the
gradient of the motion of the particles around.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Mask
from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels.local_regression import Apply, choose, slopes
from crackdask.kernels.particle_shift import (
    FARTHEST_TRIED,
    FURTHEST,
    NO_START,
    PARTS,
    REACH,
    SUMS,
    add_up,
    add_up_shifted,
    shifts_beyond,
    steps,
)
from crackdask.kernels.source_positions import displacements
from crackdask.schema import OUTSIDE
from crackdask.steps.registration_result import StoredField

#: Voxels along an axis: a particle that moved further is looked for again; one that then lies further off is not found.
SHORT, CLOSE = 0.3, 0.75
#: Voxels along an axis by which grey levels and centroids may differ: boundaries of touching particles move by less.
APART = 1.0
#: How often particles are looked for again at most.
AGAIN = 3
#: Voxels along an axis that are read around a box, for chunks are read whole.
_AROUND = 64


def passes_again(particles: int, turn: int) -> tuple[Pass, ...]:
    """Return the pass that looks again where particles are: it makes `shift_rest`, (particle, sum).

    They are few, as a rule. A block without one reads nothing; another one reads the boxes around them, or itself where
    that is less. The tables that it looks up are those of :meth:`ParticleShifts.tried`.

    Parameters
    ----------
    particles
        In the reference: labels go from 1 to this number.
    turn
        How often it was done before: :func:`compare` is not counted.
    """
    return (
        Pass(
            name=f"shifts_{turn + 2}",
            kernel=_compare_again,
            reads={"grey": 1, "reference_grey": REACH, "label": 0},
            tables=("shift_ids", "shift_starts", "shift_corners", "shift_stretch"),
            makes=("shift_rest",),
            reduce=partial(_total_again, particles),
            scratch=2,
        ),
    )


@dataclass(frozen=True, eq=False)
class ParticleShifts:
    """By how much particles lie further in a state than in the reference, round by round.

    One step from nowhere overshoots by a tenth from half a voxel on, so particles that moved further than `SHORT` are
    looked for again from where it led, to an eighth of a voxel; so are those that do not follow a stretch, once.

    Attributes
    ----------
    found
        (particle, axis) voxels; NaN where it is not told.
    starts
        Of the next round, see `kernels.particle_shift.add_up_shifted`.
    """

    found: Floats
    starts: NDArray[np.int8]

    @classmethod
    def first(cls, sums: NDArray[np.int64], stretched: Mask | None = None) -> ParticleShifts:
        """Return what `shift_sums` tell; `stretched` are particles around which the scan was stretched."""
        step = steps(sums)
        longest = np.abs(step).max(axis=1)
        found = np.where(longest[:, None] > FURTHEST, np.nan, step)
        far = longest > SHORT
        return cls(found, _starts(step, far if stretched is None else far | (stretched & np.isfinite(longest))))

    def again(self, rest: NDArray[np.int64]) -> ParticleShifts:
        """Return what is known with `shift_rest`."""
        tried, more = self.starts[:, 0] != NO_START, shifts_beyond(rest)
        lies = self.starts / PARTS + more
        size = np.abs(more).max(axis=1)
        there = tried & (size <= CLOSE)
        found = np.where(tried[:, None], np.where(there[:, None], lies, np.nan), self.found)
        return ParticleShifts(found, _starts(lies, tried & (size > SHORT)))

    def tried(self, corners: NDArray[np.int32], stretch: NDArray[np.int64]) -> dict[str, Array]:
        """Return what the next round looks up of the particles that are looked for again.

        Parameters
        ----------
        corners
            First and last voxel of all particles in the state, see `particle_columns.survey`.
        stretch
            Of all particles, or of none, from `stretches.stretches`.
        """
        rows = np.flatnonzero(self.starts[:, 0] != NO_START)
        return {
            "shift_ids": rows + 1,
            "shift_starts": self.starts[rows],
            "shift_corners": corners[rows],
            "shift_stretch": stretch[rows] if len(stretch) else stretch,
        }

    @property
    def is_settled(self) -> bool:
        """Tell whether no particle need be looked for again."""
        return not (self.starts != NO_START).any()


def _starts(shift: Floats, where: Mask) -> NDArray[np.int8]:
    """Return where particles are looked for, in parts of a voxel; a step too long for that tells nothing."""
    most = FARTHEST_TRIED * PARTS
    tells = np.isfinite(shift).all(axis=1) & (np.abs(shift).max(axis=1) <= 2 * FARTHEST_TRIED)
    whole = np.clip(np.rint(np.where(tells[:, None], shift, 0.0) * PARTS), -most, most)
    return np.where(where[:, None], whole, NO_START).astype(np.int8)


#: What :func:`compare` leaves of no voxel.
NOTHING_COMPARED: Tally = {"shift_ids": np.zeros(0, np.int64), "shift_sums": np.zeros((0, SUMS), np.int64)}


def compare(block: Block, own: Box, label: Array, grey: Array) -> Tally:
    """Return the sums that tell how far particles lie from where they are in the reference, for the tally of a block.

    Parameters
    ----------
    block
        Of a pass that also reads `reference_grey`, one voxel around the box.
    own
        The box.
    label, grey
        Of the state: of the box, and with one more voxel on every side, clipped at the image edge.
    """
    before, after = _with_rim(block, "reference_grey", own, 1), _framed(grey, own, 1, block.grid.shape)
    ids, sums = add_up(np.ascontiguousarray(label), before, after)
    return {"shift_ids": ids, "shift_sums": sums}


class ShiftSums:
    """What :func:`compare` leaves of all blocks, added up while their tallies are looked over for another reason.

    Attributes
    ----------
    total
        (particle, sum).
    """

    def __init__(self, particles: int) -> None:
        self.total = np.zeros((particles, SUMS), np.int64)

    def added(self, tallies: Iterable[Tally]) -> Iterator[Tally]:
        """Yield tallies one after the other, each of them added."""
        for tally in tallies:
            self.total[tally["shift_ids"] - 1] += tally["shift_sums"]  # each label once in a block
            yield tally


def _compare_again(block: Block) -> Result:
    corners, own = np.asarray(block.table("shift_corners")), block.grid.box(block.number)
    low, high = np.maximum(corners[:, 0], own.start), np.minimum(corners[:, 1], own.stop)
    rows = np.flatnonzero((low < high).all(axis=1))
    ids, starts = (np.asarray(block.table(name)[rows]) for name in ("shift_ids", "shift_starts"))
    stretch = np.asarray(block.table("shift_stretch"))
    stretch = stretch[rows] if len(stretch) else stretch
    if int((high[rows] - low[rows] + _AROUND).prod(axis=1).sum()) < own.size:
        boxes = [Box(tuple(low[n].tolist()), tuple(high[n].tolist())) for n in rows]
        each = [slice(n, n + 1) for n in range(len(rows))]
        parts = [_from_there(block, box, ids[n], starts[n], stretch[n]) for box, n in zip(boxes, each, strict=True)]
        sums = np.concatenate([np.zeros((0, SUMS), np.int64), *parts])
    else:
        sums = _from_there(block, own, ids, starts, stretch)
    return Result(tally={"ids": ids, "sums": sums})


def _from_there(
    block: Block, box: Box, ids: NDArray[np.int64], starts: NDArray[np.int8], stretch: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the sums of particles within a box."""
    before, after = _with_rim(block, "reference_grey", box, REACH), _with_rim(block, "grey", box, 1)
    label = np.ascontiguousarray(block.read_box("label", box))
    return add_up_shifted(label, before, after, ids, starts, stretch, box.start)


def _with_rim(block: Block, name: str, box: Box, by: int) -> Array:
    """Return a box of voxels and so many more on every side, OUTSIDE where the volume ends."""
    shape = block.grid.shape
    return _framed(block.read_box(name, box.grow(by, within=shape)), box, by, shape)


def _framed(grey: Array, box: Box, by: int, shape: Triple) -> Array:
    """Return what was read of a box and so many voxels around it, OUTSIDE where the volume ends."""
    if grey.shape == tuple(n + 2 * by for n in box.shape):
        return np.ascontiguousarray(grey)
    rim = box.grow(by, within=shape)
    framed = np.full([n + 2 * by for n in box.shape], OUTSIDE, np.uint8)
    framed[tuple(slice(a - o + by, b - o + by) for a, b, o in zip(rim.start, rim.stop, box.start, strict=True))] = grey
    return framed


def _total_again(particles: int, grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    total = np.zeros((particles, SUMS), np.int64)
    for number in range(len(tallies)):
        each = tallies[number]
        total[each["ids"] - 1] += each["sums"]  # each label once in a block
    return {"shift_rest": total}


def likely(before: Floats, after: Floats, shifts: Floats) -> Floats:
    """Return where particles lie in a state, (n, 3) as voxel indices; NaN where absent.

    Grey levels tell better than centroids, but they may take one particle for its neighbour: what differs by more than
    `APART` from the centroids is not believed.

    Parameters
    ----------
    before, after
        Centroids in the stored volumes of the reference and of the state, (n, 3) as voxel indices.
    shifts
        What grey levels tell, (n, 3) voxels; NaN where they do not.
    """
    there = ~np.isnan(before) & ~np.isnan(after)
    shifted = before + shifts
    close: Mask = np.all(np.abs(shifted - after) <= APART, axis=1)  # not where either is NaN
    return np.where(there & close[:, None], shifted, after)


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


def strain(
    field: StoredField,
    matrix: Floats,
    points: Floats,
    moved: Floats,
    sure: Mask,
    whole_error: float,
    apply: Apply = map,
) -> tuple[Floats, Floats]:
    """Return the volumetric strain at points, and its standard error; NaN where too few particles tell.

    Where there is a field, it follows from how particles moved around each point: what each does by itself, and what
    slips, counts as little as it can, and is in the error (`kernels.local_regression`).

    Parameters
    ----------
    field, matrix
        Of the state. The edges of a voxel cancel in a ratio of volumes.
    points, moved
        (n, 3), voxel indices of the reference, and `own_displacement`; NaN where a particle is absent.
    sure
        (n,), particles that are whole in both scans.
    whole_error
        Of a transform without a field, see `whole_strain_error`.
    apply
        Runs a function over regions and returns its results in their order: `map`, or one that hands them to workers.
    """
    whole = float(np.linalg.det(matrix[:3, :3]))
    there = ~np.isnan(points + moved).any(axis=-1)
    gained, error = np.where(there, whole - 1, np.nan), np.where(there, whole_error, np.nan)
    if field.is_there:
        known = there & sure
        choice = choose(points[known], moved[known]) if known.any() else None
        gained[there] = error[there] = np.nan
        if choice is not None:
            found = slopes(points[known], moved[known], points[there], choice.how, apply)
            gained[there] = whole * np.linalg.det(np.eye(3) + found.gradient) - 1
            error[there] = abs(whole) * np.sqrt(found.variance + choice.bias)
    return gained, error


def whole_strain_error(residual: float, used: int, shape: Triple) -> float:
    """Return the standard error of the strain of a whole scan: that of slopes through its sub-blocks, each so far off.

    >>> round(whole_strain_error(0.01, 27, (200, 200, 200)), 6)
    5.8e-05
    """
    if not used:
        return float("nan")
    return residual * sqrt(12 / used * sum(1 / max(n, 1) ** 2 for n in shape))
