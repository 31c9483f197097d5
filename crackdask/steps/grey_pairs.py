"""Grey levels of the same places in two scans: how one scan's scale lies against the reference's.

Blur and noise draw the two peaks of a histogram together, though the scale is the same. So levels are compared where
blur has nothing to mix, in cubes of 2^3 voxels whose six neighbours are as bright in both scans, and place by place:
what differs is the scale, and in some places a crack that opened, which is a tail on one side. (Peaks of histograms
were off by up to 3% of the contrast where a state was blurred by 0.7 voxel and its noise 1.5 times the reference's;
places by 0.5%.)

The boxes that are looked at are decided by the shape of the volume alone, and their counts are whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Array, Floats, Mask
from crackdask.grid import Box, Triple
from crackdask.kernels.grey_drift import Drift, of_levels
from crackdask.kernels.histogram_peaks import biweight
from crackdask.kernels.source_positions import Lattice, line_of, row_positions

Reader = Callable[[Box], Array]

#: Edge of a box that is looked at, and most of them along an axis.
EDGE, MOST = 32, 6
#: Edge of a cube, in voxels.
CUBE = 2
#: A cube is flat where it and its six neighbours differ by less than this share of the contrast; and so are, in a scan
#: whose noise alone is more, this share of the cubes.
FLAT, FLATTEST = 0.12, 0.1
#: A cube is of a phase within this share of the contrast from its level in the reference, and this one in the scan.
NEAR, FAR = 0.15, 0.2
#: Bins that differences of a phase are counted in, from -FAR - NEAR to FAR + NEAR; one more for those beyond.
BINS = 1400
#: Pairs that each phase needs, and the share of its flat cubes that must be of the same phase in the scan.
FEWEST, AGREED = 500, 0.7
#: Half widths of the two looks at differences, in their standard deviations, and what the tail of cracks does to the
#: nearer look over what it does to the farther and not to the nearer; and what is left then, as a share of the
#: contrast (0.02 to 0.5% on phantoms with every alteration).
NEARER, FARTHER, DRAWN, LEFT = 2.0, 3.0, 2.4, 0.0015
#: Where a scan is blurrier or noisier than the reference its peaks are drawn together, and the dark of cracks that
#: opened is spread so far that it is no tail any more: the solid of its places looks darker by up to this share of what
#: the peaks were drawn (phantoms: 0.09 to 0.11 of 3 to 8% of the contrast, 0 where no crack opened). And of which most.
SPREAD, MOST_DRAWN = 0.1, 0.1


@dataclass(frozen=True)
class Scale:
    """What the peaks of both histograms tell.

    Attributes
    ----------
    gain, offset
        Map the scan's raw values to the reference's, nearly.
    background, solid
        The reference's levels of its darkest and brightest phase, raw values.
    """

    gain: float
    offset: float
    background: float
    solid: float

    @property
    def contrast(self) -> float:
        """How much brighter the brightest phase is."""
        return self.solid - self.background


@dataclass(frozen=True)
class Places:
    """Two scans, and where a voxel of the store lies in both.

    Attributes
    ----------
    reference, scan
        Read the raw voxels of a box.
    start
        Voxel of the reference's scan at which the store begins.
    shifts
        By how many voxels the middle of each box, of the store, lies further in the scan (:func:`whole_shift`).
    shape
        Of the scan.
    fill
        Raw value of voxels that no scanner measured, or None.
    """

    reference: Reader
    scan: Reader
    start: Triple
    shifts: Mapping[Box, Triple]
    shape: Triple
    fill: float | None


def boxes(shape: Triple) -> tuple[Box, ...]:
    """Return the boxes of a volume that are looked at, evenly spread.

    >>> len(boxes((100, 40, 3000))), boxes((100, 40, 3000))[-1]
    (48, Box(start=(68, 8, 2968), stop=(100, 40, 3000)))
    """
    starts = []
    for n in shape:
        room = max(n - EDGE, 0)
        count = min(MOST, max(1, ceil(n / EDGE)))
        starts.append([room * i // max(1, count - 1) for i in range(count)])
    ends = [min(EDGE, n) for n in shape]
    return tuple(Box((z, y, x), (z + ends[0], y + ends[1], x + ends[2])) for z, y, x in product(*starts))


def whole_shift(box: Box, matrix: Floats, lattice: Lattice) -> Triple:
    """Return by how many whole voxels the middle of a box lies further in the scan than in the store.

    Matrix and lattice as in :mod:`crackdask.kernels.source_positions`.
    """
    z, y, x = ((a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True))
    position = np.empty((3, 1))
    row_positions(matrix, lattice, z, y, x, line_of(lattice), position)
    by = np.rint(position[:, 0] - np.array([z, y, x])).astype(int).tolist()
    return (by[0], by[1], by[2])


def pair_counts(places: Places, scale: Scale, box: Box) -> NDArray[np.int64]:
    """Return how many flat cubes of a box differ by how much between the scans, (phase, bin), background first.

    Bins are of the difference, the scan on the reference's scale less the reference. The last one holds the cubes that
    are of another phase in the scan.
    """
    counts = np.zeros((2, BINS + 1), np.int64)
    shift = places.shifts[box]
    there = _inside(box.shape, [a + b for a, b in zip(box.start, shift, strict=True)], places.shape)
    if min(there.shape) < 3 * CUBE:
        return counts
    at = tuple(a + b for a, b in zip(box.start, there.start, strict=True))
    own = _flat_means(places.scan(_box(at, shift, there.shape)), places.fill, scale.contrast / abs(scale.gain))
    other = _flat_means(places.reference(_box(at, places.start, there.shape)), places.fill, scale.contrast)
    both = own[1] & other[1]
    seen, wanted = own[0][both] * scale.gain + scale.offset, other[0][both]
    for phase, level in enumerate((scale.background, scale.solid)):
        of_phase = np.abs(wanted - level) < NEAR * scale.contrast
        same = of_phase & (np.abs(seen - level) < FAR * scale.contrast)
        share = (seen[same] - wanted[same]) / scale.contrast
        number = np.floor((share + (NEAR + FAR)) * (BINS / (2 * (NEAR + FAR)))).astype(np.int64)
        counts[phase, :BINS] = np.bincount(np.clip(number, 0, BINS - 1), minlength=BINS)
        counts[phase, BINS] = np.count_nonzero(of_phase & ~same)
    return counts


def drift_of_pairs(counts: NDArray[np.int64], scale: Scale) -> Drift | None:
    """Return how the scan's levels lie against the reference's; None where there are too few places to tell.

    Parameters
    ----------
    counts
        Sum of what :func:`pair_counts` returned.
    """
    width = 2 * (NEAR + FAR) * scale.contrast / BINS
    middles = np.array([(n + 0.5) * width - (NEAR + FAR) * scale.contrast for n in range(BINS)])
    found = []
    for beyond, differences in zip(counts[:, BINS], counts[:, :BINS], strict=True):
        pairs = int(differences.sum())
        if pairs < FEWEST or pairs < AGREED * (pairs + int(beyond)):
            return None
        found.append(_location(middles, differences, scale.contrast))
    found[1] = _without_spread(found, scale)
    own = [
        (level + off - scale.offset) / scale.gain
        for level, (off, _) in zip((scale.background, scale.solid), found, strict=True)
    ]
    return of_levels((own[0], own[1]), (scale.background, scale.solid), (found[0][1], found[1][1]))


def _without_spread(found: Sequence[tuple[float, float]], scale: Scale) -> tuple[float, float]:
    """Return where the solid's differences lie once half of what spread cracks may do is taken off, and its error."""
    (dark, _), (bright, error) = found
    drawn = min(max((bright - dark) / scale.contrast, 0.0), MOST_DRAWN)
    half = SPREAD / 2 * drawn * scale.contrast
    return bright + half, float(np.hypot(error, half))


