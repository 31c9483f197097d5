"""One transform fitted to the matches of many sub-blocks, and whether it is to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from crackdask.grid import Triple
from crackdask.kernels.consensus import LEAST, Agreement, agree, distances
from crackdask.steps.registration_parameters import RegisterParams, RegistrationError
from crackdask.steps.subblocks import MATCH_FLOOR, UNIT, Match, Matrix, Point


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
    kind = params.first_transform
    if len(used) < LEAST.get(kind, 1):
        return Fit(matrix, inf, 0, len(matches), 0.0, (np.nan,) * len(matches))
    points = np.array([m.point for m in used])
    shifted = points + np.array([m.displacement for m in used])
    weights, edges = np.array([m.weight for m in used]), np.array(spacing)
    scale = np.diag([*spacing, 1.0])
    unscale = np.diag(1 / np.diag(scale))
    source, goal = points * edges, (shifted @ matrix[:3, :3].T + matrix[:3, 3]) * edges
    if kind == "none":
        distance = distances(scale @ matrix @ unscale, source, goal, edges)
        agreement = Agreement(matrix, distance, weights)
    else:
        agreement = agree(source, goal, weights, edges, kind=kind, least_scale=MATCH_FLOOR, seed=params.seed)
        agreement = agreement._replace(matrix=unscale @ agreement.matrix @ scale)
    held = agreement.weight > 0
    mean_square = (agreement.weight * agreement.distance**2).sum() / max(agreement.weight.sum(), 1e-300)
    own = iter(np.where(held, agreement.distance, np.nan).tolist())
    return Fit(
        agreement.matrix,
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


def verify(fit: Fit, params: RegisterParams, overlap: float, *, spacing: Point = UNIT) -> str | None:
    """Say what is wrong with a registration.

    Parameters
    ----------
    fit
        The last one.
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
    complaint = "; ".join(_complaints(fit, params, overlap, spacing))
    if complaint and not params.accept_failed:
        raise RegistrationError(
            f"registration failed: {complaint}. Check that the states are of one sample, in order, "
            "with the right voxel size and fill; or set accept_failed = true under [register] to "
            "go on regardless"
        )
    return complaint or None


def _complaints(fit: Fit, params: RegisterParams, overlap: float, spacing: Point) -> list[str]:
    wrong: list[str] = []
    if overlap < params.min_overlap:
        wrong.append(
            f"the scan covers {overlap:.1%} of the reference, "
            f"min_overlap = {params.min_overlap:g} asks for {params.min_overlap:.1%}"
        )
    if params.transform == "none":
        return wrong
    wanted = ceil(params.min_matched * fit.n_blocks)
    if fit.n_used < wanted:
        wrong.append(
            f"{fit.n_used} of {fit.n_blocks} sub-blocks agree on a transform, "
            f"min_matched = {params.min_matched:g} asks for {wanted}"
        )
        return wrong  # the rest would be said of a chance result
    if fit.residual_voxels > params.max_residual_voxels:
        wrong.append(
            f"sub-blocks are {fit.residual_voxels:.2f} voxels off, max_residual_voxels = {params.max_residual_voxels:g}"
        )
    angle = rotation_deg(fit.matrix, spacing)
    if angle > params.max_rotation_deg + 1e-9:
        wrong.append(f"it found a rotation of {angle:.2f} degrees, max_rotation_deg = {params.max_rotation_deg:g}")
    return wrong
