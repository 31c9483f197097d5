"""The rim that phase contrast brightens: shells of a state, their mantles, and the rim fitted to these."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from crackdask.analysis.shells import in_core
from crackdask.arrays import Array
from crackdask.kernels.crack_skeleton import rim_shape
from crackdask.kernels.smooth_curve import MAD

if TYPE_CHECKING:
    import xarray as xr

_FIRST = 3  # the blur of the edge darkens the shells before
_SPREADS = np.arange(1.0, 3.51, 0.25)
_FEWEST = 20  # shells of particles that a rim is fitted to
_MOST = 20_000  # particles that a rim is fitted to
_ROUNDS = 10


@dataclass(frozen=True)
class Rim:
    """How much brighter the solid is near a particle's surface: phase contrast.

    Attributes
    ----------
    height
        Grey levels; below 0 where the edge is darker.
    spread
        Of the Gaussian that it falls off with, in smallest voxel edges.
    """

    height: float
    spread: float

    def excess(self, shells: int, radius: Array) -> Array:
        """Return the grey levels above those of deep solid, (particle, shell from 0)."""
        return self.height * rim_shape(shells, radius, self.spread)


@dataclass(frozen=True)
class ShellSums:
    """The shells of one state: (particle, shell from 0), where shell 0 is empty.

    Attributes
    ----------
    voxels, grey_sum
        Their number, and the sum of their grey levels.
    radius
        Of the sphere of the particle's volume, in smallest voxel edges.
    """

    voxels: Array
    grey_sum: Array
    radius: Array

    @property
    def deepest(self) -> Array:
        """The deepest shell of each particle."""
        return np.asarray(np.where(self.voxels > 0, np.arange(self.voxels.shape[1]), 0).max(axis=1, initial=0))

    @property
    def core(self) -> Array:
        """Where the shell belongs to the core."""
        shell = np.arange(self.voxels.shape[1])
        return np.asarray(in_core(shell, self.deepest[:, None]) & (self.voxels > 0))

    @property
    def mantle(self) -> Array:
        """Where the shell is neither of the core nor dark by blur."""
        shell = np.arange(self.voxels.shape[1])
        return np.asarray(~self.core & (self.voxels > 0) & (shell >= _FIRST))


def shell_sums(shells: xr.Dataset, state: int, voxel_um3: float, edge_um: float) -> ShellSums:
    """Return the shells of one state of the table `shells`; `edge_um` is the smallest edge of a voxel."""
    here = shells.isel(state=state)
    voxels, grey_sum = (
        np.pad(here[name].values.astype(np.float64), ((0, 0), (1, 0))) for name in ("voxels", "grey_sum")
    )
    return ShellSums(voxels, grey_sum, np.cbrt(voxels.sum(axis=1) * (voxel_um3 * 3 / 4 / pi)) / edge_um)


def fit_rim(sums: ShellSums, fair: Array) -> Rim:
    """Fit the rim to the mantles: grey = solid + height * shape, robustly; the spread by trial.

    `fair` are the rows of the particles that it is learned from.
    """
    some = fair[:: max(1, -(-fair.size // _MOST))]
    voxels, radius = sums.voxels[some], sums.radius[some]
    row, shell = np.nonzero(sums.mantle[some])
    if row.size < _FEWEST or np.unique(shell).size < 2:
        return Rim(0.0, float(_SPREADS[0]))
    weight = voxels[row, shell]
    mean = sums.grey_sum[some][row, shell] / weight
    best, least = Rim(0.0, float(_SPREADS[0])), np.inf
    for spread in _SPREADS:
        shape = rim_shape(voxels.shape[1], radius, float(spread))[row, shell]
        height, loss = _line(shape, mean, weight)
        if loss < least:
            best, least = Rim(height, float(spread)), loss
    return best


def _line(x: Array, y: Array, weight: Array) -> tuple[float, float]:
    """Return the slope of a robust line through weighted points (bisquare), and the sum of absolute residuals."""
    trust = weight
    slope = level = 0.0
    for _ in range(_ROUNDS):
        total = trust.sum()
        middle, height = (trust * x).sum() / total, (trust * y).sum() / total
        width = (trust * (x - middle) ** 2).sum()
        slope = float((trust * (x - middle) * (y - height)).sum() / width) if width > 0 else 0.0
        level = float(height - slope * middle)
        residual = (y - level - slope * x) * np.sqrt(weight)
        scale = 4.685 * MAD * float(np.median(np.abs(residual)))
        if scale == 0:
            break
        trust = np.clip(1 - (residual / scale) ** 2, 0, None) ** 2 * weight
    return slope, float(np.abs(residual).sum())
