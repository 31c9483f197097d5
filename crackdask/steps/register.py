"""Step register: where each voxel of the store lies in a state's scan.

Coarse to fine on pyramid levels with SimpleITK, then translations of full-resolution sub-blocks
spread over the volume, to which one transform is fitted. Sub-blocks and levels are fixed by the
volume's shape and the parameters, each sub-block is matched on its own, and every sum runs in one
fixed order on one thread: the transform does not depend on blocks, workers or memory.

Every matrix is 4 x 4, float64, and maps a voxel index (z, y, x, 1) of the reference to a voxel
index of the moving scan. `spacing` is the edge lengths (z, y, x) of a voxel, in any unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, inf
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crackdask.arrays import Mask
from crackdask.grid import Box, Triple
from crackdask.kernels.block_matching import SETTLED
from crackdask.kernels.consensus import LEAST, Agreement, agree, distances
from crackdask.kernels.initial_transforms import promising_starts, small_level
from crackdask.kernels.itk_registration import Picture, register_level
from crackdask.steps.subblocks import MATCH_FLOOR, Match, Matrix, Point, Reader, match_block, subblocks

UNIT: Point = (1.0, 1.0, 1.0)
ITK_VOXELS = 4_200_000  # finer levels are left to the sub-blocks


class RegistrationError(ValueError):
    """Two states could not be brought onto each other."""


class RegisterParams(BaseModel):
    """How the states are brought into the frame of the reference.

    >>> RegisterParams(blocks_per_axis=3).transform
    'rigid'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    transform: Literal["rigid", "affine", "none"] = Field(
        "rigid", description="rigid (3 angles, 3 shifts), affine (12 numbers), or none"
    )
    reference: str | None = Field(
        None,
        description="name of the state that the others are brought onto; the first if not given",
    )
    max_rotation_deg: float = Field(10.0, ge=0, le=45, description="largest rotation that is searched for and believed")
    max_shift: float = Field(
        0.2, gt=0, le=0.5, description="largest shift searched for, as a part of the field of view"
    )
    min_overlap: float = Field(
        0.4, gt=0, le=1, description="smallest part of the reference that the other scan must cover"
    )
    samples: int = Field(10_000, ge=1000, description="voxels of a pyramid level on which two scans are compared")
    iterations: int = Field(100, ge=1, description="most steps on one pyramid level")
    seed: int = Field(1, ge=1, description="of the choice of samples")
    sub_block: int = Field(48, ge=16, le=128, description="edge of a full-resolution sub-block in voxels")
    blocks_per_axis: int = Field(3, ge=2, le=10, description="sub-blocks along each axis")
    search_voxels: int = Field(12, ge=2, le=64, description="how far off the pyramid may be, in full-resolution voxels")
    rounds: int = Field(3, ge=1, le=10, description="times that sub-blocks are matched and fitted")
    min_correlation: float = Field(0.3, gt=0, lt=1, description="sub-blocks that correlate less are not used")
    min_matched: float = Field(0.2, gt=0, le=1, description="smallest part of the sub-blocks that must agree")
    max_residual_voxels: float = Field(
        1.0, gt=0, description="registration has failed if sub-blocks are further off than this"
    )
    accept_failed: bool = Field(False, description="go on with a transform that failed its check")

    @model_validator(mode="after")
    def _consistent(self) -> RegisterParams:
        if self.transform == "affine" and self.blocks_per_axis**3 * self.min_matched < 4:
            raise ValueError(
                "an affine transform needs at least 4 matched sub-blocks, but blocks_per_axis = "
                f"{self.blocks_per_axis} and min_matched = {self.min_matched} ask for fewer; "
                "raise one of them"
            )
        return self


class Level(NamedTuple):
    """One pyramid level; voxel i is centred at factor * i + (factor - 1) / 2 in full resolution.

    `valid`, where given, is false for voxels outside the scan or made of fill values.
    """

    factor: int
    grey: NDArray[Any]
    valid: Mask | None = None


@dataclass(frozen=True)
class Fit:
    """A transform and how well the sub-blocks agree with it.

    `residual_voxels` is the weighted root mean square distance of the used sub-blocks, infinite
    where too few matched; `residuals` holds every match's own, nan where it was not used.
    """

    matrix: Matrix
    residual_voxels: float
    n_used: int
    n_blocks: int
    correlation: float
    residuals: tuple[float, ...]


