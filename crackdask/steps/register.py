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
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from math import inf
from typing import Any

import numpy as np

from crackdask.grid import Box, Triple
from crackdask.kernels.block_matching import SETTLED
from crackdask.steps.coarse_registration import Level, coarse
from crackdask.steps.declaration import Of, Stage, Step
from crackdask.steps.local_motion import EDGE, OFF_SHARE, Field, Scans, fit_field, measure, probes, residual, share_off
from crackdask.steps.motion_lattice import Matched
from crackdask.steps.registration_fit import Fit, fit, overlap_fraction, verify
from crackdask.steps.registration_parameters import RegisterParams
from crackdask.steps.registration_result import Registration
from crackdask.steps.subblocks import (
    UNIT,
    BinnedBlock,
    Match,
    Matrix,
    Point,
    match_bins,
    match_block,
    read_bins,
    subblocks,
)

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
    matches = _Matches(scans, reference_shape, spacing, params, apply)
    first = params.first_transform
    inside = [_inside(level, scans.region, reference_shape) for level in reference]
    chosen = matches.rough(coarse(inside, moving, params, spacing=spacing), first)
    residuals: dict[str, float] = {first: chosen.residual_voxels}
    kind: str = first
    if params.transform == "auto" or params.may_bend:
        left = _left_over(scans, chosen.matrix, params, apply)
        if params.transform == "auto" and share_off(left) > OFF_SHARE:
            affine = matches.rough(chosen.matrix, "affine")
            then = _left_over(scans, affine.matrix, params, apply)
            if share_off(then) < share_off(left) or residual(then) < BETTER * residual(left):
                chosen, left, kind = affine, then, "affine"
                residuals["affine"] = affine.residual_voxels
        if params.local is True or (params.may_bend and share_off(left) > OFF_SHARE):
            chosen, bent = _bent(scans, chosen, left, params, apply)
            residuals["local"] = chosen.residual_voxels
            return _verified(Registration(chosen, kind, residuals, bent), scans, params, reference_shape, spacing)
    chosen = matches.fine(chosen, kind)
    residuals[kind] = chosen.residual_voxels
    return _verified(Registration(chosen, kind, residuals), scans, params, reference_shape, spacing)


def _inside(level: Level, region: Box, shape: Triple) -> Level:
    """Return a level of which only the part that counts is looked at."""
    if region == Box.whole(shape):
        return level
    valid = np.zeros(level.grey.shape, bool)
    ends = zip(region.start, region.stop, strict=True)
    part = tuple(slice(-(-a // level.factor), max(b // level.factor, a // level.factor + 1)) for a, b in ends)
    valid[part] = True if level.valid is None else level.valid[part]
    return level._replace(valid=valid)


def _verified(found: Registration, scans: Scans, params: RegisterParams, shape: Triple, spacing: Point) -> Registration:
    """Return a registration that is to be believed, or may be."""
    verify(found.fit, params, overlap_fraction(found.fit.matrix, shape, scans.moving_shape), spacing=spacing)
    return found


def _left_over(scans: Scans, matrix: Matrix, params: RegisterParams, apply: Apply) -> Matched:
    """Return what a transform leaves over in a few sub-blocks that it was not fitted to."""
    nodes = probes(scans.region, params.local_spacing, EDGE)
    return measure(scans, matrix, nodes, None, params.min_correlation, apply, search=True)


def _bent(scans: Scans, fit: Fit, left: Matched, params: RegisterParams, apply: Apply) -> tuple[Fit, Field]:
    """Return the field that follows what is left over, and how well sub-blocks between its nodes agree with it."""
    found = fit_field(scans, fit.matrix, left, params.local_spacing, EDGE, params.min_correlation, apply)
    between = probes(scans.region, params.local_spacing, EDGE, shift=True)
    after = measure(scans, fit.matrix, between, found, params.min_correlation, apply, search=False)
    size = np.sqrt((after.displacement**2).sum(axis=-1))
    told = replace(
        fit,
        residual_voxels=residual(after),
        n_used=int(np.count_nonzero(after.good)),
        n_blocks=after.good.size,
        correlation=float(after.correlation[after.good].mean()) if after.good.any() else 0.0,
        residuals=tuple(np.where(after.good, size, np.nan).ravel().tolist()),
    )
    return told, found


@dataclass
class _Matches:
    """Sub-blocks of two scans, and transforms that are fitted to them.

    Attributes
    ----------
    scans, shape, spacing, params
        What is matched, the shape of the reference, edge lengths of a voxel, and parameters of the step.
    apply
        Runs a function over boxes and returns its results in their order.
    binned
        Sub-blocks in bins, once they were read.
    """

    scans: Scans
    shape: Triple
    spacing: Point
    params: RegisterParams
    apply: Apply
    binned: list[BinnedBlock | None] = field(default_factory=list)

    @cached_property
    def blocks(self) -> tuple[Box, ...]:
        """The sub-blocks: in the part that counts, for the rest may be air, a holder, and what both throw."""
        inside = subblocks(self.scans.region.shape, self.params.sub_block, self.params.blocks_per_axis)
        return tuple(box.shifted(self.scans.region.start) for box in inside)

    @property
    def bins_tell(self) -> bool:
        """Whether sub-blocks are large enough to be matched on bins."""
        return self.params.transform != "none" and min(self.blocks[0].shape) >= LEAST_ON_BINS

    def rough(self, start: Matrix, kind: str) -> Fit:
        """Return the transform that sub-blocks tell on bins, or in full where they are small."""
        last = Fit(start, inf, 0, len(self.blocks), 0.0, (np.nan,) * len(self.blocks))
        if not self.bins_tell:
            return self._rounds(self._in_full, last, kind, SETTLED)
        if not self.binned:
            task = partial(read_bins, matrix=start, search=self.params.search_voxels, **self._reading)
            self.binned += self.apply(task, self.blocks)
        return self._rounds(self._on_bins, last, kind, ROUGHLY)

    def fine(self, last: Fit, kind: str) -> Fit:
        """Return a transform of `rough` refined at full resolution."""
        return self._rounds(self._in_full, last, kind, FINELY) if self.bins_tell else last

    @property
    def _reading(self) -> dict[str, Any]:
        return {
            "read_reference": self.scans.read_reference,
            "read_moving": self.scans.read_moving,
            "moving_shape": self.scans.moving_shape,
            "fill": self.scans.fill,
        }

    def _in_full(self, matrix: Matrix, search: int) -> list[Match]:
        least = self.params.min_correlation
        task = partial(match_block, matrix=matrix, search=search, min_correlation=least, **self._reading)
        return list(self.apply(task, self.blocks))

    def _on_bins(self, matrix: Matrix, search: int) -> list[Match]:
        """Match what is kept in bins: here, for it takes less than to send it."""
        there = [each for each in self.binned if each is not None]
        return [match_bins(each, matrix, search, self.params.min_correlation) for each in there]

    def _rounds(self, matched: Callable[[Matrix, int], list[Match]], last: Fit, kind: str, still: float) -> Fit:
        """Match sub-blocks and fit a transform to them, round by round, until it moves no corner any more."""
        params = self.params.model_copy(update={"transform": kind})
        for turn in range(1 if kind == "none" else params.rounds):
            before = last.matrix
            last = fit(matched(before, _search(turn, last, params)), before, params, spacing=self.spacing)
            last = replace(last, n_blocks=len(self.blocks))
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
