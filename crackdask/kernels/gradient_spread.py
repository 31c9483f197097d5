"""How evenly the edges of a slice are spread: least about the true axis of rotation, whatever lies around the sample.

About a wrong axis each edge of the sample becomes two faint arcs. Half a turn of projections fills the spectrum of a
slice once, and a wrong axis turns its phases alone. So the energy of a slice, or of its gradient, stays what it was
(Parseval), and only what is not a square tells the axis: here the square of the mean root of the gradient's size over
the mean of that size, which is 1 where all voxels have the same gradient and small where few have it all. Both are of
the first power, so a single strong edge, as of a holder or a can, does not rule. Levels do not count, so it works in a
sample that is wider than the detector or embedded in more of its own; less negative attenuation tells the axis only
where air lies around the sample.
"""

from __future__ import annotations

import math

import numpy as np

from crackdask.arrays import Singles
from crackdask.kernels.compiling import compiled


def gradient_spread(image: Singles, reach: float) -> float:
    """Return (mean of the root of |gradient|)^2 / mean of |gradient|, 0 to 1; 1 where the image is constant.

    Parameters
    ----------
    image
        (y, x), smooth over some voxels, so that noise is not all there is. Central differences are taken.
    reach
        Radius in voxels about the image's middle within which voxels count, those at the border left out.

    Raises
    ------
    ValueError
        Where no voxel is within reach.
    """
    count, roots, sizes = _sums(np.ascontiguousarray(image, np.float32), reach)
    if not count:
        raise ValueError(
            f"no voxel of an image of {image.shape} lies within {reach:g} of its middle and off its border"
        )
    return roots * roots / (count * sizes) if sizes > 0 else 1.0


@compiled
def _sums(image: Singles, reach: float) -> tuple[int, float, float]:
    """Return the voxels within reach, and the sums of the root and of the size of the gradient, row by row."""
    ny, nx = image.shape
    count, roots, sizes = 0, 0.0, 0.0
    for y in range(1, ny - 1):
        dy = y - (ny - 1) / 2
        for x in range(1, nx - 1):
            dx = x - (nx - 1) / 2
            if dy * dy + dx * dx >= reach * reach:
                continue
            along = np.float64(image[y, x + 1]) - np.float64(image[y, x - 1])
            down = np.float64(image[y + 1, x]) - np.float64(image[y - 1, x])
            size = math.sqrt(along * along + down * down)
            count += 1
            roots += math.sqrt(size)
            sizes += size
    return count, roots, sizes
