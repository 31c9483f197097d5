"""The grey level of each particle's own solid, and how much of its core is void by partial volume.

A voxel that is partly void has a grey level in between (the partial volume effect; paper, 2.1), so the missing grey of
a whole core, over the contrast of solid to void, is its void volume, however fine the cracks are and however the scan
blurs them. Noise cancels in such a sum, as long as no voxel is left out for being bright; what is left is the error
of the solid's level. Arithmetic on the tables of a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.tables import named, reference_of, state_names, table_of
from crackdask.analysis.uncertainty import noise_and_void
from crackdask.kernels.crack_skeleton import rim_shape
from crackdask.kernels.smooth_curve import MAD
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

Array = NDArray[Any]

_BOTH = ("state", "particle")
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
class _Counts:
    """The shells of one state; voxels and sums of grey have a column for shell 0, which is empty."""

    voxels: Array
    grey: Array
    radius: Array

    @property
    def deepest(self) -> Array:
        """The deepest shell of each particle."""
        return np.asarray(np.where(self.voxels > 0, np.arange(self.voxels.shape[1]), 0).max(axis=1, initial=0))

    @property
    def core(self) -> Array:
        """Where the shell belongs to the core: deeper than half of the deepest."""
        shell = np.arange(self.voxels.shape[1])
        return np.asarray((2 * shell > self.deepest[:, None]) & (self.voxels > 0))

    @property
    def mantle(self) -> Array:
        """Where the shell is neither of the core nor dark by blur."""
        shell = np.arange(self.voxels.shape[1])
        return np.asarray(~self.core & (self.voxels > 0) & (shell >= _FIRST))


def solid(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return every particle's own solid level, and the void volume of its core by partial volume.

    The solid level of a particle in a state is the mean grey of its mantle: the shells that are neither of the core,
    where cracks form, nor the outer two, which blur darkens. Phase contrast brightens the mantle and, in small
    particles, the core; this rim is fitted to the mantles of the reference, the same for all particles but for their
    curvature, and taken off. A mantle has few voxels, so a level is drawn towards the median of all, the more so the
    less it is known against the spread between particles; a particle without a mantle has the median. The void volume
    is the sum over the core of (solid - grey) / (solid - void), which noise moves but does not bias: without cracks
    it is about 0, and may be below.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe: `reference`, `void_grey`, `noise`,
        `noise_correlation`.

    Returns
    -------
    xarray.Dataset
        (state, particle), NaN where a particle is absent or beside a region outside the scan: `solid_grey` and
        `solid_grey_error`; `core_volume_um3`; `crack_volume_partial_um3` and `crack_volume_partial_error_um3`, the
        standard error from noise; `radius`, in smallest voxel edges, and `deepest` shell. Attributes: `reference`,
        `void_grey`, `noise`, where both are from, `rim_height` and `rim_spread` (:class:`Rim`), and `analyse`.

    Raises
    ------
    AnalysisError
        If the store is not finished, has no particle, or its void is no darker (or brighter) than all solid.
    """
    params = params_of(store, parameters)
    particles, shells = table_of(store, "particles"), table_of(store, "shells")
    reference = reference_of(particles, params)
    edges = [float(edge) for edge in store.attrs["recipe"]["experiment"]["voxel_um"]]
    cell, names = float(np.prod(edges)), state_names(particles)
    fair = _fair(particles)
    found = xr.Dataset(coords={"particle": particles.particle.values[fair]}, attrs={"reference": reference})
    (noise, noise_source), (void, void_source) = noise_and_void(store, found, params)
    rim = _rim(_counts(shells, names.index(reference), cell, min(edges)), fair)
    spread = noise * sqrt(max(1.0, (2 * sqrt(pi) * params.noise_correlation) ** 3))
    rows = []
    for number in range(len(names)):
        counts = _counts(shells, number, cell, min(edges))
        level, error = _levels(counts, rim, fair, spread, store)
        rows.append(
            {
                "radius": counts.radius,
                "deepest": counts.deepest,
                **_volumes(counts, rim, level, error, spread, void, cell),
            }
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if "touches_invalid" in particles:
        outside = particles.touches_invalid.values
        columns = {name: np.where(outside, np.nan, values) for name, values in columns.items()}
    _check_void(columns["solid_grey"], void, void_source)
    made = xr.Dataset(
        {name: named(xr.DataArray(values, dims=_BOTH), *_WORDS[name]) for name, values in columns.items()},
        particles.coords,
    )
    return made.assign_attrs(
        reference=reference, void_grey=void, void_grey_source=void_source, noise=noise, noise_source=noise_source,
        rim_height=rim.height, rim_spread=rim.spread, analyse=params.model_dump_json(),
    )  # fmt: skip


_WORDS = {
    "radius": ("voxel", "radius of the sphere of the same volume, in smallest voxel edges"),
    "deepest": ("1", "deepest shell"),
    "solid_grey": ("1", "grey level of the particle's own solid"),
    "solid_grey_error": ("1", "standard error of the solid's grey level, from noise"),
    "core_volume_um3": ("um3", "volume of the core"),
    "crack_volume_partial_um3": ("um3", "void volume of the core by partial volume"),
    "crack_volume_partial_error_um3": ("um3", "standard error of the void volume by partial volume, from noise"),
}


def _fair(particles: xr.Dataset) -> Array:
    """Return the rows of the particles that levels are learned from: those tracked, or all where none is."""
    tracked = np.flatnonzero(particles.tracked.isel(state=0).values)
    return tracked if tracked.size else np.arange(particles.sizes["particle"])


def _counts(shells: xr.Dataset, state: int, cell: float, edge: float) -> _Counts:
    here = shells.isel(state=state)
    voxels, grey = (np.pad(here[name].values.astype(np.float64), ((0, 0), (1, 0))) for name in ("voxels", "grey_sum"))
    return _Counts(voxels, grey, np.cbrt(voxels.sum(axis=1) * (cell * 3 / 4 / pi)) / edge)


def _rim(counts: _Counts, fair: Array) -> Rim:
    """Fit the rim to the mantles: grey = solid + height * shape, robustly; the spread by trial."""
    some = fair[:: max(1, -(-fair.size // _MOST))]
    voxels, radius = counts.voxels[some], counts.radius[some]
    row, shell = np.nonzero(counts.mantle[some])
    if row.size < _FEWEST or np.unique(shell).size < 2:
        return Rim(0.0, float(_SPREADS[0]))
    weight = voxels[row, shell]
    mean = counts.grey[some][row, shell] / weight
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


def _levels(counts: _Counts, rim: Rim, fair: Array, noise: float, store: xr.DataTree) -> tuple[Array, Array]:
    """Return the solid level of every particle and its standard error."""
    mantle = counts.mantle
    excess = rim.excess(mantle.shape[1], counts.radius)
    size = np.where(mantle, counts.voxels, 0.0).sum(axis=1)
    missing = size == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(mantle, counts.grey - counts.voxels * excess, 0.0).sum(axis=1) / size
        error = noise / np.sqrt(size)
    known = fair[~missing[fair]]
    if not known.size:
        level = store.attrs.get("found", {}).get("solid")
        if level is None:
            raise AnalysisError(
                "no particle is large enough to have a solid level of its own: the mantle between its core and the "
                "outer two shells is empty for all"
            )
        return np.full(own.shape, float(level)), np.zeros(own.shape)
    middle = float(np.median(own[known]))
    scatter = float(np.median(np.abs(own[known] - middle))) * MAD
    between = max(0.0, scatter**2 - float(np.median(error[known] ** 2)))
    share = (
        np.where(missing, 0.0, between / (between + np.where(missing, np.inf, error) ** 2)) if between else 0.0 * own
    )
    level = np.where(missing, middle, middle + share * np.where(missing, 0.0, own - middle))
    left = np.where(missing, sqrt(between), np.sqrt(share) * np.where(missing, 0.0, error))
    return level, np.sqrt(left**2 + scatter**2 * (pi / 2) / known.size)


def _volumes(
    counts: _Counts, rim: Rim, level: Array, error: Array, noise: float, void: float, cell: float
) -> dict[str, Array]:
    core = counts.core
    size = np.where(core, counts.voxels, 0.0).sum(axis=1)
    expected = counts.voxels * (level[:, None] + rim.excess(core.shape[1], counts.radius))
    missing = np.where(core, expected - counts.grey, 0.0).sum(axis=1)
    absent = size == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        made = {
            "solid_grey": level,
            "solid_grey_error": error,
            "core_volume_um3": size * cell,
            "crack_volume_partial_um3": missing / (level - void) * cell,
            "crack_volume_partial_error_um3": np.sqrt(size * noise**2 + (size * error) ** 2)
            / np.abs(level - void)
            * cell,
        }
    return {name: np.where(absent, np.nan, values) for name, values in made.items()}


def _check_void(levels: Array, void: float, source: str) -> None:
    known = levels[np.isfinite(levels)]
    if not known.size:
        raise AnalysisError("the store has no particle, or none that lies inside the scans")
    if known.min() <= void <= known.max():
        raise AnalysisError(
            f"the grey level of a void, {void:g} ({source}), is not outside those of the particles' solid, "
            f"{known.min():.4g} to {known.max():.4g}; give void_grey"
        )
