"""The ramp filter of projections: padding, transform, and the shift that brings the axis of rotation to zero.

The filter is the transform of the ramp cut at the detector's resolution and sampled in space (Ramachandran and
Lakshminarayanan 1971; Kak and Slaney 1988, 3.3), which keeps the mean right. Projections go on with their values at the
edges to twice their width, so that a sample wider than the detector leaves no bright ring at its border.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Singles
from crackdask.kernels.compiling import compiled
from crackdask.kernels.projection_angles import cosines_and_sines
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:  # which every command would wait for
    fft = Later("scipy.fft")

Filter = Literal["ramp", "hann"]
FILTERS: tuple[Filter, ...] = ("ramp", "hann")
#: Slices that are computed side by side, so that a vector of the processor holds one value of each.
LANES = 4


def padded_length(columns: int) -> int:
    """Return the even length to which projections are padded: twice their width, and fast to transform.

    >>> padded_length(512), padded_length(2560)
    (1024, 5120)
    """
    half: int = fft.next_fast_len(max(columns, 8), real=True)
    return 2 * half


def response(length: int, kind: Filter) -> Floats:
    """Return what the filter does to each frequency, 0 to `length // 2` turns in `length` pixels.

    >>> response(1024, "ramp")[[0, 512]].round(3).tolist(), response(1024, "hann")[512].round(3).tolist()
    ([0.0, 0.5], 0.0)
    """
    if kind not in FILTERS:
        raise ValueError(f"filter is {kind!r}; one of {', '.join(map(repr, FILTERS))} is needed")
    ramp = np.zeros(length)
    ramp[0] = 0.25
    odd = np.arange(1, length // 2 + 1, 2)
    ramp[odd] = ramp[-odd] = -1 / (math.pi * odd) ** 2
    passed = fft.rfft(ramp).real
    if kind == "hann":
        passed = passed * (0.5 + 0.5 * cosines_and_sines(np.arange(passed.size) * (360.0 / length))[0])
    return passed


def shifts(length: int, centers: Floats) -> tuple[Floats, Floats]:
    """Return cosine and sine, (frequency, slice), of the turns that move each slice's axis to the origin."""
    turns = np.multiply.outer(np.arange(length // 2 + 1), np.asarray(centers, np.float64) / length)
    return cosines_and_sines(360 * (turns - np.floor(turns)))


def filtering(length: int, kind: Filter, centers: Floats) -> NDArray[np.complex64]:
    """Return the factors, (frequency, lane), that filter and centre transformed projections."""
    cosine, sine = shifts(length, centers)
    passed = response(length, kind)[:, None] / length
    return (passed * cosine + 1j * (passed * sine)).astype(np.complex64)


@compiled(error_model="numpy")
def pad(sinograms: Singles, first: int, padded: Singles) -> None:
    """Lay projections from `first` on side by side, (angle, column, lane), and let their edges go on.

    Beyond the last column comes its value, then, from the middle of the padding on, that of the first: the transform
    takes the row for a ring.
    """
    slices, _, columns = sinograms.shape
    length = padded.shape[1]
    turn = columns + (length - columns) // 2
    for angle in range(padded.shape[0]):
        out = padded[angle]
        for lane in range(slices):
            row = sinograms[lane, first + angle]
            for i in range(columns):
                out[i, lane] = row[i]
            for i in range(columns, turn):
                out[i, lane] = row[columns - 1]
            for i in range(turn, length):
                out[i, lane] = row[0]


def transformed(sinograms: Singles, first: int, padded: Singles) -> NDArray[np.complex64]:
    """Return the transforms, (angle, frequency, lane), of padded projections from `first` on.

    `padded` is room to work in; lanes without a slice stay what they are.
    """
    pad(sinograms, first, padded)
    return fft.rfft(padded, axis=1)
