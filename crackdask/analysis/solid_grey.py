"""The grey level of each particle's own solid, and how much of its core is void by partial volume.

A voxel that is partly void has a grey level in between (the partial volume effect; paper, 2.1), so the missing grey of
a whole core, over the contrast of solid to void, is its void volume, however fine the cracks are and however the scan
blurs them. Noise cancels in such a sum, as long as no voxel is left out for being bright; what is left is the error
of the solid's level. Arithmetic on the tables of a store.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.phase_contrast_rim import Rim, ShellSums, fit_rim, shell_sums
from crackdask.analysis.tables import (
    named,
    reference_of,
    state_names,
    table_of,
    tracked_rows,
    voxel_edges,
    voxel_volume,
)
from crackdask.analysis.uncertainty import noise_and_void, shared_voxels
from crackdask.arrays import Array
from crackdask.kernels.smooth_curve import MAD
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

_BOTH = ("state", "particle")
_WORDS = {
    "radius": ("voxel", "radius of the sphere of the same volume, in smallest voxel edges"),
    "deepest": ("1", "deepest shell"),
    "solid_grey": ("1", "grey level of the particle's own solid"),
    "solid_grey_error": ("1", "standard error of the solid's grey level, from noise"),
    "core_volume_um3": ("um3", "volume of the core"),
    "crack_volume_partial_um3": ("um3", "void volume of the core by partial volume"),
    "crack_volume_partial_error_um3": ("um3", "standard error of the void volume by partial volume, from noise"),
}


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
        `void_grey`, `noise`, where both are from, `rim_height` and `rim_spread`
        (:class:`crackdask.analysis.phase_contrast_rim.Rim`), and `analyse`.

    Raises
    ------
    AnalysisError
        If the store is not finished, has no particle, or its void is no darker (or brighter) than all solid.
    """
    params = params_of(store, parameters)
    particles, shells = table_of(store, "particles"), table_of(store, "shells")
    reference = reference_of(particles, params)
    fair = _fair(particles)
    kept = xr.Dataset(coords={"particle": particles.particle.values[fair]}, attrs={"reference": reference})
    (noise, noise_source), (void, void_source) = noise_and_void(store, kept, params)
    voxel_um3, edge_um, names = voxel_volume(store), min(voxel_edges(store)), state_names(particles)
    rim = fit_rim(shell_sums(shells, names.index(reference), voxel_um3, edge_um), fair)
    spread = noise * sqrt(shared_voxels(params))
    rows = []
    for number in range(len(names)):
        sums = shell_sums(shells, number, voxel_um3, edge_um)
        solid_grey, error = _solid_grey(sums, rim, fair, spread, store)
        volumes = _volumes(sums, rim, solid_grey, error, spread, void, voxel_um3)
        rows.append({"radius": sums.radius, "deepest": sums.deepest, **volumes})
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if "touches_invalid" in particles:
        outside = particles.touches_invalid.values
        columns = {name: np.where(outside, np.nan, values) for name, values in columns.items()}
    _check_void(columns["solid_grey"], void, void_source)
    levels = {name: named(xr.DataArray(values, dims=_BOTH), *_WORDS[name]) for name, values in columns.items()}
    return xr.Dataset(levels, particles.coords).assign_attrs(
        reference=reference, void_grey=void, void_grey_source=void_source, noise=noise, noise_source=noise_source,
        rim_height=rim.height, rim_spread=rim.spread, analyse=params.model_dump_json(),
    )  # fmt: skip


def _fair(particles: xr.Dataset) -> Array:
    """Return the rows of the particles that levels are learned from: those tracked, or all where none is."""
    tracked = tracked_rows(particles)
    return tracked if tracked.size else np.arange(particles.sizes["particle"])


def _solid_grey(sums: ShellSums, rim: Rim, fair: Array, noise: float, store: xr.DataTree) -> tuple[Array, Array]:
    """Return the grey level of every particle's solid and its standard error."""
    mantle = sums.mantle
    excess = rim.excess(mantle.shape[1], sums.radius)
    size = np.where(mantle, sums.voxels, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(mantle, sums.grey_sum - sums.voxels * excess, 0.0).sum(axis=1) / size
        error = noise / np.sqrt(size)
    missing = size == 0
    known = fair[~missing[fair]]
    if known.size:
        return _drawn_to_the_median(own, error, missing, known)
    of_all = store.attrs.get("found", {}).get("solid")
    if of_all is None:
        raise AnalysisError(
            "no particle is large enough to have a solid level of its own: the mantle between its core and the "
            "outer two shells is empty for all"
        )
    return np.full(own.shape, float(of_all)), np.zeros(own.shape)


def _drawn_to_the_median(own: Array, error: Array, missing: Array, known: Array) -> tuple[Array, Array]:
    """Return levels that are drawn towards the median of those `known`, the more so the less they are sure."""
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
    sums: ShellSums, rim: Rim, solid_grey: Array, error: Array, noise: float, void_grey: float, voxel_um3: float
) -> dict[str, Array]:
    """Return the columns that follow from the level of the solid; NaN where there is no core."""
    core = sums.core
    size = np.where(core, sums.voxels, 0.0).sum(axis=1)
    expected = sums.voxels * (solid_grey[:, None] + rim.excess(core.shape[1], sums.radius))
    missing = np.where(core, expected - sums.grey_sum, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(size * noise**2 + (size * error) ** 2)
        columns = {
            "solid_grey": solid_grey,
            "solid_grey_error": error,
            "core_volume_um3": size * voxel_um3,
            "crack_volume_partial_um3": missing / (solid_grey - void_grey) * voxel_um3,
            "crack_volume_partial_error_um3": spread / np.abs(solid_grey - void_grey) * voxel_um3,
        }
    return {name: np.where(size == 0, np.nan, values) for name, values in columns.items()}


def _check_void(levels: Array, void: float, source: str) -> None:
    known = levels[np.isfinite(levels)]
    if not known.size:
        raise AnalysisError("the store has no particle, or none that lies inside the scans")
    if known.min() <= void <= known.max():
        raise AnalysisError(
            f"the grey level of a void, {void:g} ({source}), is not outside those of the particles' solid, "
            f"{known.min():.4g} to {known.max():.4g}; give void_grey"
        )
