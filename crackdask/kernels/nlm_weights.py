"""The weights of non-local means: from squared differences of patches to integers, in 16-bit words."""

from __future__ import annotations

from math import ceil, isqrt
from typing import NamedTuple

CUTOFF = 5  # weights are 0 from here on, in units of h**2
TOP = 4095  # largest weight: 15 of them (patch_distance 7) still add up in 16 bits
GREY = 255


class Weighting(NamedTuple):
    """How a sum S of squared differences becomes an integer weight; `>>` rounds down.

    With v the number of voxels in a patch::

        S    = sum of (min(difference**2 + 2**k // 2, 65535) >> k), at most 65535
        t    = max(cut - max(S, floor), 0) << fine
        u    = (t * scale) >> 16
        f    = (((u * u) >> 16)**2) >> 16

    k (`coarse`) is 0, and S exact, while v (2 sigma**2 + 5 h**2) is below 65536; else squares are rounded to multiples
    of 2**k, far finer than h**2.
    """

    coarse: int
    half: int
    floor: int
    cut: int
    fine: int
    scale: int

    @classmethod
    def of(cls, patch_size: int, patch_distance: int, h: float, sigma: float) -> Weighting:
        """Return the weighting for the parameters of `nlm`.

        >>> Weighting.of(3, 5, h=10.0, sigma=10.0)
        Weighting(coarse=0, half=0, floor=5400, cut=18900, fine=2, scale=39764)
        """
        floor = patch_size**3 * (2.0 * sigma * sigma)
        cut = floor + patch_size**3 * (CUTOFF * h * h)
        coarse = max(0, ceil(cut).bit_length() - 16)
        if coarse > 15:
            raise ValueError(
                f"patch_size={patch_size} with h={h} and sigma={sigma} sums squares up to "
                f"{cut:.4g}, more than {2**31 - 1}: take a smaller patch, h or sigma"
            )
        high = min(ceil(cut / 2**coarse), 2**16 - 1)
        low = min(round(floor / 2**coarse), high - 1)
        fine = 16 - (high - low).bit_length()
        width = 2 * patch_distance + 1
        top = min(TOP, (2**16 - 1) // width, (2**32 - 1) // (GREY * width**3))
        scale = min((isqrt(isqrt(top << 48)) << 16) // (high - low << fine), 2**16 - 1)
        return cls(coarse, 2**coarse // 2, low, high, fine, scale)

    @property
    def largest(self) -> int:
        """The weight of patches that are alike.

        >>> Weighting.of(3, 5, h=10.0, sigma=10.0).largest
        4094
        """
        root = ((self.cut - self.floor << self.fine) * self.scale) >> 16
        return ((root * root >> 16) ** 2) >> 16