def _location(middles: Floats, counts: NDArray[np.int64], contrast: float) -> tuple[float, float]:
    """Return where differences lie but for the tail of cracks, and its error."""
    below = np.cumsum(counts)
    low, middle, high = (float(middles[np.searchsorted(below, q * below[-1])]) for q in (0.25, 0.5, 0.75))
    width = max((high - low) / 1.349, float(middles[1] - middles[0]))
    ends = (float(middles[0]), float(middles[-1]))
    near, error = biweight(middles, counts, middle, NEARER * width, ends)
    far = biweight(middles, counts, near, FARTHER * width, ends)[0]
    left = float(np.hypot(DRAWN / 2 * (near - far), LEFT * contrast))
    return near + DRAWN * (near - far), float(np.hypot(error, left))


def _flat_means(values: Array, fill: float | None, contrast: float) -> tuple[Floats, Mask]:
    """Return the means of the cubes that have six neighbours, and which are flat."""
    cubes = [n // CUBE for n in values.shape]
    whole = values[: cubes[0] * CUBE, : cubes[1] * CUBE, : cubes[2] * CUBE].astype(np.float64)
    if fill is not None and not np.isnan(fill):
        whole[whole == fill] = np.nan
    means = whole.reshape(cubes[0], CUBE, cubes[1], CUBE, cubes[2], CUBE).sum(axis=(1, 3, 5)) / CUBE**3
    inner = means[1:-1, 1:-1, 1:-1]
    low, high = inner, inner
    for axis in range(3):
        for first in (0, 2):
            beside = means[
                tuple(slice(first, n - 2 + first) if k == axis else slice(1, -1) for k, n in enumerate(cubes))
            ]
            low, high = np.minimum(low, beside), np.maximum(high, beside)
    apart = (high - low).ravel()
    known = np.sort(apart[~np.isnan(apart)])
    if not known.size:
        return inner, np.zeros(inner.shape, bool)
    return inner, high - low < max(FLAT * contrast, float(known[int(FLATTEST * known.size)]))


def _inside(shape: Triple, start: list[int], scan: Triple) -> Box:
    """Return the part of a box that begins at `start` of a scan which lies in it, in voxels of the box."""
    low = [min(max(0, -a), n) for a, n in zip(start, shape, strict=True)]
    high = [max(b, min(n, m - a)) for a, b, n, m in zip(start, low, shape, scan, strict=True)]
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _box(at: tuple[int, ...], shift: Triple, shape: Triple) -> Box:
    start = [a + b for a, b in zip(at, shift, strict=True)]
    stop = [a + n for a, n in zip(start, shape, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
