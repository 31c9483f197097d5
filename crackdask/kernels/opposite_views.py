"""How well half a turn of projections and their mirror images make one whole turn (Vo et al. 2014), for a given axis.

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
import scipy.fft

from crackdask.arrays import Floats, Singles
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import ndimage
else:  # which every command would wait for
    ndimage = Later("scipy.ndimage")

MOST_PROJECTIONS = 900  # of the half turn; more tell nothing more
_REACH = 0.5  # radius of the sample over the detector's width
_CUT = 75  # percentile
_DROPPED = 20  # lowest frequencies along the angle, which say nothing of breaks


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
        spectrum = scipy.fft.rfft2(np.concatenate([smooth, second]))
        out[k] = (np.abs(spectrum) * wedges).sum(dtype=np.float64)
    return out / wedges.size


def _wedges(rows: int, columns: int) -> Singles:
    """Return 1 where a whole turn has nothing, in the order of a real transform."""
    v = np.abs(scipy.fft.fftfreq(rows, 1 / rows))[:, None]
    u = np.arange(columns // 2 + 1)[None]
    empty = (u <= np.ceil(v / (2 * math.pi * _REACH))) & (u > 1) & (v > min(_DROPPED, rows // 20))
    return empty.astype(np.float32)
