"""What rings of a scanner do to the grey level of a particle's core: how sure it is beside them (damage.md).

Rings are the scanner's, so they stay where they are while the sample moves from scan to scan: a particle that comes to
lie on others changes its grey level, and one that lies still does not. How far it moved towards the axis or away from
it is in the tables; what that makes is a number for each particle, with nothing known of the rings but their strength.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.tables import named, table_of, voxel_edges
from crackdask.arrays import Array
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

#: Edge of the inner layer's ball over the particle's radius, and the share of the rings' variance there that the
#: control layer has and that its spreads count already.
_INNER, _IN_CONTROL = 0.5, 0.6


def ring_errors(store: xr.DataTree, table: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return what rings make of the inner layer's grey level, (state, particle); nothing where none matter.

    Both in grey levels. Rings are taken for white along the radius: levels a voxel apart have nothing to do with each
    other. In a ball of radius a, their mean then has the variance 0.6 S / a, where S is the variance of the rings times
    a voxel, and the means at two places s times a apart along the radius have S / a times the integral of two profiles
    of a ball in common (:func:`in_common`). `ring_error` is what is a scan's own, so that the squares of two scans add
    up to the variance of their difference, as nearly as can be; `ring_own_error` is the rest, the particle's own in all
    scans.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns. Its root attribute `found` tells of rings where a run found some: `strength`
        (S, grey levels squared times a voxel) and `axis_yx` (voxel of the state's scan), by name of the state.
    table
        With `radius_um`, (particle,), of the particles that are wanted.
    """
    found = store.attrs.get("found", {}).get("rings", {})
    names = [str(name) for name in table.state.values]
    if not found:
        return {}
    known = [found.get(name, {"strength": 0.0, "axis_yx": [0.0, 0.0]}) for name in names]
    place = table_of(store, "particles")[[f"centroid_{axis}_um" for axis in "zyx"]].sel(particle=table.particle)
    columns = (c if c.chunks is None else c.chunk({"state": -1}) for c in place.data_vars.values())
    edges = voxel_edges(store)
    scan, own = xr.apply_ufunc(
        _errors,
        *columns,
        table.radius_um.reset_coords(drop=True) / float(np.sqrt(edges[1] * edges[2])),
        kwargs={
            "edges": edges,
            "matrices": table_of(store, "transforms").matrix.values,
            "axes": np.array([each["axis_yx"] for each in known]),
            "strength": np.array([each["strength"] for each in known]),
        },
        input_core_dims=[["state"]] * 3 + [[]],
        output_core_dims=[["state"], ["state"]],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
    )
    words = "standard error of the inner layer's grey level, from rings"
    return {
        "ring_error": named(scan, "1", f"{words} of the scan"),
        "ring_own_error": named(own, "1", f"{words} that all scans share"),
    }


def _errors(
    z: Array, y: Array, x: Array, radius: Array, *, edges: tuple[float, ...], matrices: Array, axes: Array,
    strength: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Return both errors, (particle, state), of particles at centroids in um, (particle, state), of radii in voxels."""
    index = np.stack([each / edge - 0.5 for each, edge in zip((z, y, x), edges, strict=True)], axis=-1)
    there = np.einsum("sij,psj->psi", matrices[:, 1:3, :3], index) + matrices[:, 1:3, 3]
    away = np.sqrt(((there - axes) ** 2).sum(axis=-1))
    inner, states = np.maximum(_INNER * radius, 0.5)[:, None], len(strength)
    whole = 0.6 * strength / inner
    apart = np.zeros_like(away)  # from all other scans together, half of the variance of each difference
    for k in range(states):
        both = np.sqrt(strength * strength[k]) / inner
        apart += (whole + whole[:, k : k + 1]) / 2 - both * in_common(np.abs(away - away[:, k : k + 1]) / inner)
    if states > 2:  # so that two states' squares add up to their difference, by least squares over all pairs
        apart = (2 * apart - apart.sum(axis=1, keepdims=True) / (states - 1)) / (states - 2)
    scan = np.clip(np.nan_to_num(apart), 0.0, whole)
    return np.sqrt(scan), np.sqrt((1 - _IN_CONTROL) * (whole - scan))


def in_common(apart: Any) -> Any:
    """Return the integral of the product of two profiles of balls of radius 1, so far apart (an array of any kind).

    A ball's profile is its share of volume along an axis, 3/4 (1 - t^2); s apart, that is (3 / 160) (2 - s)^3
    (s^2 + 6 s + 4).

    >>> in_common(np.array([0.0, 2.0, 3.0])).round(3).tolist()
    [0.6, 0.0, 0.0]
    """
    near = np.minimum(apart, 2.0)
    return 3 / 160 * (2 - near) ** 3 * (near**2 + 6 * near + 4)
