"""Raw scans in: the chunked copy, exact histograms, the pyramid for registration, and what makes a scan unusable.

Each state's scan is walked once, a slab of slices at a time. All sums and counts here are whole
numbers (or, for real voxels, float64 sums within one cube in one fixed order), and slabs start at
multiples of the largest pyramid factor: that is why nothing depends on how thick the slabs are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import lcm
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from crackdask.blocks.passes import Block, Pass, Result, Tables, Tally
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels import raw_reductions as kernels
from crackdask.sources import SourceError
from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume
from crackdask.steps.histograms import Extremes, Histogram, as_voxel, extremes, histogram, two_passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 2**20
#: Of a voxel: that of float32, which is what the pyramid holds.
LARGEST_VALUE = float(np.finfo(np.float32).max)


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
    value, has_fill = as_voxel(fill, slab.dtype)
    if has_fill:
        kernels.mean_valid(slab, factor, value, whole, means)
    elif whole:
        kernels.mean_whole(slab, factor, means)
    else:
        kernels.mean_real(slab, factor, means)
    return means


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


def refuse_immeasurable(slab: NDArray[Any], scan: str, fill: float | None = None) -> None:
    """Raise if a slab holds numbers so large that sums and squares of them would be none."""
    if slab.dtype != np.float64:
        return
    values = slab if fill is None else slab[slab != fill]
    low, high = np.fmin.reduce(values, axis=None, initial=0.0), np.fmax.reduce(values, axis=None, initial=0.0)
    largest = float(max(-low, high))
    if largest > LARGEST_VALUE:
        raise SourceError(
            f"{scan}: found voxels as large as {largest:.3g}, beyond {LARGEST_VALUE:.3g}, the largest that can be "
            "measured; divide the scan by a constant"
        )


def refuse_constant(counted: Extremes | Histogram, scan: str) -> None:
    """Raise if all voxels of a scan are the same, or all are the fill value."""
    if isinstance(counted, Extremes):
        low, high = counted.low, counted.high
    elif counted.voxels == 0:
        low, high = np.inf, -np.inf
    elif counted.below or counted.above:
        return
    else:
        low, high = counted.centres[np.flatnonzero(counted.counts)[[0, -1]]]
    if low > high:
        raise SourceError(f"{scan}: every voxel is the fill value; was the scan recorded? If not, leave the state out")
    if low == high:
        raise SourceError(
            f"{scan}: every voxel is {low:g}, wanted an image; was the scan recorded? If not, leave the state out"
        )


# ---------------------------------------------------------------- slices that were not scanned

#: Of every how many rows of a slice one is looked at: noise makes any two slices differ in each.
_ROWS = 16


def slice_marks(slab: NDArray[Any], first_row: int) -> NDArray[np.int64]:
    """Return a checksum for each slice of a slab, (slice,), below 0 where it is all one value; (0,) without rows.

    `first_row` is where the slab begins in its slices, for the rows that are looked at are the same however it is cut.

    >>> slice_marks(np.array([[[1, 2]], [[1, 2]], [[2, 2]]], np.uint8), 0).tolist()
    [3066839698, 3066839698, -335453946]
    """
    rows = np.ascontiguousarray(slab[:, -first_row % _ROWS :: _ROWS])
    if not rows.size:
        return np.empty(0, np.int64)
    marks = [crc32(image.data) for image in rows]
    firsts = rows[:, :1, :1]
    alike = ((rows == firsts) | (rows != rows) & (firsts != firsts)).all(axis=(1, 2))  # NaN is like NaN
    return np.array(
        [_mark_of(float(image.flat[0])) if same else mark for mark, image, same in zip(marks, rows, alike, strict=True)]
    )


def _mark_of(value: float) -> int:
    """Return the mark of a slice that is all this value."""
    return -1 - crc32(np.float64(value if value == value else np.nan).tobytes())


def odd_slices(marks: Sequence[tuple[int, ...]], fill: float | None) -> list[int]:
    """Return which slices are blank or the same as the one before; each has the marks of its parts.

    >>> zero, one = (_mark_of(value) for value in (0.0, 1.0))
    >>> odd_slices([(one, one), (zero, zero), (zero, zero), (7, 8), (7, 8), (7, 9), (zero, one)], 0)
    [0, 4]
    """
    outside = None if fill is None else _mark_of(fill)
    found = []
    for z, own in enumerate(marks):
        if not own or set(own) == {outside}:
            continue
        if (len(set(own)) == 1 and own[0] < 0) or (z and own == marks[z - 1]):
            found.append(z)
    return found


# ---------------------------------------------------------------- the step


def slabs(shape: Triple, itemsize: int, chunk: Triple, budget: int) -> Grid:
    """Return the slabs in which a scan is walked: whole slices, cut along y where they exceed `budget` bytes.

    Slabs begin at multiples of the chunks and of the largest pyramid factor.

    >>> slabs((100, 512, 512), 2, (32, 64, 64), 2**25).block
    (32, 512, 512)
    """
    factor = max(levels(shape))
    z, y = lcm(chunk[0], factor), lcm(chunk[1], factor)
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
    factors, (value, has_fill) = levels(shape), as_voxel(fill, dtype)
    pyramid = tuple(f"level_{factor}" for factor in factors)
    native = dtype.newbyteorder("=").str
    exact = not two_passes(dtype)
    first = Pass(
        name="read",
        kernel=partial(_ingest, scan, factors, fill, crop, exact),
        reads={"source": 0},
        writes={"raw": native},
        makes=(*pyramid, *(_HISTOGRAM if exact else _EXTREMES), ODD_SLICES),
        reduce=partial(_gather, scan, factors, exact, crop, value if has_fill else None),
        scratch=6 * dtype.itemsize,
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


#: The table of slices that are blank or the same as the one before.
ODD_SLICES = "odd_slices"
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
    refuse_immeasurable(slab, scan, fill)
    tally = {f"level_{factor}": reduce_mean(slab, factor, fill) for factor in factors}
    tally["slices"] = slice_marks(slab, box.start[1])
    counted = _cropped(slab, box, crop)
    if exact:
        counts: Histogram | Extremes = histogram(counted, fill=fill)
    else:
        counts = extremes(counted, fill)
    prefix = "histogram_" if exact else "extremes_"
    return Result({"raw": slab}, tally | {prefix + name: values for name, values in counts.arrays().items()})


def _bin(fill: float | None, crop: Box, block: Block) -> Result:
    ends = _extremes_of({name: block.table(name) for name in _EXTREMES})
    raw = block.read("raw")
    counted = histogram(_cropped(raw, block.grid.box(block.number), crop), ends.bins(), fill)
    return Result(tally={f"histogram_{name}": values for name, values in counted.arrays().items()})


def _cropped(slab: NDArray[Any], box: Box, crop: Box) -> NDArray[Any]:
    common = box.intersect(crop)
    return slab[common.within(box)] if common else slab[:0]


def _gather(
    scan: str,
    factors: tuple[int, ...],
    exact: bool,
    crop: Box,
    fill: float | None,
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    """Put the pyramid together and add up the counts."""
    first = tallies[0]
    pyramid = {f"level_{f}": np.zeros([-(-n // f) for n in grid.shape], first[f"level_{f}"].dtype) for f in factors}
    counts: Histogram | Extremes | None = None
    marks: list[tuple[int, ...]] = [()] * grid.shape[0]
    for number, tally in enumerate(tallies):
        start = grid.box(number).start
        for z, mark in enumerate(np.asarray(tally.get("slices", ())).tolist(), start[0]):  # none of versions before
            marks[z] = (*marks[z], mark)
        for f in factors:
            part = tally[f"level_{f}"]
            at = tuple(slice(a // f, a // f + n) for a, n in zip(start, part.shape, strict=True))
            pyramid[f"level_{f}"][at] = part
        own = histogram_of(tally) if exact else _extremes_of(tally)
        counts = own if counts is None else counts.merge(own)  # type: ignore[arg-type]
    if counts is None:
        raise ValueError(f"{scan}: no slab was counted")
    refuse_constant(counts, scan)
    prefix = "histogram_" if exact else "extremes_"
    first_z, end_z = crop.start[0], min(crop.stop[0], grid.shape[0])
    odd = np.array(odd_slices(marks[first_z:end_z], fill), np.int64) + first_z
    return pyramid | {prefix + name: values for name, values in counts.arrays().items()} | {ODD_SLICES: odd}


def _merged_histogram(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    counts = histogram_of(tallies[0])
    for number in range(1, len(tallies)):
        counts = counts.merge(histogram_of(tallies[number]))
    return {f"histogram_{name}": values for name, values in counts.arrays().items()}


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes("", setting.dtype, setting.scan, setting.fill, Box.whole(setting.scan))


STEP = Step(
    name="read",
    stage=Stage.SCANS,
    facts=("fill", "crop"),
    opened=("source",),
    needs=(("reconstruct", Of.ITSELF),),
    reads=(("tomogram", Of.ITSELF),),
    writes={"raw": Volume(dtype=None, shaped="scan")},
    passes=_planned,
    walks="slabs",
    seconds_per_megavoxel=0.01,
)
