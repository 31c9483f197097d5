"""How well half a turn of projections and their mirror images make one whole turn, for a given axis.

Two measures. One looks at the whole half turn (Vo et al. 2014), cannot be misled by a few bad projections, and is right
to about a column. The other looks at the one direction that both ends of the half turn see, and is right to a tenth.

Over a whole turn a point of the sample draws a sine, and a sample within the detector cannot change faster with the
angle than its edge does. So part of the sinogram's spectrum, two wedges about the axis of angles, is empty. The second
half turn is the first one mirrored about the axis of rotation; about a wrong one it makes a break, which fills the
wedges.

A holder that crosses the beam is outside the detector for most of the turn, and fills them too. It is the darkest there
is, so attenuations are cut off at a level that most of the sinogram is below; that changes a point alike from both
sides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Mask, Singles
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft, ndimage
else:  # which every command would wait for
    fft = Later("scipy.fft")
    ndimage = Later("scipy.ndimage")

MOST_PROJECTIONS = 900  # of the half turn; more tell nothing more
_REACH = 0.5  # radius of the sample over the detector's width
_CUT = 75  # percentile
_DROPPED = 20  # lowest frequencies along the angle, which say nothing of breaks
_FINE, _COARSE = 1.0, 6.0  # columns: what two views share lies between noise and slow changes of the beam
_SAME = 1e-6  # degrees
_MOVING, _BESIDE = 6.0, 5  # times the median change from one projection to the next; columns


def half_turn(degrees: Floats) -> np.ndarray:
    """Return the projections that lie evenly over 180 degrees from the first angle on.

    Raises
    ------
    ValueError
        Where the angles leave more than two steps of the half turn out.
    """
    first = float(np.min(degrees))
    order = np.argsort(degrees, kind="stable")
    ordered = np.asarray(degrees, np.float64)[order]
    count = min(MOST_PROJECTIONS, max(2, int(np.count_nonzero(ordered < first + 180))))
    wanted = first + np.arange(count) * (180 / count)
    after = np.clip(np.searchsorted(ordered, wanted), 1, ordered.size - 1)
    nearest = after - (wanted - ordered[after - 1] < ordered[after] - wanted)
    worst = float(np.abs(ordered[nearest] - wanted).max())
    if worst > 2 * 180 / count:
        raise ValueError(
            f"the angles {ordered[0]:g} to {ordered[-1]:g} degrees do not cover half a turn: the next projection is "
            f"{worst:.3g} degrees off"
        )
    return order[nearest]


def mismatch(sinogram: Singles, centers: Floats) -> Floats:
    """Return, for each axis, how much lies in the wedges that are empty if it is the true one.

    Parameters
    ----------
    sinogram
        Attenuations over half a turn, (projection, column), in even steps.
    centers
        Columns; each is rounded to a whole or half column, so that nothing is interpolated.
    """
    cut = np.minimum(np.asarray(sinogram, np.float32), np.float32(np.percentile(sinogram, _CUT)))
    smooth = ndimage.gaussian_filter(cut, (3, 1), mode="reflect")
    rows, columns = smooth.shape
    wedges = _wedges(2 * rows, columns)
    mirrored, fill = smooth[:, ::-1], smooth[::-1]
    out = np.empty(len(centers))
    for k, center in enumerate(centers):
        shift = round(2 * (float(center) - (columns - 1) / 2))
        second = np.roll(mirrored, shift, axis=1)
        beyond = slice(0, shift) if shift >= 0 else slice(shift, None)
        second[:, beyond] = fill[:, beyond]
        spectrum = fft.rfft2(np.concatenate([smooth, second]))
        out[k] = (np.abs(spectrum) * wedges).sum(dtype=np.float64)
    return out / wedges.size


def likeness(sinogram: Singles, degrees: Floats, centers: Floats) -> Floats:
    """Return, for each axis, the correlation of the first view with its opposite one, mirrored about the axis.

    Both are smoothed by a column, and what changes slowly along them is taken away. Only columns that both see count,
    those near the ends left out, where a sample that goes on makes a step of its own, and those left out that change
    much to the next projection: what stands far from the axis, as a holder, is elsewhere half a step later. A view of
    exactly half a turn later is taken as it is, or from its two neighbours. Where all projections end before it, as
    those of a half-open turn do, both ends are carried on to the middle of what is missing.

    Parameters
    ----------
    sinogram
        Attenuations, (projection, column), of half a turn or more.
    degrees
        Angle of each projection.
    centers
        Columns; each is rounded to a whole or half column, so that nothing is interpolated.

    Returns
    -------
    Floats
        -1 to 1; 0 where there is nothing to compare.
    """
    (first, still), (second, also) = _ends(np.asarray(sinogram, np.float64), np.asarray(degrees, np.float64))
    columns, out = first.size, np.zeros(len(centers))
    margin = min(round(2 * _COARSE), columns // 8)
    still[:margin] = still[columns - margin :] = also[:margin] = also[columns - margin :] = False
    for k, center in enumerate(centers):
        fold = round(2 * float(center))
        at = np.arange(max(0, fold - columns + 1), min(columns - 1, fold) + 1)
        at = at[still[at] & also[fold - at]]
        if at.size:
            one, other = first[at] - first[at].mean(), second[fold - at] - second[fold - at].mean()
            energy = float((one * one).sum() * (other * other).sum())
            out[k] = float((one * other).sum()) / math.sqrt(energy) if energy > 0 else 0.0
    return out


def _ends(sinogram: Floats, degrees: Floats) -> tuple[tuple[Floats, Mask], tuple[Floats, Mask]]:
    """Return two views of one direction, half a turn apart, and which of their columns change little to the next."""
    order = np.argsort(degrees, kind="stable")
    angles = degrees[order]
    opposite = angles[0] + 180
    last = int(np.searchsorted(angles, opposite + _SAME)) - 1
    missing = max(0.0, opposite - angles[last]) if last + 1 == len(angles) else 0.0
    last = min(last, len(angles) - 2)
    some, others = slice(0, 2), slice(last, last + 2)
    first = _view(angles[some], _band(sinogram[order[some]]), angles[0] - missing / 2)
    return first, _view(angles[others], _band(sinogram[order[others]]), opposite - missing / 2)


def _band(views: Floats) -> Floats:
    """Return what lies between noise and slow changes of projections."""
    out: Floats = ndimage.gaussian_filter1d(views, _FINE, axis=1) - ndimage.gaussian_filter1d(views, _COARSE, axis=1)
    return out


def _view(angles: Floats, views: Floats, at: float) -> tuple[Floats, Mask]:
    """Return what two projections tell of a third by a line, and which columns change little from one to the other."""
    change, step = views[1] - views[0], angles[1] - angles[0]
    part = (at - angles[0]) / step if step > 0 else 0.0
    size = ndimage.maximum_filter1d(np.abs(change), _BESIDE)
    return views[0] + change * part, size <= _MOVING * np.median(np.abs(change))


def _wedges(rows: int, columns: int) -> Singles:
    """Return 1 where a whole turn has nothing, in the order of a real transform."""
    v = np.abs(fft.fftfreq(rows, 1 / rows))[:, None]
    u = np.arange(columns // 2 + 1)[None]
    empty = (u <= np.ceil(v / (2 * math.pi * _REACH))) & (u > 1) & (v > min(_DROPPED, rows // 20))
    return empty.astype(np.float32)
