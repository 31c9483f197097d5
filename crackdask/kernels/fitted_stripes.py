"""Stripes of sinograms by fitting (Vo et al. 2018, algorithm 1), for samples that hardly change with angle.

Each column is divided by a parabola through it and multiplied by one that is smooth across the columns too. It harms
packed particles, and is here because it belongs to the paper's method; `sorting_stripes` has the parts that are used
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.kernels.column_sorting import transposed
from crackdask.kernels.compiling import compiled
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    from scipy import fft
else:  # which every command would wait for
    fft = Later("scipy.fft")


def without_fitted_stripes(sinogram: Singles, sigma: float = 10.0) -> Singles:
    """Return a sinogram (projection, column) whose columns follow their smooth neighbours.

    Parameters
    ----------
    sinogram
        Positive attenuations.
    sigma
        Width of the Gaussian window over the frequencies along a row; smaller is stronger.
    """
    projections, columns = sinogram.shape
    length = projections if projections % 2 else projections - 1
    fitted = transposed(_parabolas(transposed(np.ascontiguousarray(sinogram, np.float32)), length // 2))
    margin = min(150, int(0.1 * projections))
    along = max(10, min(60, int(0.1 * columns)))
    smooth = _smoothed(fitted, sigma, along, margin)
    smooth *= np.float32(_mean_size(fitted) / _mean_size(smooth))
    return sinogram / fitted * smooth


def _smoothed(matrix: Singles, across: float, along: float, margin: int) -> Singles:
    """Return a matrix times a Gaussian over its frequencies; rows go on with their edges, columns with their mean.

    The Gaussian's middle is half a step beside frequency zero, as in the authors' program.
    """
    wide = np.pad(matrix, ((0, 0), (margin, margin)), mode="edge")
    padded = np.pad(wide, ((margin, margin), (0, 0)), mode="mean")
    signs = [np.where(np.arange(size) % 2, np.float32(-1), np.float32(1)) for size in padded.shape]
    padded *= signs[0][:, None] * signs[1]
    spectrum = fft.fft2(padded.astype(np.complex64), overwrite_x=True)
    for axis, width in enumerate((along, across)):
        size = padded.shape[axis]
        gaussian = np.exp(-(((np.arange(size) - (size - 1) / 2) / width) ** 2) / 2).astype(np.float32)
        spectrum *= gaussian[:, None] if axis == 0 else gaussian
    back = fft.ifft2(spectrum, overwrite_x=True).real * (signs[0][:, None] * signs[1])
    rows, columns = matrix.shape
    return np.ascontiguousarray(back[margin : margin + rows, margin : margin + columns])


def _mean_size(matrix: Singles) -> float:
    return float(np.abs(matrix).mean(dtype=np.float64))


@compiled(error_model="numpy")
def _parabolas(columns: Singles, reach: int) -> Singles:
    """Return the middle of a parabola fitted to the `reach` values on both sides of each one, mirrored at the ends.

    Three running sums, of the values and of these times the first and second power of their place, are all it takes.
    """
    rows, count = columns.shape
    out = np.empty((rows, count), np.float32)
    zeroth, second, fourth = 0.0, 0.0, 0.0
    for j in range(-reach, reach + 1):
        square = float(j) * j
        zeroth, second, fourth = zeroth + 1, second + square, fourth + square * square
    scale = zeroth * fourth - second * second
    for row in range(rows):
        sums = np.zeros(3)
        for k in range(-reach, reach + 1):
            _add(sums, columns[row], k, 1.0)
        for i in range(count):
            about = sums[2] - 2 * i * sums[1] + float(i) * i * sums[0]
            out[row, i] = (fourth * sums[0] - second * about) / scale if scale else columns[row, i]
            _add(sums, columns[row], i - reach, -1.0)
            _add(sums, columns[row], i + reach + 1, 1.0)
    return out


@compiled(error_model="numpy", apart=True)
def _add(sums: Floats, column: Singles, place: int, sign: float) -> None:
    period = max(2 * (column.size - 1), 1)
    at = abs(place) % period
    value = sign * column[at if at < column.size else period - at]
    sums[0] += value
    sums[1] += value * place
    sums[2] += value * place * place
