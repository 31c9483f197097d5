"""Where on the detector the axis of rotation is seen: two methods that must agree, and what to look at if they do not.

One mirrors half a turn of projections onto the other (`opposite_views`); it needs 180 degrees. The other reconstructs a
slice about many axes and takes the one whose edges are sharpest (`gradient_spread`); it works with any angles, with a
sample in air as in one that is wider than the field. It looks at all angles of half a turn, even where a holder stands
in some: slices with a missing wedge tell the axis several times less well. `rotation_center.md` has what was measured.
A center is believed where both find it within a pixel of each other, inside the range that was searched.

Both take attenuations, as slices do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from crackdask.arrays import Floats, Singles
from crackdask.kernels.gradient_spread import gradient_spread
from crackdask.kernels.gridding import gridded
from crackdask.kernels.opposite_views import half_turn, likeness, mismatch
from crackdask.kernels.projection_angles import angular_weights
from crackdask.kernels.ramp_filter import LANES
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import ndimage
else:  # which every command would wait for
    ndimage = Later("scipy.ndimage")

AGREEMENT = 1.0  # columns
RANGE = 1 / 16  # of the detector's width, to both sides of its middle
FINE = 0.25
_FINE_REACH = 1.5
#: Columns over which projections are smoothed before a sweep; slices are then smooth by as many voxels.
_SMOOTHING = 1.5
#: Radius of what is looked at in slices, over their width: within the field, off what padding does at its border.
_FIELD = 0.48
#: Least correlation of two opposite views that are believed, and columns about its best in which each row has its own.
_LEAST_LIKENESS, _NEAR = 0.5, 3.0
_COARSE_COLUMNS = 640
_STRIP = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
_STRIP_SIZE = 256
_HALF_TURN = 180.0


@dataclass(frozen=True)
class Curve:
    """A measure over centers that is least at the true one, or that is greatest there (`likeness`)."""

    centers: Floats
    values: Floats


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
    columns = sinograms.shape[2]
    middle = (columns - 1) / 2
    low, high = between or (middle - RANGE * columns, middle + RANGE * columns)
    if not 0 <= low < high <= columns - 1:
        raise ValueError(f"centers {low:g} to {high:g} are to be searched; the detector has columns 0 to {columns - 1}")
    whole = _covers_half_a_turn(angles)
    if not (whole or accept_limited):
        raise CenterNotFoundError(
            f"the angles cover {np.degrees(angular_weights(angles).sum()):.1f} degrees of 180, and a center that is "
            "searched in less may be wrong by many columns. Give center as a number, or accept what a sweep of "
            "reconstructions finds"
        )
    none = (np.empty(0), None, None)
    opposite, wedges, alike = _opposite_views(sinograms, angles, low, high) if whole else none
    if whole:
        # Over a whole turn a wrong axis makes rings of points, and edges are less faint than arcs.
        first = angles < angles.min() + _HALF_TURN
        sinograms, angles = np.ascontiguousarray(sinograms[:, first]), angles[first]
    sweep, spread = _sweep(sinograms, angles, low, high)
    center = _settled(sweep, opposite, alike)
    beside = [float(np.median(found)) for found in (sweep, opposite) if found.size]
    about = [center, *(value for value in beside if abs(value - center) > AGREEMENT / 4)]
    search = CenterSearch(
        center, sweep, opposite, spread, wedges, alike, _strip(sinograms[len(sinograms) // 2], angles, about)
    )  # fmt: skip
    _check(search, low, high)
    return search


def _settled(sweep: Floats, opposite: Floats, alike: Curve | None) -> float:
    """Return the mean of what both methods found; that of the sweep where opposite views are not alike, or far off."""
    center = float(np.median(sweep))
    if alike is not None and alike.values.max() >= _LEAST_LIKENESS:
        apart = float(np.median(opposite)) - center
        center += apart / 2 if abs(apart) <= AGREEMENT else 0.0
    return round(center, 2)


def _covers_half_a_turn(angles: Floats) -> bool:
    try:
        half_turn(angles)
    except ValueError:
        return False
    return True


def _check(search: CenterSearch, low: float, high: float) -> None:
    """Refuse a center at the end of the range, and one that the other method does not find."""
    way_out = "Look at the slices about these centers, and give center as a number, or another range"
    found = {"the sweep of reconstructions": float(np.median(search.sweep))}
    if search.opposite.size:
        found["opposite views"] = float(np.median(search.opposite))
    said = ", ".join(f"{method} {value:.2f}" for method, value in found.items())
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


def _opposite_views(sinograms: Singles, angles: Floats, low: float, high: float) -> tuple[Floats, Curve, Curve]:
    """Return the center of each row by opposite views, and the means of both of their curves."""
    turn = half_turn(angles)
    factor = _binning(sinograms.shape[2])
    centers, halves = _steps(low, high, factor), np.arange(np.ceil(2 * low), np.floor(2 * high) + 1) / 2
    mismatches = [
        mismatch(_binned(sinogram, factor), _of_binned(centers, factor)) for sinogram in sinograms[:, turn]
    ]  # fmt: skip
    likenesses = [likeness(sinogram, angles, halves) for sinogram in sinograms]
    both = Curve(halves, np.mean(likenesses, axis=0))
    if both.values.max() >= _LEAST_LIKENESS:
        near = np.abs(halves - halves[int(np.argmax(both.values))]) <= _NEAR
        found = [_lowest(Curve(halves[near], 1 - values[near]), 0.5) for values in likenesses]
    else:  # the first projection or its opposite tells nothing
        found = [
            _fine_mismatch(sinogram, float(centers[int(np.argmin(values))]), factor)
            for sinogram, values in zip(sinograms[:, turn], mismatches, strict=True)
        ]
    return np.array(found), Curve(centers, _mean(mismatches)), both


def _fine_mismatch(sinogram: Singles, about: float, factor: int) -> float:
    near = np.arange(np.ceil(2 * (about - factor)) - 2, np.floor(2 * (about + factor)) + 3) / 2
    return _lowest(Curve(near, mismatch(sinogram, near)), 1.5)


def _sweep(sinograms: Singles, angles: Floats, low: float, high: float) -> tuple[Floats, Curve]:
    """Return the center of each row by reconstructions, and the mean of the coarse curves."""
    factor = _binning(sinograms.shape[2])
    centers = _steps(low, high, factor)
    found, spreads = [], []
    for sinogram in sinograms:
        spreads.append(_spreads(_binned(sinogram, factor), angles, _of_binned(centers, factor)))
        best = centers[int(np.argmin(spreads[-1]))]
        if factor > 1:
            whole = np.arange(best - factor, best + factor + 1)
            best = whole[int(np.argmin(_spreads(sinogram, angles, whole)))]
        near = np.arange(best - _FINE_REACH, best + _FINE_REACH + FINE / 2, FINE)
        found.append(_lowest(Curve(near, _spreads(sinogram, angles, near)), 1.0))
    return np.array(found), Curve(centers, _mean(spreads))


def _spreads(sinogram: Singles, angles: Floats, centers: Floats) -> Floats:
    """Return how evenly the edges of the slice about each center are spread, in one and the same circle."""
    columns = sinogram.shape[1]
    reach = min(float(centers.min()), columns - 1 - float(centers.max()), _FIELD * columns) - 2
    # Smoothing projections smooths slices alike in all directions, and once is enough for all centers.
    smooth = ndimage.gaussian_filter1d(sinogram, _SMOOTHING, axis=1, mode="nearest")
    values = np.empty(len(centers))
    for first in range(0, len(centers), LANES):
        some = centers[first : first + LANES]
        slices = gridded(np.broadcast_to(smooth, (len(some), *smooth.shape)), angles, some)
        values[first : first + LANES] = [gradient_spread(image, reach) for image in slices]
    return values


def _strip(sinogram: Singles, angles: Floats, about: list[float]) -> Strip:
    """Return the middle of the slice about each of the found centers, and beside the first one."""
    columns = sinogram.shape[1]
    centers = np.unique(np.round([about[0] + step for step in _STRIP] + about, 2))
    edge = max(0, (columns - _STRIP_SIZE) // 2)
    middle = slice(edge, columns - edge)
    images = [gridded(sinogram[None], angles, center)[0, middle, middle] for center in centers]
    return Strip(centers, np.stack(images))


def _lowest(curve: Curve, reach: float) -> float:
    """Return the bottom of a parabola through the values about the least one; that itself at the end of a curve."""
    at = int(np.argmin(curve.values))
    near = np.abs(curve.centers - curve.centers[at]) <= reach + 1e-9
    offset = curve.centers[near] - curve.centers[at]
    if np.count_nonzero(near) < 3 or at in (0, len(curve.centers) - 1):
        return float(curve.centers[at])
    scale = float(curve.values[near].max()) or 1.0  # of noise alone, the least may be nothing
    bend, slope, _ = np.polyfit(offset, curve.values[near] / scale, 2)
    return float(curve.centers[at] + (np.clip(-slope / (2 * bend), -reach, reach) if bend > 0 else 0.0))


def _mean(curves: list[Floats]) -> Floats:
    return np.mean([values / values.max() for values in curves], axis=0)


def _steps(low: float, high: float, factor: int) -> Floats:
    return np.arange(low, high + factor / 2, float(factor))


def _binning(columns: int) -> int:
    return max(1, columns // _COARSE_COLUMNS)


def _binned(sinogram: Singles, factor: int) -> Singles:
    """Return a sinogram with the means of so many columns; what is left over at the end is dropped."""
    projections, columns = sinogram.shape
    kept = columns // factor
    return sinogram[:, : kept * factor].reshape(projections, kept, factor).mean(axis=2)


def _of_binned(centers: Floats, factor: int) -> Floats:
    return (centers - (factor - 1) / 2) / factor
