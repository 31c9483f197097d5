"""What one row of the detector tells of the center: a measure over many centers by each of the two methods.

Rows know nothing of each other, so they can be searched beside each other; `rotation_center` settles on one center.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.blocks.passes import Array
from crackdask.kernels.gradient_spread import gradient_spread
from crackdask.kernels.gridding import gridded
from crackdask.kernels.opposite_views import half_turn, likeness, mismatch
from crackdask.kernels.ramp_filter import LANES
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import ndimage
else:  # which every command would wait for
    ndimage = Later("scipy.ndimage")

RANGE = 1 / 16  # of the detector's width, to both sides of its middle
FINE = 0.25
_FINE_REACH = 1.5
#: Columns over which projections are smoothed before a sweep; slices are then smooth by as many voxels.
_SMOOTHING = 1.5
#: Radius of what is looked at in slices, over their width: within the field, off what padding does at its border.
_FIELD = 0.48
_COARSE_COLUMNS = 640
_HALF_TURN = 180.0


@dataclass(frozen=True)
class Curve:
    """A measure over centers that is least at the true one, or that is greatest there (`likeness`)."""

    centers: Floats
    values: Floats


@dataclass(frozen=True)
class Candidates:
    """The centers at which a detector of some width is searched, between two columns."""

    columns: int
    low: float
    high: float

    @classmethod
    def of(cls, columns: int, between: tuple[float, float] | None = None) -> Candidates:
        """Return those between two columns; a sixteenth of the width to both sides of the middle unless told."""
        middle = (columns - 1) / 2
        low, high = between or (middle - RANGE * columns, middle + RANGE * columns)
        if not 0 <= low < high <= columns - 1:
            raise ValueError(
                f"centers {low:g} to {high:g} are to be searched; the detector has columns 0 to {columns - 1}"
            )
        return cls(columns, low, high)

    @property
    def binning(self) -> int:
        """Return how many columns are taken together in a first look."""
        return max(1, self.columns // _COARSE_COLUMNS)

    @property
    def coarse(self) -> Floats:
        """Return the centers of the first look."""
        return np.arange(self.low, self.high + self.binning / 2, float(self.binning))

    @property
    def halves(self) -> Floats:
        """Return whole and half columns, at which views can be laid over each other without interpolation."""
        return np.arange(np.ceil(2 * self.low), np.floor(2 * self.high) + 1) / 2


@dataclass(frozen=True)
class RowSearch:
    """What one row tells.

    Parameters
    ----------
    sweep
        The center by reconstructions.
    spreads
        Their measure at the coarse candidates.
    wedges
        The center by the wedges of opposite views; None where the angles are less than half a turn.
    mismatches, likenesses
        Measures of opposite views at the coarse and at the half candidates; none as before.
    """

    sweep: float
    spreads: Floats
    wedges: float | None
    mismatches: Floats
    likenesses: Floats

    def arrays(self) -> dict[str, Array]:
        """Return them as arrays."""
        centers = np.array([self.sweep] if self.wedges is None else [self.sweep, self.wedges])
        return {
            "found": centers, "spreads": self.spreads, "mismatches": self.mismatches, "likenesses": self.likenesses
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> RowSearch:
        """Return what was turned into arrays."""
        sweep, *wedges = arrays["found"].tolist()
        return cls(sweep, arrays["spreads"], wedges[0] if wedges else None, arrays["mismatches"], arrays["likenesses"])


def covers_half_a_turn(angles: Floats) -> bool:
    """Tell whether there are opposite views."""
    try:
        half_turn(angles)
    except ValueError:
        return False
    return True


def search_row(sinogram: Singles, angles: Floats, candidates: Candidates) -> RowSearch:
    """Return what the attenuations (projection, column) of one row tell, all projections of the scan."""
    wedges, mismatches, likenesses = None, np.empty(0), np.empty(0)
    if covers_half_a_turn(angles):
        wedges, mismatches = _wedges(sinogram[half_turn(angles)], candidates)
        likenesses = likeness(sinogram, angles, candidates.halves)
        # Over a whole turn a wrong axis makes rings of points, and edges are less faint than arcs.
        first = angles < angles.min() + _HALF_TURN
        sinogram, angles = np.ascontiguousarray(sinogram[first]), angles[first]
    sweep, spreads = _sweep(sinogram, angles, candidates)
    return RowSearch(sweep, spreads, wedges, mismatches, likenesses)


def _wedges(half: Singles, candidates: Candidates) -> tuple[float, Floats]:
    """Return the center by the wedges of half a turn, and their measure at the coarse candidates."""
    factor, centers = candidates.binning, candidates.coarse
    mismatches = mismatch(_binned(half, factor), _of_binned(centers, factor))
    return _fine_mismatch(half, float(centers[int(np.argmin(mismatches))]), factor), mismatches


def _fine_mismatch(sinogram: Singles, about: float, factor: int) -> float:
    near = np.arange(np.ceil(2 * (about - factor)) - 2, np.floor(2 * (about + factor)) + 3) / 2
    return lowest(Curve(near, mismatch(sinogram, near)), 1.5)


def _sweep(sinogram: Singles, angles: Floats, candidates: Candidates) -> tuple[float, Floats]:
    """Return the center by reconstructions, and their measure at the coarse candidates."""
    factor, centers = candidates.binning, candidates.coarse
    spreads = _spreads(_binned(sinogram, factor), angles, _of_binned(centers, factor))
    best = float(centers[int(np.argmin(spreads))])
    if factor > 1:  # the bottom between them is right to a part of a binned column; where it is not, it is moved
        best = round(lowest(Curve(centers, spreads), 1.5 * factor))
    for _ in range(2 * factor + 1):
        near = np.arange(best - _FINE_REACH, best + _FINE_REACH + FINE / 2, FINE)
        curve = Curve(near, _spreads(sinogram, angles, near))
        least = float(near[int(np.argmin(curve.values))])
        if factor == 1 or abs(least - best) <= _FINE_REACH - 1.0:
            break
        best = round(least)
    return lowest(curve, 1.0), spreads


def _spreads(sinogram: Singles, angles: Floats, centers: Floats) -> Floats:
    """Return how evenly the edges of the slice about each center are spread, in one and the same circle."""
    columns = sinogram.shape[1]
    reach = min(float(centers.min()), columns - 1 - float(centers.max()), _FIELD * columns) - 2
    # Smoothing projections smooths slices alike in all directions, and once is enough for all centers.
    smooth = ndimage.gaussian_filter1d(sinogram, _SMOOTHING, axis=1, mode="nearest")
    values = np.empty(len(centers))
    for first in range(0, len(centers), LANES):
        values[first : first + LANES] = _some_spreads(smooth, angles, centers[first : first + LANES], reach)
    return values


def _some_spreads(smooth: Singles, angles: Floats, centers: Floats, reach: float) -> list[float]:
    """Return those of a few slices, which are then let go."""
    slices = gridded(np.broadcast_to(smooth, (len(centers), *smooth.shape)), angles, centers)
    return [gradient_spread(image, reach) for image in slices]


def lowest(curve: Curve, reach: float) -> float:
    """Return the bottom of a parabola through the values about the least one; that itself at the end of a curve."""
    at = int(np.argmin(curve.values))
    near = np.abs(curve.centers - curve.centers[at]) <= reach + 1e-9
    offset = curve.centers[near] - curve.centers[at]
    if np.count_nonzero(near) < 3 or at in (0, len(curve.centers) - 1):
        return float(curve.centers[at])
    scale = float(curve.values[near].max()) or 1.0  # of noise alone, the least may be nothing
    bend, slope, _ = np.polyfit(offset, curve.values[near] / scale, 2)
    return float(curve.centers[at] + (np.clip(-slope / (2 * bend), -reach, reach) if bend > 0 else 0.0))


def _binned(sinogram: Singles, factor: int) -> Singles:
    """Return a sinogram with the means of so many columns; what is left over at the end is dropped."""
    projections, columns = sinogram.shape
    kept = columns // factor
    return sinogram[:, : kept * factor].reshape(projections, kept, factor).mean(axis=2)


def _of_binned(centers: Floats, factor: int) -> Floats:
    return (centers - (factor - 1) / 2) / factor
