"""From counts to attenuation: darks and flats, pixels that tell nothing, zingers, and the logarithm.

Each row of the detector is worked on by itself. The logarithm is made of additions, products and one division, because
that of a library is rounded differently from one processor to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Integers, Mask, Singles
from crackdask.kernels.compiling import compiled

#: A pixel is dead that sees less of the beam than this part of what the pixels of its row see.
DEAD = 0.05
#: A column of which more than this part is saturated, or no number, is given up.
LOST = 0.5
#: What counts less than this above the dark is taken for this: half a count. A beam of no more than `FEWEST_COUNTS` is
#: that of transmissions, of which this part is taken.
LEAST_COUNTS, FEWEST_COUNTS, LEAST_TRANSMISSION = 0.5, 2.0, 1e-3


@dataclass(frozen=True)
class References:
    """Means of frames without sample, flats, and without beam, darks; (begin and end, row, column) each.

    Where there are frames of one end only, both are the same.
    """

    flats: Singles
    darks: Singles

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.flats.ndim != 3 or len(self.flats) != 2 or self.flats.shape != self.darks.shape:
            raise ValueError(
                f"flats {self.flats.shape} and darks {self.darks.shape}; both must be (2, rows, columns), "
                "for begin and end"
            )

    def rows(self, first: int, end: int) -> References:
        """Return those of some rows."""
        return References(self.flats[:, first:end], self.darks[:, first:end])


@dataclass(frozen=True)
class Flaws:
    """What was wrong with the rows: masks (row, column) of columns that were interpolated, and counts for each row."""

    dead: Mask
    stuck: Mask
    lost: Mask
    saturated: Integers
    starved: Integers
    zingers: Integers
    missing: Integers

    @property
    def columns(self) -> Mask:
        """Return all columns without meaning."""
        return self.dead | self.stuck | self.lost


def attenuations(
    counts: NDArray[Any],
    references: References,
    moments: NDArray[np.float64],
    zinger: float = 0.2,
    saturation: float = math.inf,
) -> tuple[Singles, Flaws]:
    """Return sinograms of line integrals (row, projection, column), all of them finite, and what was mended.

    Parameters
    ----------
    counts
        Raw sinograms (row, projection, column) of integers or reals; NaN is a pixel that is missing.
    references
        Flats and darks of the same rows.
    moments
        When each projection was taken, 0 at the first flats and darks and 1 at the last: references are interpolated.
    zinger
        A pixel is a hit by a stray photon if it is brighter, by this part, than in the projections before and after;
        it becomes their mean. 0 for not looking.
    saturation
        Counts from which on a pixel of the detector is full.

    Notes
    -----
    Pixels that are full or missing become what lies on a line between their neighbours in the same
    projection; so do, in all projections, columns that are dead (`DEAD`), stuck at one count, or mostly full or missing
    (`LOST`). Where no photon came through, half a count is taken, or a thousandth of a beam that is no counts.
    """
    rows, projections, columns = counts.shape
    if references.flats.shape[1:] != (rows, columns) or len(moments) != projections:
        raise ValueError(
            f"counts (row, projection, column) are {counts.shape}, but references {references.flats.shape[1:]} and "
            f"{len(moments)} moments"
        )
    dead = dead_pixels(references)
    out = np.empty(counts.shape, np.float32)
    stuck, lost = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
    tally = np.zeros((4, rows), np.int64)
    for row in range(rows):
        flats, darks = (np.ascontiguousarray(part[:, row], np.float32) for part in (references.flats, references.darks))
        full, missing = _transmission(
            counts[row], flats, darks, moments, saturation, dead[row], out[row], tally[:, row], stuck[row]
        )
        lost[row] = full + missing > LOST * projections
        bad = dead[row] | stuck[row] | lost[row]
        if zinger > 0:
            tally[2, row] = _without_zingers(out[row], bad, zinger)
        _mend(out[row], bad)
        _minus_logarithm(out[row].reshape(-1), out[row].reshape(-1).view(np.int32))
    return out, Flaws(dead, stuck & ~dead, lost & ~dead & ~stuck, tally[0], tally[1], tally[2], tally[3])


def dead_pixels(references: References) -> Mask:
    """Return the pixels (row, column) that see next to nothing of the beam."""
    beam = (references.flats - references.darks).min(axis=0)
    dead: Mask = ~(beam > DEAD * np.nanmedian(beam, axis=1, keepdims=True)) | ~(beam > 0)
    return dead


def transmitted(
    frame: NDArray[Any], references: References, dead: Mask, moment: float, saturation: float
) -> tuple[Singles, Integers]:
    """Return what of the beam came through to each pixel (row, column) of one projection; what is unknown is NaN.

    `dead` is that of `dead_pixels`. Beside it: how many pixels of each row are saturated, starved, and missing,
    (3, row).
    """
    out = np.empty(frame.shape, np.float32)
    tally = np.zeros((4, len(frame)), np.int64)
    moments, stuck = np.array([moment]), np.zeros(frame.shape[1], bool)
    for row, counts in enumerate(frame):
        flats, darks = (np.ascontiguousarray(part[:, row], np.float32) for part in (references.flats, references.darks))
        here = out[row : row + 1]
        _transmission(counts[None], flats, darks, moments, saturation, dead[row], here, tally[:, row], stuck)
    return out, tally[[0, 1, 3]]


def mended(transmission: Singles) -> Singles:
    """Return a projection of which each NaN lies on a line between its neighbours in the row, in place."""
    _mend(transmission, np.zeros(transmission.shape[1], bool))
    return transmission


@compiled(error_model="numpy")
def _transmission(
    counts: NDArray[Any],
    flats: Singles,
    darks: Singles,
    moments: NDArray[np.float64],
    saturation: float,
    dead: Mask,
    out: Singles,
    tally: Integers,
    stuck: Mask,
) -> tuple[Integers, Integers]:
    """Divide one row's counts by the beam; what is full or missing becomes NaN, and is counted for each column."""
    projections, columns = counts.shape
    full, missing = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    stuck[:] = projections > 1
    for p in range(projections):
        moment = np.float32(moments[p])
        for c in range(columns):
            value = np.float32(counts[p, c])
            dark = darks[0, c] + (darks[1, c] - darks[0, c]) * moment
            beam = flats[0, c] + (flats[1, c] - flats[0, c]) * moment - dark
            seen = value - dark
            if counts[p, c] != counts[0, c]:
                stuck[c] = False
            if dead[c]:
                out[p, c] = np.nan
            elif math.isnan(value):
                missing[c] += 1
                out[p, c] = np.nan
            elif value >= saturation:
                full[c] += 1
                out[p, c] = np.nan
            else:
                least = np.float32(LEAST_COUNTS) if beam > FEWEST_COUNTS else np.float32(LEAST_TRANSMISSION) * beam
                if not seen >= least:
                    tally[1] += 1
                    seen = least
                out[p, c] = seen / beam
    tally[0] += full.sum()
    tally[3] += missing.sum()
    return full, missing


