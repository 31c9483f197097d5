"""Step register: where each voxel of the store lies in a state's scan.

Coarse to fine on pyramid levels with SimpleITK (`coarse_registration`), then translations of full-resolution sub-blocks
spread over the volume (`subblocks`), to which one transform is fitted (`registration_fit`). Sub-blocks and levels are
fixed by the volume's shape and the parameters, each sub-block is matched on its own, and every sum runs in one
fixed order on one thread: the transform does not depend on blocks, workers or memory.

`transform = "rigid"` and `"affine"` differ in that fit alone: 3 angles and 3 shifts, or 12 numbers. The pyramid levels
find a rigid motion for both, from which an affine transform is refined, round by round; what it adds must be small
enough for sub-blocks to be found (`search_voxels`).

Every matrix is 4 x 4, float64, and maps a voxel index (z, y, x, 1) of the reference to a voxel
index of the moving scan. `spacing` is the edge lengths (z, y, x) of a voxel, in any unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import inf
from typing import Any

import numpy as np

from crackdask.grid import Triple
from crackdask.kernels.block_matching import SETTLED
from crackdask.steps.coarse_registration import Level, coarse
from crackdask.steps.declaration import Of, Stage, Step
from crackdask.steps.local_motion import EDGE, OFF_SHARE, Field, Scans, fit_field, measure, probes, residual, share_off
from crackdask.steps.motion_lattice import Matched
from crackdask.steps.registration_fit import Fit, fit, overlap_fraction, verify
from crackdask.steps.registration_parameters import RegisterParams
from crackdask.steps.registration_result import Registration
from crackdask.steps.subblocks import UNIT, Match, Matrix, Point, match_block, match_on_bins, subblocks

#: Runs a function over boxes, or what has one as `box`, and returns its results in their order.
Apply = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
#: Edges of sub-blocks from which bins tell enough.
LEAST_ON_BINS = 24
#: Voxels: a transform is settled where no corner moves further, from one round on bins, or in full, to the next.
ROUGHLY, FINELY = 0.2, 0.03
#: An affine transform is taken instead of a rigid one where it leaves less than this part of the residual.
BETTER = 0.7


def register(
    reference: Sequence[Level],
    moving: Sequence[Level],
    scans: Scans,
    reference_shape: Triple,
    params: RegisterParams,
    *,
    spacing: Point = UNIT,
    apply: Apply = map,
) -> Registration:
    """Register one scan to the reference and check the result.

    Parameters
    ----------
    reference, moving
        Pyramid levels, coarse to fine.
    scans
        Readers of both at full resolution.
    reference_shape
        Shape of the reference.
    params
        Of the step.
    spacing
        Edge lengths of a voxel.
    apply
        Runs a function over boxes and returns its results in their order: `map`, or one that hands them to workers.

    Raises
    ------
    RegistrationError
        If the scans do not register, unless `accept_failed`.
    """
    matches = _Matches(scans, reference_shape, spacing, params.min_correlation, apply)
    first = params.first_transform
    chosen = matches.rough(coarse(reference, moving, params, spacing=spacing), _of_kind(params, first))
    residuals: dict[str, float] = {first: chosen.residual_voxels}
    kind: str = first
    if params.transform == "auto" or params.may_bend:
        left = _left_over(scans, chosen.matrix, params, apply)
        if params.transform == "auto" and share_off(left) > OFF_SHARE:
            affine = matches.rough(chosen.matrix, _of_kind(params, "affine"))
            then = _left_over(scans, affine.matrix, params, apply)
            if share_off(then) < share_off(left) or residual(then) < BETTER * residual(left):
                chosen, left, kind = affine, then, "affine"
                residuals["affine"] = affine.residual_voxels
        if params.local is True or (params.may_bend and share_off(left) > OFF_SHARE):
            chosen, field = _bent(scans, chosen, left, params, apply)
            residuals["local"] = chosen.residual_voxels
            return _verified(Registration(chosen, kind, residuals, field), scans, params, reference_shape, spacing)
    chosen = matches.fine(chosen, _of_kind(params, kind))
    residuals[kind] = chosen.residual_voxels
    return _verified(Registration(chosen, kind, residuals), scans, params, reference_shape, spacing)


def _verified(found: Registration, scans: Scans, params: RegisterParams, shape: Triple, spacing: Point) -> Registration:
    """Return a registration that is to be believed, or may be."""
    verify(found.fit, params, overlap_fraction(found.fit.matrix, shape, scans.moving_shape), spacing=spacing)
    return found


def _of_kind(params: RegisterParams, kind: str) -> RegisterParams:
    return params.model_copy(update={"transform": kind})


def _left_over(scans: Scans, matrix: Matrix, params: RegisterParams, apply: Apply) -> Matched:
    """Return what a transform leaves over in a few sub-blocks that it was not fitted to."""
    nodes = probes(scans.region, params.local_spacing, EDGE)
    return measure(scans, matrix, nodes, None, params.min_correlation, apply, search=True)


def _bent(scans: Scans, fit: Fit, left: Matched, params: RegisterParams, apply: Apply) -> tuple[Fit, Field]:
    """Return the field that follows what is left over, and how well sub-blocks between its nodes agree with it."""
    field = fit_field(scans, fit.matrix, left, params.local_spacing, EDGE, params.min_correlation, apply)
    between = probes(scans.region, params.local_spacing, EDGE, shift=True)
    after = measure(scans, fit.matrix, between, field, params.min_correlation, apply, search=False)
    size = np.sqrt((after.displacement**2).sum(axis=-1))
    told = replace(
        fit,
        residual_voxels=residual(after),
        n_used=int(np.count_nonzero(after.good)),
        n_blocks=after.good.size,
        correlation=float(after.correlation[after.good].mean()) if after.good.any() else 0.0,
        residuals=tuple(np.where(after.good, size, np.nan).ravel().tolist()),
    )
    return told, field


@dataclass(frozen=True)
class _Matches:
    """Sub-blocks of two scans, and transforms that are fitted to them.

    Attributes
    ----------
    scans, shape, spacing
        What is matched, the shape of the reference, and edge lengths of a voxel.
    min_correlation
        A match that correlates less is not believed.
    apply
        Runs a function over boxes and returns its results in their order.
    """

    scans: Scans
    shape: Triple
    spacing: Point
    min_correlation: float
    apply: Apply

    def rough(self, start: Matrix, params: RegisterParams) -> Fit:
        """Return the transform that sub-blocks tell on bins, or in full where they are small."""
        blocks = subblocks(self.shape, params.sub_block, params.blocks_per_axis)
        nothing = Fit(start, inf, 0, len(blocks), 0.0, (np.nan,) * len(blocks))
        if min(blocks[0].shape) < LEAST_ON_BINS or params.transform == "none":
            return self._rounds(match_block, nothing, params, SETTLED)
        return self._rounds(match_on_bins, nothing, params, ROUGHLY)

    def fine(self, last: Fit, params: RegisterParams) -> Fit:
        """Return a transform of `rough` refined at full resolution."""
        blocks = subblocks(self.shape, params.sub_block, params.blocks_per_axis)
        if min(blocks[0].shape) < LEAST_ON_BINS or params.transform == "none":
            return last  # it is
        return self._rounds(match_block, last, params, FINELY)

    def _rounds(self, match: Callable[..., Match], last: Fit, params: RegisterParams, still: float) -> Fit:
        """Match sub-blocks and fit a transform to them, round by round, until it moves no corner any more."""
        blocks = subblocks(self.shape, params.sub_block, params.blocks_per_axis)
        for turn in range(1 if params.transform == "none" else params.rounds):
            before = last.matrix
            task = partial(
                match,
                read_reference=self.scans.read_reference,
                read_moving=self.scans.read_moving,
                moving_shape=self.scans.moving_shape,
                matrix=before,
                search=_search(turn, last, params),
                min_correlation=self.min_correlation,
                fill=self.scans.fill,
            )
            last = fit(list(self.apply(task, blocks)), before, params, spacing=self.spacing)
            if _furthest(before, last.matrix, self.shape) < still:
                break
        return last


def _search(turn: int, last: Fit, params: RegisterParams) -> int:
    """Return how far to look for sub-blocks: not at all where the last round says where they are."""
    if turn == 0 and not last.n_used:
        return params.search_voxels
    return 0 if last.residual_voxels <= params.max_residual_voxels else min(4, params.search_voxels)


def _furthest(first: Matrix, second: Matrix, shape: Triple) -> float:
    """Return how far apart two transforms put a corner of a volume, in voxels."""
    corners = np.array(list(product(*((0.0, n - 1.0) for n in shape), (1.0,))))
    apart = corners @ (first - second)[:3].T
    return float(np.sqrt((apart**2).sum(axis=1)).max())


def _looks(parameters: Mapping[str, Any], is_reference: bool) -> bool:
    return not is_reference and parameters["register"].transform != "none"


STEP = Step(
    name="register",
    stage=Stage.SCANS,
    parameters=RegisterParams,
    version=4,  # sub-blocks are matched on bins first, and settled by one loop
    sections=("register",),
    facts=("voxel_um", "fill", "crop"),
    needs=(("read", Of.REFERENCE), ("read", Of.ITSELF)),
    reads=(("raw", Of.REFERENCE), ("raw", Of.ITSELF)),
    reads_in=_looks,
    seconds_per_state=3.0,
)
