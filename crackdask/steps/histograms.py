"""Exact counts of voxels: extremes and histograms of any part of a scan, which add up.

All counts are whole numbers, so parts may be cut and merged in any way. Whole numbers of 8 and 16 bits are counted
value by value in a single pass. For uint32 and floats a first pass takes `extremes`, which fix the bins that the second
pass counts in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.kernels import raw_reductions as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 65536
#: Values at an end of a histogram that are looked at, the last one included, and how many times as common as any of
#: the others it must be for a pile.
_BESIDE, _PILED = 6, 3


@dataclass(frozen=True, eq=False)
class Extremes:
    """Least and largest voxel of a scan or a part of it; parts add up with `merge`.

    Attributes
    ----------
    low, high : float
        Least and largest finite voxel; infinity and minus infinity where there is none.
    nonfinite, left_out : int
        Voxels that are NaN or infinite, and voxels that equal the fill value.
    keys : ndarray of int64
        How many voxels begin with which 16 bits; `bins` finds the range of all but a few there.
    real : bool
        Whether voxels are real numbers.
    """

    low: float
    high: float
    nonfinite: int
    left_out: int
    keys: NDArray[np.int64]
    real: bool

    def merge(self, other: Extremes) -> Extremes:
        """Return the extremes of both parts."""
        return Extremes(
            min(self.low, other.low),
            max(self.high, other.high),
            self.nonfinite + other.nonfinite,
            self.left_out + other.left_out,
            self.keys + other.keys,
            self.real,
        )

    def bins(self, outside: float = 1e-5) -> tuple[float, float]:
        """Return the range to count in: all but at most a share `outside` at either end.

        A single hot voxel would otherwise stretch the range until all others share a bin.
        """
        total = int(self.keys.sum())
        below = np.cumsum(self.keys)
        few = int(outside * total)
        first = int(np.searchsorted(below, few, side="right"))
        last = int(np.searchsorted(below, total - few, side="left"))
        low, high = _key_range(first, self.real)[0], _key_range(last, self.real)[1]
        return float(np.fmax(low, self.low)), float(np.fmin(high, self.high))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers as arrays, to be written down."""
        return {
            "range": np.array([self.low, self.high]),
            "voxels": np.array([self.nonfinite, self.left_out, self.real], np.int64),
            "keys": self.keys,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Extremes:
        """Return what `arrays` wrote down."""
        low, high = (float(v) for v in arrays["range"])
        nonfinite, left_out, real = (int(v) for v in arrays["voxels"])
        return cls(low, high, nonfinite, left_out, arrays["keys"], bool(real))


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of voxels in equal bins; parts with the same bins add up with `merge`.

    Attributes
    ----------
    low, high : float
        The first and last value (whole numbers of 8 and 16 bits: one bin each), or the outer
        edges of the bins.
    exact : bool
        Whether a bin is a value.
    counts : ndarray of int64
        Voxels in each bin.
    below, above, left_out : int
        Voxels outside the bins, and voxels that equal the fill value (in none of the others).
    """

    low: float
    high: float
    exact: bool
    counts: NDArray[np.int64]
    below: int = 0
    above: int = 0
    left_out: int = 0

    def merge(self, other: Histogram) -> Histogram:
        """Return the histogram of both parts."""
        mine, yours = (self.low, self.high, self.exact), (other.low, other.high, other.exact)
        if mine != yours or self.counts.size != other.counts.size:
            raise ValueError(f"histograms of different bins cannot be merged: {mine}, {yours}")
        return Histogram(
            *mine,
            self.counts + other.counts,
            self.below + other.below,
            self.above + other.above,
            self.left_out + other.left_out,
        )

    @property
    def voxels(self) -> int:
        """Number of voxels counted, without those left out."""
        return int(self.counts.sum()) + self.below + self.above

    @property
    def centres(self) -> NDArray[np.float64]:
        """Values at the middle of the bins."""
        if self.exact:
            return np.arange(self.low, self.high + 1)
        width = (self.high - self.low) / self.counts.size
        return np.asarray(self.low + (np.arange(self.counts.size) + 0.5) * width)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value; of bins the outer edges, which are theirs to the width of a bin.

        >>> Histogram(0.0, 8.0, False, np.array([0, 3, 1, 0])).ends
        (2.0, 6.0)
        """
        first, last = np.flatnonzero(self.counts)[[0, -1]]
        if self.exact:
            return float(self.centres[first]), float(self.centres[last])
        width = (self.high - self.low) / self.counts.size
        return float(self.low + first * width), float(self.low + (last + 1) * width)

    @property
    def piled(self) -> tuple[float, float]:
        """Shares of the voxels that have the least and the largest value, each 0 unless far more than values beside it.

        So it is where what lies beyond was cut off; noise leaves few voxels at the ends.

        >>> Histogram(0.0, 5.0, True, np.array([900, 10, 20, 40, 29, 1])).piled
        (0.9, 0.0)
        """
        there = self.counts[self.counts > 0]
        ends = (there[:_BESIDE], there[: -_BESIDE - 1 : -1])
        low, high = (
            float(end[0] / self.voxels) if end.size == _BESIDE and end[0] > _PILED * end[1:].max() else 0.0
            for end in ends
        )
        return low, high

    def percentile(self, q: float) -> float:
        """Return the value that q per cent of the voxels do not exceed.

        Where a bin is a value this is numpy's default (linear between neighbours in rank), and
        exact; elsewhere it is within a bin's width. Outside the bins it is their edge.
        """
        if not 0 <= q <= 100:
            raise ValueError(f"found percentile {q}, wanted 0 to 100")
        if self.voxels == 0:
            raise ValueError("a histogram without voxels has no percentiles")
        rank = (self.voxels - 1) * (q / 100)
        floor = int(rank)
        a = self._at(floor)
        b = self._at(min(floor + 1, self.voxels - 1))
        return a + (b - a) * (rank - floor)

    def _at(self, rank: int) -> float:
        """Return the value of the voxel of a rank, 0 for the least."""
        rank -= self.below
        if rank < 0:
            return self.low
        upto = np.cumsum(self.counts)
        i = int(np.searchsorted(upto, rank, side="right"))
        if i == self.counts.size:
            return self.high
        if self.exact:
            return self.low + i
        inside = (rank - (int(upto[i]) - int(self.counts[i])) + 0.5) / int(self.counts[i])
        return self.low + (i + inside) * ((self.high - self.low) / self.counts.size)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers as arrays, to be written down."""
        return {
            "range": np.array([self.low, self.high]),
            "voxels": np.array([self.below, self.above, self.left_out, self.exact], np.int64),
            "counts": self.counts,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Histogram:
        """Return what `arrays` wrote down."""
        low, high = (float(v) for v in arrays["range"])
        below, above, left_out, exact = (int(v) for v in arrays["voxels"])
        return cls(low, high, bool(exact), arrays["counts"], below, above, left_out)


def two_passes(dtype: np.dtype[Any]) -> bool:
    """Whether voxels of a type need `extremes` before they can be counted.

    >>> two_passes(np.dtype("uint16")), two_passes(np.dtype("float32"))
    (False, True)
    """
    return dtype.itemsize > 2


def extremes(slab: NDArray[Any], fill: float | None = None) -> Extremes:
    """Return least and largest voxel of a slab; voxels that equal `fill` are left out."""
    value, has_fill = as_voxel(fill, slab.dtype)
    flat = slab.reshape(-1)
    low, high, nonfinite, left_out = kernels.span(flat, value, has_fill)
    real = slab.dtype.kind == "f"
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = flat.astype(np.float32 if real else np.uint32, copy=False)
    keys = np.zeros(BINS, np.int64)
    kernels.count_keys(flat, narrow.view(np.uint32), real, value, has_fill, keys)
    return Extremes(low, high, nonfinite, left_out, keys, real)


def histogram(slab: NDArray[Any], bins: tuple[float, float] | None = None, fill: float | None = None) -> Histogram:
    """Count the voxels of a slab, without those that equal `fill`.

    `bins` is the range from `Extremes.bins` of the whole scan, for types that need two passes.

    >>> histogram(np.array([[[1, 1, 7]]], np.uint8)).percentile(50)
    1.0
    """
    value, has_fill = as_voxel(fill, slab.dtype)
    flat = slab.reshape(-1)
    if two_passes(slab.dtype):
        if bins is None or not bins[0] < bins[1]:
            raise ValueError(
                f"voxels of type {slab.dtype} are counted between two values, low < high, found "
                f"{bins}; take them from the extremes of the whole scan"
            )
        counts = np.zeros(BINS, np.int64)
        outside = kernels.count_bins(flat, *bins, value, has_fill, counts)
        return Histogram(*bins, False, counts, *outside)  # below, above, left out
    limits = np.iinfo(slab.dtype)
    counts = np.zeros(limits.max - limits.min + 1, np.int64)
    kernels.count_values(flat, -limits.min, counts)
    left_out = 0
    if has_fill:
        left_out = int(counts[int(value) - limits.min])
        counts[int(value) - limits.min] = 0
    return Histogram(float(limits.min), float(limits.max), True, counts, left_out=left_out)


def as_voxel(fill: float | None, dtype: np.dtype[Any]) -> tuple[float, bool]:
    """Return a fill value as voxels hold it, and whether any voxel can equal it."""
    if fill is None:
        return 0.0, False
    if dtype.kind == "f":
        return float(dtype.type(fill)), True
    limits = np.iinfo(dtype)
    return float(fill), bool(limits.min <= fill <= limits.max and fill == int(fill))


def _key_range(key: int, real: bool) -> tuple[float, float]:
    """Return the least and the largest value whose 32 bits begin with a key."""
    ends = np.array([key << 16, key << 16 | 0xFFFF], np.uint32)
    if not real:
        return float(ends[0]), float(ends[1])
    ends = np.where(ends >> 31, ends ^ np.uint32(0x80000000), ~ends)
    low, high = ends.astype(np.uint32).view(np.float32)
    return float(low), float(high)


def commonest(counts: NDArray[Any], first: int, end: int) -> float | None:
    """Return the commonest grey level of a histogram's part: the middle of the voxels around its highest 5 levels.

    >>> commonest(np.array([9, 1, 2, 6, 6, 2, 1, 0, 8]), 1, 8)
    3.5
    """
    part = counts[max(first, 0) : max(end, 0)].astype(float)
    if not part.any():
        return None
    smooth = np.convolve(part, np.ones(5), mode="same")[: part.size] if part.size >= 5 else part
    top = int(np.argmax(smooth))
    near = np.arange(max(0, top - 5), min(part.size, top + 6))
    return float(max(first, 0) + np.sum(part[near] * near) / part[near].sum())
