"""The rigid transform between two pyramids, from no knowledge to a fraction of a voxel of the finest level.

Rigid whatever the transform that is asked for: a cell is neither stretched nor sheared by more than its sub-blocks can
follow, and 6 numbers are harder to get wrong than 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Mask
from crackdask.kernels.initial_transforms import promising_starts, small_level
from crackdask.kernels.itk_registration import Picture, register_level
from crackdask.steps.registration_parameters import RegisterParams, RegistrationError
from crackdask.steps.subblocks import UNIT, Matrix, Point

ITK_VOXELS = 4_200_000  # finer levels are left to the sub-blocks


class Level(NamedTuple):
    """One pyramid level; voxel i is centred at factor * i + (factor - 1) / 2 in full resolution.

    `valid`, where given, is false for voxels outside the scan or made of fill values.
    """

    factor: int
    grey: NDArray[Any]
    valid: Mask | None = None


def coarse(
    reference: Sequence[Level],
    moving: Sequence[Level],
    params: RegisterParams,
    *,
    spacing: Point = UNIT,
) -> Matrix:
    """Return the rigid transform between two pyramids, to a fraction of the finest level's voxel.

    Shifts are searched exhaustively, for a few rotations, on a very small level; the best starts
    are improved by SimpleITK there, and the best of those on every level of bins, coarse to fine.

    Parameters
    ----------
    reference, moving
        Levels from coarse to fine, with the same factors. The scans may differ in shape.
    params
        Of the step.
    spacing
        Edge lengths of a full-resolution voxel.

    Raises
    ------
    RegistrationError
        If a level is constant or no shift leaves enough overlap.
    """
    if [level.factor for level in reference] != [level.factor for level in moving] or not reference:
        raise ValueError("both pyramids need the same factors, at least one")
    if params.transform == "none":
        return np.eye(4)
    for name, levels in (("reference", reference), ("moving", moving)):
        _check_texture(name, levels[0])
    pairs = [
        (_picture(fixed, spacing), _picture(other, spacing))
        for fixed, other in zip(reference, moving, strict=True)
        if fixed is reference[0] or max(fixed.grey.size, other.grey.size) <= ITK_VOXELS
    ]
    small = small_level(*pairs[0])
    improve = partial(register_level, samples=params.samples, iterations=params.iterations, seed=params.seed)
    tried = [improve(*small, start) for start in _starts(*small, params)]
    best = max(range(len(tried)), key=lambda i: tried[i][1])
    matrix = tried[best][0]
    for (fixed, other), level in zip(pairs, reference, strict=False):
        if level.factor > 1:  # full resolution is left to the sub-blocks, which look further than a bin
            matrix, _ = improve(fixed, other, matrix)
    scale = np.diag([*spacing, 1.0])
    return np.asarray(np.linalg.inv(scale) @ matrix @ scale)


def _starts(fixed: Picture, moving: Picture, params: RegisterParams) -> list[Matrix]:
    """Return the transforms that are worth improving, the best first."""
    whole = fixed.grey.size
    own = whole if fixed.valid is None else int(np.count_nonzero(fixed.valid))
    # Of a crop that is a small part of the field no shift leaves as much as is asked of a field.
    for voxels in (whole, own):
        starts = promising_starts(
            fixed,
            moving,
            max_shift=params.max_shift,
            max_rotation_deg=params.max_rotation_deg,
            # A mask that is not convex loses more than its shift does, hence a little slack.
            min_voxels=0.8 * params.min_overlap * voxels,
        )
        if starts[0][0] > 0:
            return [start for _, start in starts]
    raise RegistrationError(
        f"no shift of the two scans correlates over min_overlap = {params.min_overlap:g} of the field; check that both "
        'show the same region, lower min_overlap, or set transform = "none"'
    )


def _check_texture(name: str, level: Level) -> None:
    grey = level.grey if level.valid is None else level.grey[level.valid]
    if grey.size == 0 or grey.min() == grey.max():
        held = "no valid voxel" if grey.size == 0 else f"only the value {grey.flat[0]}"
        raise RegistrationError(
            f"the {name} scan cannot be registered: its pyramid holds {held}; check the source "
            'and fill, or set transform = "none"'
        )


def _picture(level: Level, spacing: Point) -> Picture:
    f = level.factor
    grey, valid = level.grey, level.valid
    if valid is not None and not valid.all():
        grey = np.where(valid, grey, grey[valid].mean())  # what is masked must not reach across its rim
    return Picture(
        grey,
        (spacing[0] * f, spacing[1] * f, spacing[2] * f),
        (spacing[0] * (f - 1) / 2, spacing[1] * (f - 1) / 2, spacing[2] * (f - 1) / 2),
        valid,
    )