@compiled(error_model="numpy")
def _without_zingers(row: Singles, bad: Mask, excess: float) -> int:
    """Replace pixels that flash in one projection; return how many."""
    projections, columns = row.shape
    found = 0
    limit = np.float32(1 + excess)
    for c in range(columns):
        if bad[c]:
            continue
        before = row[0, c]
        for p in range(1, projections - 1):
            here, after = row[p, c], row[p + 1, c]
            if here > limit * before and here > limit * after:
                row[p, c] = (before + after) * np.float32(0.5)
                found += 1
            before = here
    return found


@compiled(error_model="numpy")
def _mend(row: Singles, bad: Mask) -> None:
    """Put a line between the sound neighbours of each pixel that is bad or NaN; ones in a projection without any."""
    projections, columns = row.shape
    for p in range(projections):
        line, left = row[p], -1
        for c in range(columns + 1):
            if c < columns and (bad[c] or math.isnan(line[c])):
                continue
            if c - left > 1:
                low = line[left] if left >= 0 else (line[c] if c < columns else np.float32(1))
                high = line[c] if c < columns else low
                for k in range(left + 1, c):
                    line[k] = low + (high - low) * (np.float32(k - left) / np.float32(c - left))
            left = c


@compiled(error_model="numpy")
def _minus_logarithm(values: Singles, bits: NDArray[np.int32]) -> None:
    """Replace positive numbers by their negative natural logarithm, within 2e-7 of it or of its size.

    A number is m 2**e with m between the roots of 1/2 and of 2; log m = 2 artanh((m - 1) / (m + 1)) by its series.
    """
    root = np.int32(0x3F3504F3)
    for i in range(values.size):
        word = bits[i]
        exponent = (word - root) >> np.int32(23)
        mantissa = np.int32(word - (exponent << np.int32(23)))
        bits[i] = mantissa
        m = np.float64(values[i])
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11)))))
        values[i] = np.float32(-(2 * s * series + exponent * 0.6931471805599453))
