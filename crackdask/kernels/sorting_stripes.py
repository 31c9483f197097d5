"""Stripes of sinograms, the paper's way (Vo, Atwood and Drakopoulos 2018): dead, large, and what sorting shows.

A column of a detector that answers differently from its neighbours is a stripe in each sinogram and a ring in each
slice. Neighbours see almost the same set of values, so in a sinogram whose columns are sorted the stripes stand out
against a median along each row. The functions give what those of the authors' program (algotom) give, but for rounding,
and for what theirs leave open: equal values keep their order, and noise-free data have no stripe to be found.

Within, a sinogram is held column by column, so that what runs along projections runs through memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Mask, Singles
from crackdask.kernels.column_sorting import sorted_rows, transposed, unsorted_columns
from crackdask.kernels.compiling import compiled
from crackdask.kernels.running_median import running_median
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import ndimage
else:  # which every command would wait for
    ndimage = Later("scipy.ndimage")

RATIO = 3.0  # by how much more than noise a column differs
LARGE_WINDOW = 51
SMALL_WINDOW = 21
DROPPED = 0.1  # of the smallest and largest values together, which say nothing of a stripe
_SMOOTH = 10
_FLAT = 1e-5


def without_all_stripes(sinogram: Singles) -> Singles:
    """Return a sinogram (projection, column) without dead, large and small stripes (algorithms 6, 5, 4 and 3)."""
    columns = transposed(np.ascontiguousarray(sinogram, np.float32))
    _mend_dead(columns, RATIO, LARGE_WINDOW)
    values, order = sorted_rows(columns)
    smooth = running_median(values, LARGE_WINDOW)
    factors, large = _large(values, smooth, RATIO, DROPPED)
    for column in np.flatnonzero((factors < 0) & ~large):  # nothing but noise, and its order turns round
        values[column], order[column] = values[column, ::-1].copy(), order[column, ::-1].copy()
    _divide(values, factors)
    values[large] = smooth[large]
    return unsorted_columns(running_median(values, SMALL_WINDOW), order)


def without_sorted_stripes(sinogram: Singles, size: int = SMALL_WINDOW) -> Singles:
    """Return a sinogram without small stripes (algorithm 3): a median of so many columns, between sorted columns."""
    values, order = sorted_rows(transposed(np.ascontiguousarray(sinogram, np.float32)))
    return unsorted_columns(running_median(values, size), order)


def without_large_stripes(sinogram: Singles, ratio: float = RATIO, size: int = LARGE_WINDOW) -> Singles:
    """Return a sinogram without large stripes (algorithms 4 and 5).

    Each column is divided by its mean against that of its neighbours; one that differs by more than `ratio` times the
    noise is replaced.
    """
    columns = transposed(np.ascontiguousarray(sinogram, np.float32))
    values, order = sorted_rows(columns)
    smooth = running_median(values, size)
    factors, large = _large(values, smooth, ratio, DROPPED)
    _divide(columns, factors)
    columns[large] = transposed(unsorted_columns(smooth, order))[large]
    return transposed(columns)


def without_dead_stripes(sinogram: Singles, ratio: float = RATIO, size: int = LARGE_WINDOW) -> Singles:
    """Return a sinogram in which columns that fluctuate, or do not answer, are interpolated (algorithm 6)."""
    columns = transposed(np.ascontiguousarray(sinogram, np.float32))
    _mend_dead(columns, ratio, size)
    return transposed(columns)


def _large(values: Singles, smooth: Singles, ratio: float, dropped: float) -> tuple[Singles, Mask]:
    """Return the mean of each sorted column against that of its neighbours, and where it is a stripe."""
    edge = int(0.5 * dropped * values.shape[1])
    own, near = (_means(part, edge, values.shape[1] - edge) for part in (values, smooth))
    factors = np.divide(own, near, out=np.ones_like(own), where=(near != 0) & (own != 0)).astype(np.float32)
    return factors, _stripes(factors.astype(np.float64), ratio)


def _stripes(measure: Floats, ratio: float) -> Mask:
    """Return where a measure of the columns stands out from its own noise, with the neighbours (algorithm 4).

    The noise is the rise of a line through the middle half of the sorted values, from end to end.
    """
    found = np.zeros(len(measure), bool)
    ordered, at = np.sort(measure), np.arange(float(len(measure)))
    edge = len(measure) // 4
    middle = slice(edge, len(measure) - edge - 1)
    x, y = at[middle], ordered[middle]
    if x.size < 2:
        return found
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    low = y.mean() - slope * x.mean()
    high = low + slope * at[-1]
    noise = abs(high - low)
    if noise < _FLAT:
        return found
    if abs(ordered[-1] - high) >= ratio * noise:
        found |= measure > high + noise * ratio * 0.5
    if abs(low - ordered[0]) >= ratio * noise:
        found |= measure <= low - noise * ratio * 0.5
    return ndimage.binary_dilation(found)


def _mend_dead(columns: Singles, ratio: float, size: int) -> None:
    """Interpolate, in place, columns that change more or less from projection to projection than their neighbours."""
    activity = _activity(columns, _SMOOTH)
    near = running_median(activity[:, None].astype(np.float32), size)[:, 0].astype(np.float64)
    near[near == 0] = np.abs(near).mean()
    if not near.all():
        return
    dead = _stripes(activity / near, ratio)
    dead[:2] = dead[-2:] = False
    if 0 < dead.sum() < len(columns) // 3:
        interpolate_columns(columns, dead)


def interpolate_columns(columns: Singles, dead: Mask) -> None:
    """Put between sound columns, (column, projection), what lies on a line between the nearest; in place.

    Beyond the first and the last sound column that one goes on. Where none is sound, nothing is done.
    """
    sound = np.flatnonzero(~dead)
    if not sound.size:
        return
    for column in np.flatnonzero(dead):
        after = min(int(np.searchsorted(sound, column)), sound.size - 1)
        left, right = sound[max(after - 1, 0)], sound[after]
        part = np.float32(np.clip((column - left) / max(right - left, 1), 0, 1))
        columns[column] = columns[left] * (1 - part) + columns[right] * part


@compiled(error_model="numpy")
def _means(values: Singles, first: int, last: int) -> Floats:
    """Return the mean of each row between two places."""
    out = np.empty(values.shape[0])
    for row in range(values.shape[0]):
        total = 0.0
        for i in range(first, last):
            total += values[row, i]
        out[row] = total / (last - first)
    return out


@compiled(error_model="numpy")
def _divide(values: Singles, factors: Singles) -> None:
    for row in range(values.shape[0]):
        for i in range(values.shape[1]):
            values[row, i] = values[row, i] / factors[row]


@compiled(error_model="numpy")
def _activity(columns: Singles, size: int) -> Floats:
    """Return the sum of each column's differences from its own running mean, mirrored at its ends, in size."""
    rows, count = columns.shape
    out = np.empty(rows)
    for row in range(rows):
        column = columns[row]
        total, before = 0.0, size // 2
        for k in range(-before, size - before):
            total += column[_mirrored(k, count)]
        far = 0.0
        for i in range(count):
            far += abs(column[i] - np.float32(total / size))
            total += np.float64(column[_mirrored(i + size - before, count)]) - column[_mirrored(i - before, count)]
        out[row] = far
    return out


@compiled(error_model="numpy", apart=True)
def _mirrored(place: int, count: int) -> int:
    place = place % (2 * count)
    return place if place < count else 2 * count - 1 - place
