"""Raw scans in: exact histograms, the pyramid for registration, and what makes a scan unusable.

Each state's scan is walked once, a slab of slices at a time. All sums and counts here are whole
numbers (or, for real voxels, float64 sums within one cube in one fixed order), and slabs start at
multiples of the largest pyramid factor: that is why nothing depends on how thick the slabs are.

Whole numbers of 8 and 16 bits are counted value by value in a single pass. For uint32 and floats a
first pass takes `extremes`, which fix the bins that the second pass counts in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.kernels import reduce as kernels
from crackdask.blocks import Block, Pass, Result, Tables, Tally
from crackdask.plan import Box, Grid, Triple
from crackdask.sources import Source, SourceError, lazy, open_source, suggest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Extremes",
    "Histogram",
    "Source",
    "SourceError",
    "extremes",
    "histogram",
    "lazy",
    "levels",
    "open_source",
    "reduce_mean",
    "refuse_constant",
    "refuse_nonfinite",
    "suggest",
    "two_passes",
]

BINS = 65536
LARGEST = 2**20


# ---------------------------------------------------------------- pyramid


def levels(shape: Triple, largest: int = LARGEST) -> tuple[int, ...]:
    """Return the pyramid factors of a volume, coarse to fine, decided by its shape alone.

    The coarse one is the least power of two that leaves at most `largest` voxels; the next has
    half the factor, so at most eight times the voxels.

    >>> levels((200, 770, 1540)), levels((100, 100, 100))
    ((8, 4), (1,))
    """
    factor = 1
    while np.prod([-(-n // factor) for n in shape], dtype=object) > largest:
        factor *= 2
    return (factor, factor // 2) if factor > 1 else (1,)


def reduce_mean(slab: NDArray[Any], factor: int, fill: float | None = None) -> NDArray[Any]:
    """Return the means over cubes of `factor`^3 voxels; cubes at the upper border may be partial.

    Whole numbers stay whole and halves round up, real numbers become float32. Voxels that equal
    `fill` do not count; a cube that has no others is `fill`.

    >>> reduce_mean(np.array([[[1, 2, 9]]], np.uint8), 2)
    array([[[2, 9]]], dtype=uint8)
    """
    whole = slab.dtype.kind in "iu"
    shape = [-(-n // factor) for n in slab.shape]
    means = np.empty(shape, slab.dtype if whole else np.float32)
    value, has_fill = _as_voxel(fill, slab.dtype)
    if has_fill:
        kernels.mean_valid(slab, factor, value, whole, means)
    elif whole:
        kernels.mean_whole(slab, factor, means)
    else:
        kernels.mean_real(slab, factor, means)
    return means


# ---------------------------------------------------------------- histograms


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
    value, has_fill = _as_voxel(fill, slab.dtype)
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
    value, has_fill = _as_voxel(fill, slab.dtype)
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


# ---------------------------------------------------------------- unusable scans


def refuse_nonfinite(slab: NDArray[Any], first: int, scan: str, fill: float | None = None) -> None:
    """Raise if a slab holds NaN or infinity, and name the slices.

    Parameters
    ----------
    slab : ndarray
        Voxels (z, y, x).
    first : int
        Number of the slab's first slice in its scan.
    scan : str
        Name of the state or scan, for the message.
    fill : float, optional
        NaN, where that marks what lies outside the scan.
    """
    if slab.dtype.kind != "f":
        return
    bad = ~np.isfinite(slab)
    if fill is not None:
        bad &= ~np.isnan(slab) if np.isnan(fill) else slab != slab.dtype.type(fill)
    slices = np.flatnonzero(bad.any(axis=(1, 2))) + first
    if slices.size:
        listed = ", ".join(str(z) for z in slices[:5]) + (", ..." if slices.size > 5 else "")
        raise SourceError(
            f"{scan}: found {int(bad.sum())} voxels that are NaN or infinite in slice"
            f"{'s' * (slices.size > 1)} {listed}, wanted finite numbers; repair the scan, or set "
            "fill = nan if NaN marks what lies outside it"
        )


def refuse_constant(found: Extremes | Histogram, scan: str) -> None:
    """Raise if all voxels of a scan are the same, or all are the fill value."""
    if isinstance(found, Extremes):
        low, high = found.low, found.high
    elif found.voxels == 0:
        low, high = np.inf, -np.inf
    elif found.below or found.above:
        return
    else:
        low, high = found.centres[np.flatnonzero(found.counts)[[0, -1]]]
    if low > high:
        raise SourceError(f"{scan}: every voxel is the fill value; was the scan recorded?")
    if low == high:
        raise SourceError(f"{scan}: every voxel is {low:g}, wanted an image; was the scan recorded?")


def _as_voxel(fill: float | None, dtype: np.dtype[Any]) -> tuple[float, bool]:
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


# ---------------------------------------------------------------- the step


def slabs(shape: Triple, itemsize: int, chunk: Triple, budget: int) -> Grid:
    """Return the slabs in which a scan is walked: whole slices, cut along y where they exceed `budget` bytes.

    Slabs begin at multiples of the chunks and of the largest pyramid factor.

    >>> slabs((100, 512, 512), 2, (32, 64, 64), 2**25).block
    (32, 512, 512)
    """
    factor = max(levels(shape))
    unit = [-(-max(c, factor) // factor) * factor for c in chunk]
    z, y = lcm(chunk[0], unit[0]), lcm(chunk[1], unit[1])
    rows = max(y, budget // (z * shape[2] * itemsize) // y * y)
    return Grid(shape, (z, min(rows, -(-shape[1] // y) * y), shape[2]))


def passes(scan: str, dtype: np.dtype[Any], shape: Triple, fill: float | None, crop: Box) -> tuple[Pass, ...]:
    """Return the step as passes: `source` to `raw`, tables `level_F` and the histogram's arrays.

    Parameters
    ----------
    scan
        Name of the state, for messages.
    dtype, shape
        Of the scan.
    fill
        Raw value that marks voxels outside the measured field, or None.
    crop
        The part of the scan whose voxels are counted.
    """
    factors = levels(shape)
    made = tuple(f"level_{factor}" for factor in factors)
    native = dtype.newbyteorder("=").str
    exact = not two_passes(dtype)
    first = Pass(
        name="read",
        kernel=partial(_ingest, scan, factors, fill, crop, exact),
        reads={"source": 0},
        writes={"raw": native},
        makes=(*made, *(_HISTOGRAM if exact else _EXTREMES)),
        reduce=partial(_gather, scan, factors, exact),
        scratch=dtype.itemsize,
    )
    if exact:
        return (first,)
    second = Pass(
        name="count",
        kernel=partial(_bin, fill, crop),
        reads={"raw": 0},
        tables=_EXTREMES,
        makes=_HISTOGRAM,
        reduce=_merged_histogram,
    )
    return (first, second)


_HISTOGRAM = ("histogram_range", "histogram_voxels", "histogram_counts")
_EXTREMES = ("extremes_range", "extremes_voxels", "extremes_keys")


def histogram_of(tables: Mapping[str, NDArray[Any]]) -> Histogram:
    """Return the histogram among the step's tables."""
    return Histogram.of({name.removeprefix("histogram_"): tables[name] for name in _HISTOGRAM})


