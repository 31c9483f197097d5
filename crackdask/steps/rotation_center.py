"""Where on the detector the axis of rotation is seen: two methods that must agree, and what to look at if they do not.

One mirrors half a turn of projections onto the other (`opposite_views`); it needs 180 degrees. The other reconstructs a
slice about many axes and takes the one whose edges are sharpest (`gradient_spread`); it works with any angles, with a
sample in air as in one that is wider than the field. It looks at all angles of half a turn, even where a holder stands
in some: slices with a missing wedge tell the axis several times less well. `rotation_center.md` has what was measured.
A center is believed where both find it within a pixel of each other, inside the range that was searched.

Both take attenuations, as slices do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crackdask.arrays import Floats, Singles
from crackdask.kernels.gridding import gridded
from crackdask.kernels.projection_angles import angular_weights
from crackdask.kernels.ramp_filter import LANES
from crackdask.steps.center_rows import Candidates, Curve, RowSearch, covers_half_a_turn, lowest, search_row

AGREEMENT = 1.0  # columns
#: Where two methods that agree are farther apart than this, there are slices about both.
_APART = 0.25
#: Least correlation of two opposite views that are believed, and columns about its best in which each row has its own.
LEAST_LIKENESS, _NEAR = 0.5, 3.0
_STRIP = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
_STRIP_SIZE = 256
_HALF_TURN = 180.0


@dataclass(frozen=True)
class Strip:
    """The middle of one slice, (image, y, x), reconstructed about each of some centers."""

    centers: Floats
    images: Singles


@dataclass(frozen=True)
class CenterSearch:
    """What was found and how: for the record, and for a person to look at.

    Parameters
    ----------
    center
        Mean of the medians over the rows that both methods found, or that of the sweep where opposite views are not
        alike or there are none; detector columns, to a hundredth.
    sweep, opposite
        What each method found in each row; of opposite views none where the angles are less than half a turn.
    spread, mismatch
        Measures of reconstructions and of opposite views, means over the rows, each divided by its largest value.
    likeness
        Correlation of the first view with the opposite one, mean over the rows.
    strip
        Slices of the middle row.
    """

    center: float
    sweep: Floats
    opposite: Floats
    spread: Curve
    mismatch: Curve | None
    likeness: Curve | None
    strip: Strip


class CenterNotFoundError(ValueError):
    """No center can be believed; `search` has what was found, curves and slices."""

    def __init__(self, reason: str, search: CenterSearch | None = None) -> None:
        super().__init__(reason)
        self.search = search


def find_center(
    sinograms: Singles,
    degrees: ArrayLike,
    between: tuple[float, float] | None = None,
    accept_limited: bool = False,
) -> CenterSearch:
    """Return where the axis is seen, from sinograms (row, projection, column) of attenuations of a few rows.

    Parameters
    ----------
    sinograms, degrees
        All projections, before any are left out.
    between
        Columns to search; a sixteenth of the width to both sides of the middle unless told.
    accept_limited
        Believe the sweep alone where the angles cover less than half a turn.

    Raises
    ------
    CenterNotFoundError
        Where the angles do not cover half a turn and that was not accepted, where the methods, or half of the rows,
        differ by more than `AGREEMENT`, or where one finds its best at the end of the range.
    """
    sinograms, angles = np.ascontiguousarray(sinograms, np.float32), np.asarray(degrees, np.float64)
    candidates = Candidates.of(sinograms.shape[2], between)
    refuse_limited(angles, accept_limited)
    rows = [search_row(sinogram, angles, candidates) for sinogram in sinograms]
    return settle(rows, sinograms[len(sinograms) // 2], angles, candidates)


def refuse_limited(angles: Floats, accept_limited: bool) -> None:
    """Raise where the angles cover less than half a turn and that was not accepted."""
    if not (covers_half_a_turn(angles) or accept_limited):
        raise CenterNotFoundError(
            f"the angles cover {np.degrees(angular_weights(angles).sum()):.1f} degrees of 180, and a center that is "
            "searched in less may be wrong by many columns. Give center as a number, or accept what a sweep of "
            "reconstructions finds with below_180 = true, both in [reconstruct]"
        )


def settle(rows: Sequence[RowSearch], sinogram: Singles, angles: Floats, candidates: Candidates) -> CenterSearch:
    """Return the center that rows tell together, with slices of one of them; errors are those of `find_center`.

    Parameters
    ----------
    rows
        What each tells.
    sinogram
        Of the row whose slices are shown, all projections.
    angles, candidates
        Those with which rows were searched.
    """
    sweep, spread = np.array([row.sweep for row in rows]), _mean(candidates.coarse, [row.spreads for row in rows])
    opposite, wedges, alike = np.empty(0), None, None
    if covers_half_a_turn(angles):
        opposite, wedges, alike = _opposite_views(rows, candidates)
        first = angles < angles.min() + _HALF_TURN
        sinogram, angles = sinogram[first], angles[first]
    center = _settled(sweep, opposite, alike)
    beside = [float(np.median(found)) for found in (sweep, opposite) if found.size]
    about = [center, *(value for value in beside if abs(value - center) > _APART)]
    strip = _strip(sinogram, angles, about)
    search = CenterSearch(center, sweep, opposite, spread, wedges, alike, strip)
    _check(search, candidates.low, candidates.high)
    return search


def _settled(sweep: Floats, opposite: Floats, alike: Curve | None) -> float:
    """Return the mean of what both methods found; that of the sweep where opposite views are not alike, or far off."""
    center = float(np.median(sweep))
    if alike is not None and alike.values.max() >= LEAST_LIKENESS:
        apart = float(np.median(opposite)) - center
        center += apart / 2 if abs(apart) <= AGREEMENT else 0.0
    return round(center, 2)


def _check(search: CenterSearch, low: float, high: float) -> None:
    """Refuse a center at the end of the range, and one that the other method does not find."""
    found = {"the sweep of reconstructions": float(np.median(search.sweep))}
    if search.opposite.size:
        found["opposite views"] = float(np.median(search.opposite))
    said = ", ".join(f"{method} {value:.2f}" for method, value in found.items())
    tried = ",".join(f"{value:g}" for value in sorted({round(each, 1) for each in (*found.values(), (low + high) / 2)}))
    way_out = (
        f"Look at slices about these and others (crackdask preview RECIPE --set reconstruct.center={tried}), and give "
        "center in [reconstruct]"
    )
    if any(value <= low + 1 or value >= high - 1 for value in found.values()):
        raise CenterNotFoundError(
            f"the center lies at the end of what was searched, {low:.1f} to {high:.1f}: found by {said}. {way_out}",
            search,
        )
    for method, values in (("the sweep of reconstructions", search.sweep), ("opposite views", search.opposite)):
        # By chance two methods may agree about noise; then rows do not.
        apart = float(np.median(np.abs(values - np.median(values)))) if values.size > 2 else 0.0
        if apart > AGREEMENT:
            rows = ", ".join(f"{value:.2f}" for value in values)
            raise CenterNotFoundError(
                f"rows do not agree by {method}, which finds {rows}: nothing tells the center, or the axis is tilted. "
                f"{way_out}", search,
            )  # fmt: skip
    if max(found.values()) - min(found.values()) > AGREEMENT:
        raise CenterNotFoundError(
            f"two methods find different centers, more than {AGREEMENT:g} columns apart: {said}. {way_out}", search
        )


def _opposite_views(rows: Sequence[RowSearch], candidates: Candidates) -> tuple[Floats, Curve, Curve]:
    """Return the center of each row by opposite views, and the means of both of their curves."""
    halves = candidates.halves
    both = Curve(halves, np.mean([row.likenesses for row in rows], axis=0))
    if both.values.max() >= LEAST_LIKENESS:
        near = np.abs(halves - halves[int(np.argmax(both.values))]) <= _NEAR
        found = [lowest(Curve(halves[near], 1 - row.likenesses[near]), 0.5) for row in rows]
    else:  # the first projection or its opposite tells nothing
        found = [row.wedges for row in rows if row.wedges is not None]
    return np.array(found), _mean(candidates.coarse, [row.mismatches for row in rows]), both


def _strip(sinogram: Singles, angles: Floats, about: list[float]) -> Strip:
    """Return the middle of the slice about each of the found centers, and beside the first one."""
    columns = sinogram.shape[1]
    centers = np.unique(np.round([about[0] + step for step in _STRIP] + about, 2))
    edge = max(0, (columns - _STRIP_SIZE) // 2)
    middle = slice(edge, columns - edge)
    images = []
    for first in range(0, len(centers), LANES):
        some = centers[first : first + LANES]
        slices = gridded(np.broadcast_to(sinogram, (len(some), *sinogram.shape)), angles, some)
        images.append(slices[:, middle, middle].copy())  # else whole slices are kept
    return Strip(centers, np.concatenate(images))


def _mean(centers: Floats, curves: Sequence[Floats]) -> Curve:
    return Curve(centers, np.mean([values / (values.max() or 1.0) for values in curves], axis=0))