def coarse(
    reference: Sequence[Level],
    moving: Sequence[Level],
    params: RegisterParams,
    *,
    spacing: Point = UNIT,
) -> Matrix:
    """Return the transform between two pyramids, to a fraction of the finest level's voxel.

    Shifts are searched exhaustively, for a few rotations, on a very small level; the best starts
    are improved by SimpleITK there, and the best of those on every level, coarse to fine.

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
    starts = promising_starts(
        *small,
        max_shift=params.max_shift,
        max_rotation_deg=params.max_rotation_deg,
        min_overlap=params.min_overlap,
    )
    if starts[0][0] <= 0:
        raise RegistrationError(
            "no shift of the two scans correlates over min_overlap = "
            f"{params.min_overlap:g} of the field; check that both show the same region, lower "
            'min_overlap, or set transform = "none"'
        )
    improve = partial(register_level, samples=params.samples, iterations=params.iterations, seed=params.seed)
    tried = [improve(*small, start, kind="rigid") for _, start in starts]
    best = max(range(len(tried)), key=lambda i: tried[i][1])
    matrix = tried[best][0]
    for fixed, other in pairs:
        matrix, _ = improve(fixed, other, matrix, kind="rigid")
    scale = np.diag([*spacing, 1.0])
    return np.asarray(np.linalg.inv(scale) @ matrix @ scale)


def _check_texture(name: str, level: Level) -> None:
    grey = level.grey if level.valid is None else level.grey[level.valid]
    if grey.size == 0 or grey.min() == grey.max():
        found = "no valid voxel" if grey.size == 0 else f"only the value {grey.flat[0]}"
        raise RegistrationError(
            f"the {name} scan cannot be registered: its pyramid holds {found}; check the source "
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


def fit(matches: Sequence[Match], matrix: Matrix, params: RegisterParams, *, spacing: Point = UNIT) -> Fit:
    """Return the transform that most sub-blocks agree on.

    Parameters
    ----------
    matches
        Of `refine`, all made with `matrix`.
    matrix
        The transform so far; it comes back unchanged where too few sub-blocks matched.
    params
        Of the step.
    spacing
        Edge lengths of a voxel: a rotation is rigid in space, not in voxels.
    """
    used = [m for m in matches if m.weight > 0]
    if len(used) < LEAST.get(params.transform, 1):
        return Fit(matrix, inf, 0, len(matches), 0.0, (np.nan,) * len(matches))
    points = np.array([m.point for m in used])
    shifted = points + np.array([m.displacement for m in used])
    weights, edges = np.array([m.weight for m in used]), np.array(spacing)
    scale = np.diag([*spacing, 1.0])
    unscale = np.diag(1 / np.diag(scale))
    source, goal = points * edges, (shifted @ matrix[:3, :3].T + matrix[:3, 3]) * edges
    if params.transform == "none":
        distance = distances(scale @ matrix @ unscale, source, goal, edges)
        found = Agreement(matrix, distance, weights)
    else:
        found = agree(
            source,
            goal,
            weights,
            edges,
            kind=params.transform,
            least_scale=MATCH_FLOOR,
            seed=params.seed,
        )
        found = found._replace(matrix=unscale @ found.matrix @ scale)
    held = found.weight > 0
    mean_square = (found.weight * found.distance**2).sum() / max(found.weight.sum(), 1e-300)
    own = iter(np.where(held, found.distance, np.nan).tolist())
    return Fit(
        found.matrix,
        float(np.sqrt(mean_square)) if held.any() else inf,
        int(np.count_nonzero(held)),
        len(matches),
        float(np.mean([m.correlation for m, h in zip(used, held, strict=True) if h] or [0.0])),
        tuple(next(own) if m.weight > 0 else np.nan for m in matches),
    )


def overlap_fraction(matrix: Matrix, ref_shape: Triple, mov_shape: Triple) -> float:
    """Return the part of the reference that the moving scan covers, on a lattice of 33^3 points.

    >>> overlap_fraction(np.eye(4), (10, 10, 10), (10, 10, 10))
    1.0
    """
    axes = [np.linspace(0, n - 1, 33) for n in ref_shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside = np.ones(z.shape, bool)
    for (m0, m1, m2, m3), n in zip(np.asarray(matrix)[:3].tolist(), mov_shape, strict=True):
        position = ((m0 * z + m1 * y) + m2 * x) + m3
        inside &= (position >= -1e-6) & (position <= n - 1 + 1e-6)
    return float(inside.mean())


def rotation_deg(matrix: Matrix, spacing: Point = UNIT) -> float:
    """Return the angle of the rotation nearest to a transform, in degrees.

    >>> rotation_deg(np.eye(4))
    0.0
    """
    edges = np.array(spacing)
    left, _, right = np.linalg.svd(matrix[:3, :3] * edges[:, None] / edges[None, :])
    cosine = (np.trace(left @ right) - 1) / 2
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def verify(found: Fit, params: RegisterParams, overlap: float, *, spacing: Point = UNIT) -> str | None:
    """Say what is wrong with a registration.

    Parameters
    ----------
    found
        The last fit.
    params
        Of the step, with the limits.
    overlap
        Of `overlap_fraction`.
    spacing
        Edge lengths of a voxel.

    Returns
    -------
    str or None
        None for a good registration; the complaint where `accept_failed` lets it pass.

    Raises
    ------
    RegistrationError
        With the figure and the way out, unless `accept_failed`.
    """
    complaint = "; ".join(_complaints(found, params, overlap, spacing))
    if complaint and not params.accept_failed:
        raise RegistrationError(
            f"registration failed: {complaint}. Check that the states are of one sample, in order, "
            "with the right voxel size and fill; or set accept_failed = true under [register] to "
            "go on regardless"
        )
    return complaint or None


def _complaints(found: Fit, params: RegisterParams, overlap: float, spacing: Point) -> list[str]:
    wrong: list[str] = []
    if overlap < params.min_overlap:
        wrong.append(
            f"the scan covers {overlap:.1%} of the reference, "
            f"min_overlap = {params.min_overlap:g} asks for {params.min_overlap:.1%}"
        )
    if params.transform == "none":
        return wrong
    wanted = ceil(params.min_matched * found.n_blocks)
    if found.n_used < wanted:
        wrong.append(
            f"{found.n_used} of {found.n_blocks} sub-blocks agree on a transform, "
            f"min_matched = {params.min_matched:g} asks for {wanted}"
        )
        return wrong  # the rest would be said of a chance result
    if found.residual_voxels > params.max_residual_voxels:
        wrong.append(
            f"sub-blocks are {found.residual_voxels:.2f} voxels off, "
            f"max_residual_voxels = {params.max_residual_voxels:g}"
        )
    angle = rotation_deg(found.matrix, spacing)
    if angle > params.max_rotation_deg + 1e-9:
        wrong.append(f"it found a rotation of {angle:.2f} degrees, max_rotation_deg = {params.max_rotation_deg:g}")
    return wrong


def register(
    reference: Sequence[Level],
    moving: Sequence[Level],
    read_reference: Reader,
    read_moving: Reader,
    reference_shape: Triple,
    moving_shape: Triple,
    params: RegisterParams,
    *,
    spacing: Point = UNIT,
    fill: float | None = None,
    apply: Callable[[Callable[[Box], Match], Sequence[Box]], Iterable[Match]] = map,
) -> Fit:
    """Register one scan to the reference and check the result.

    Parameters
    ----------
    reference, moving
        Pyramid levels, coarse to fine.
    read_reference, read_moving
        Return the full-resolution voxels of a box.
    reference_shape, moving_shape
        Shapes of the two scans.
    params
        Of the step.
    spacing
        Edge lengths of a voxel.
    fill
        Value of voxels that the scanner did not measure.
    apply
        Runs a function over sub-blocks and returns its results in their order: `map`, or one that
        hands them to workers.

    Raises
    ------
    RegistrationError
        If the scans do not register, unless `accept_failed`.
    """
    blocks = subblocks(reference_shape, params.sub_block, params.blocks_per_axis)
    matrix = coarse(reference, moving, params, spacing=spacing)
    found = Fit(matrix, inf, 0, len(blocks), 0.0, (np.nan,) * len(blocks))
    for turn in range(1 if params.transform == "none" else params.rounds):
        task = partial(
            match_block,
            read_reference=read_reference,
            read_moving=read_moving,
            moving_shape=moving_shape,
            matrix=found.matrix,
            search=_search(turn, found, params),
            min_correlation=params.min_correlation,
            fill=fill,
        )
        last = found.matrix
        found = fit(list(apply(task, blocks)), last, params, spacing=spacing)
        if _furthest(last, found.matrix, reference_shape) < SETTLED:
            break
    verify(
        found,
        params,
        overlap_fraction(found.matrix, reference_shape, moving_shape),
        spacing=spacing,
    )
    return found


def _search(turn: int, found: Fit, params: RegisterParams) -> int:
    """Return how far to look for sub-blocks: not at all where the last round says where they are."""
    if turn == 0:
        return params.search_voxels
    return 0 if found.residual_voxels <= params.max_residual_voxels else min(4, params.search_voxels)


def _furthest(first: Matrix, second: Matrix, shape: Triple) -> float:
    """Return how far apart two transforms put a corner of a volume, in voxels."""
    corners = np.array(list(product(*((0.0, n - 1.0) for n in shape), (1.0,))))
    apart = corners @ (first - second)[:3].T
    return float(np.sqrt((apart**2).sum(axis=1)).max())
