"""Stripes of sinograms, gently: dead and fluctuating columns are interpolated, then each column gets one constant.

A slice of packed particles has edges everywhere, and what takes stripes away by sorting (`sorting_stripes`) takes some
of them along. A column that answers by a few percent too much or too little is off by one constant once the logarithm
is taken, and the mean over all projections shows it: particles average out, the column's own gain does not. So the mean
of each column, less the median of it and its neighbours, is subtracted, and nothing else is touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Floats, Mask, Singles
from crackdask.kernels.column_sorting import transposed
from crackdask.kernels.compiling import compiled
from crackdask.kernels.running_median import running_median
from crackdask.kernels.sorting_stripes import interpolate_columns

#: Columns whose median a mean, or an activity, is held against. The median keeps edges, the sample's own among them.
MEAN_WINDOW = 5
ACTIVITY_WINDOW = 11
#: A column fluctuates that changes so many times as much as its neighbours from one projection to the next, and is
#: stuck that changes by so small a part of it.
FLUCTUATING = 2.5
STUCK = 0.2
#: Where neighbours change less than this part of the mean, there is nothing for a stuck column to miss.
_QUIET = 0.1


@dataclass(frozen=True)
class Columns:
    """What was found in one sinogram; each is a mask of its columns."""

    fluctuating: Mask
    stuck: Mask


def deviant_columns(sinogram: Singles) -> Columns:
    """Return the columns that change much more, or much less, from projection to projection than their neighbours."""
    activity = _activity(np.ascontiguousarray(sinogram, np.float32))
    near = running_median(activity[:, None].astype(np.float32), _odd(ACTIVITY_WINDOW, len(activity)))[:, 0]
    usual = float(np.median(near))
    least = np.maximum(near, _QUIET * usual)
    return Columns(activity > FLUCTUATING * least, (near > _QUIET * usual) & (activity < STUCK * near))


def without_column_stripes(sinogram: Singles, dead: Mask | None = None) -> Singles:
    """Return a sinogram (projection, column) of attenuations without stripes of columns.

    Parameters
    ----------
    sinogram
        Of finite numbers, after the logarithm.
    dead
        Columns that are known to be without meaning; they are interpolated with those that are found.
    """
    sinogram = np.ascontiguousarray(sinogram, np.float32)
    found = deviant_columns(sinogram)
    mended = found.fluctuating | found.stuck
    if dead is not None:
        mended |= dead
    columns = transposed(sinogram)
    if 0 < mended.sum() < len(mended) // 3:
        interpolate_columns(columns, mended)
    means = _means(columns)
    usual = running_median(means[:, None].astype(np.float32), _odd(MEAN_WINDOW, len(means)))[:, 0]
    _subtract(columns, (means - usual).astype(np.float32))
    return transposed(columns)


def _odd(wanted: int, available: int) -> int:
    return min(wanted, available - 1 + available % 2)


@compiled(error_model="numpy")
def _activity(sinogram: Singles) -> Floats:
    """Return the sum of each column's changes from projection to projection, in size."""
    projections, columns = sinogram.shape
    out = np.zeros(columns)
    for p in range(1, projections):
        for c in range(columns):
            out[c] += abs(sinogram[p, c] - sinogram[p - 1, c])
    return out


@compiled(error_model="numpy")
def _means(columns: Singles) -> Floats:
    out = np.empty(columns.shape[0])
    for row in range(columns.shape[0]):
        total = 0.0
        for i in range(columns.shape[1]):
            total += columns[row, i]
        out[row] = total / columns.shape[1]
    return out


@compiled(error_model="numpy")
def _subtract(columns: Singles, constants: Singles) -> None:
    for row in range(columns.shape[0]):
        for i in range(columns.shape[1]):
            columns[row, i] -= constants[row]