def _extremes_of(tables: Mapping[str, NDArray[Any]]) -> Extremes:
    return Extremes.of({name.removeprefix("extremes_"): np.asarray(tables[name]) for name in _EXTREMES})


def _ingest(scan: str, factors: tuple[int, ...], fill: float | None, crop: Box, exact: bool, block: Block) -> Result:
    box = block.grid.box(block.number)
    slab = block.read("source")
    refuse_nonfinite(slab, box.start[0], scan, fill)
    tally = {f"level_{factor}": reduce_mean(slab, factor, fill) for factor in factors}
    counted = _cropped(slab, box, crop)
    if exact:
        found: Histogram | Extremes = histogram(counted, fill=fill)
    else:
        found = extremes(counted, fill)
    prefix = "histogram_" if exact else "extremes_"
    return Result({"raw": slab}, tally | {prefix + name: values for name, values in found.arrays().items()})


def _bin(fill: float | None, crop: Box, block: Block) -> Result:
    found = _extremes_of({name: block.table(name) for name in _EXTREMES})
    raw = block.read("raw")
    counted = histogram(_cropped(raw, block.grid.box(block.number), crop), found.bins(), fill)
    return Result(tally={f"histogram_{name}": values for name, values in counted.arrays().items()})


def _cropped(slab: NDArray[Any], box: Box, crop: Box) -> NDArray[Any]:
    common = box.intersect(crop)
    return slab[common.within(box)] if common else slab[:0]


def _gather(
    scan: str, factors: tuple[int, ...], exact: bool, grid: Grid, tallies: Sequence[Tally], tables: Tables
) -> Tables:
    """Put the pyramid together and add up the counts."""
    first = tallies[0]
    made = {f"level_{f}": np.zeros([-(-n // f) for n in grid.shape], first[f"level_{f}"].dtype) for f in factors}
    found: Histogram | Extremes | None = None
    for number, tally in enumerate(tallies):
        start = grid.box(number).start
        for f in factors:
            part = tally[f"level_{f}"]
            at = tuple(slice(a // f, a // f + n) for a, n in zip(start, part.shape, strict=True))
            made[f"level_{f}"][at] = part
        own = histogram_of(tally) if exact else _extremes_of(tally)
        found = own if found is None else found.merge(own)  # type: ignore[arg-type]
    assert found is not None
    refuse_constant(found, scan)
    prefix = "histogram_" if exact else "extremes_"
    return made | {prefix + name: values for name, values in found.arrays().items()}


def _merged_histogram(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    found = histogram_of(tallies[0])
    for number in range(1, len(tallies)):
        found = found.merge(histogram_of(tallies[number]))
    return {f"histogram_{name}": values for name, values in found.arrays().items()}
