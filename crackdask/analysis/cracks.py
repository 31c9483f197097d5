"""Cracks of single particles, from their windows: crack voxels, skeleton, local thickness (paper, Fig. 4i and j).

A crack voxel is one of the core whose grey level, seen against its particle's own solid and the void, means a void
fraction above `crack_threshold`. The grey is the un-smoothed one, but for a mean over the voxel (twice) and its six
face neighbours within the particle: on a phantom, at 0.2, this agrees with the true crack voxels as F1 0.79 to 0.84
where single voxels reach 0.60 to 0.75, counts 0.90 to 0.94 of them where single voxels count 1.2 to 1.6, and leaves
2 to 6 in 100 of the specks of one or two voxels. A wider mean, (1 2 1) along each axis, closes fine cracks (0.75 to
0.84 of the voxels are counted).

The local thickness, at a voxel of the skeleton, is twice the distance to the nearest voxel that is no crack, less one
(smallest) voxel edge: a sheet of one voxel is one voxel thick, one of three is three; one of two counts as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from crackdask.analysis.parameters import AnalyseParams, AnalysisError
from crackdask.analysis.phase_contrast_rim import Rim, shell_sums
from crackdask.analysis.shells import in_core
from crackdask.analysis.solid_grey import solid
from crackdask.analysis.tables import named, origin_of, state_names, table_of, voxel_edges
from crackdask.arrays import Array
from crackdask.grid import Edges
from crackdask.kernels import crack_skeleton
from crackdask.kernels.depth_in_mask import square_weights

#: What is counted in a window; the other columns of the group come from tables.
TRACED = (
    "crack_voxels", "crack_volume_um3", "skeleton_voxels", "skeleton_length_um", "branch_points", "end_points",
    "thickness_mean_um", "thickness_max_um",
)  # fmt: skip


def limits(levels: xr.Dataset, state: int, rows: Array) -> Array:
    """Return the grey levels beyond which voxels of the core are crack, (row, shell from 0); NaN outside the core.

    `levels` is what :func:`crackdask.analysis.solid_grey.solid` returned.
    """
    here = levels.isel(state=state)
    solid_grey, deepest = here.solid_grey.values[rows], here.deepest.values[rows]
    shell = np.arange(int(deepest.max(initial=0)) + 1)
    rim = Rim(levels.attrs["rim_height"], levels.attrs["rim_spread"])
    share = AnalyseParams.model_validate_json(levels.attrs["analyse"]).crack_threshold
    expected = solid_grey[:, None] + rim.excess(shell.size, here.radius.values[rows])
    beyond = expected - share * (solid_grey - levels.attrs["void_grey"])[:, None]
    return np.where(in_core(shell, deepest[:, None]), beyond, np.nan)


def trace(
    grey: Array, mine: Array, limit: Array, bright: bool, voxel_um: Edges
) -> tuple[dict[str, float], crack_skeleton.Cracks]:
    """Return a particle's row of the columns :data:`TRACED`, and its cracks, from the box that holds it."""
    weights, unit = square_weights(voxel_um)
    cracks = crack_skeleton.cracks(grey, mine, limit, bright, weights, unit)
    thickness = thickness_um(cracks, voxel_um)[cracks.skeleton]
    count = int(np.count_nonzero(cracks.crack))
    lengths = np.sqrt(((crack_skeleton.STEPS * np.array(voxel_um)) ** 2).sum(axis=1))
    row = {
        "crack_voxels": count,
        "crack_volume_um3": count * prod(voxel_um),
        "skeleton_voxels": thickness.size,
        "skeleton_length_um": float((cracks.steps * lengths).sum()),
        "branch_points": cracks.branches,
        "end_points": cracks.ends,
        "thickness_mean_um": float(thickness.mean()) if thickness.size else np.nan,
        "thickness_max_um": float(thickness.max()) if thickness.size else np.nan,
    }
    return row, cracks


def thickness_um(cracks: crack_skeleton.Cracks, voxel_um: Edges) -> Array:
    """Return twice the distance to the nearest voxel that is no crack, less a voxel edge; 0 outside the cracks."""
    unit = square_weights(voxel_um)[1]
    depth = np.sqrt(cracks.squared / unit)
    return np.asarray(np.where(cracks.crack, (2 * depth - 1) * min(voxel_um), 0.0))


def cracks_of(
    store: xr.DataTree, particle: int, state: str, levels: xr.Dataset | None = None, **parameters: Any
) -> xr.Dataset:
    """Return the cracks of one particle in one state.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    particle, state
        Its label, and the name of the state.
    levels
        What :func:`crackdask.analysis.solid_grey.solid` returned, to look at many particles; else it is worked out.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe: `crack_threshold`, `void_grey`, ...

    Returns
    -------
    xarray.Dataset
        Along (z, y, x), the particle's box: `grey`, `inside`, `crack`, `skeleton` and `thickness_um` (of the cracks,
        on the skeleton). Attributes: the particle's row of the table `cracks`.

    Raises
    ------
    AnalysisError
        If there is no such particle or state, the particle is absent, or lies beside a region outside the scan.
    """
    number, row = _place(store, particle, state)
    levels = solid(store, **parameters) if levels is None else levels
    if not np.isfinite(levels.solid_grey.values[number, row]):
        raise AnalysisError(f"particle {particle} is absent in state {state!r}, or beside a region outside the scan")
    window = _window(store, number, row)
    inside = named(window.label == particle, "1", "voxels of the particle")
    limit = limits(levels, number, np.array([row]))[0]
    counted, cracks = trace(window.grey.values, inside.values, limit, is_bright(levels), voxel_edges(store))
    thickness = np.where(cracks.skeleton, thickness_um(cracks, voxel_edges(store)), 0.0)
    columns = {
        "crack": (cracks.crack, "1", "crack voxels"),
        "skeleton": (cracks.skeleton, "1", "skeleton of the cracks"),
        "thickness_um": (thickness, "um", "local thickness of the cracks, on the skeleton"),
    }
    volumes = xr.Dataset({"grey": window.grey, "inside": inside}).assign(
        {
            name: (("z", "y", "x"), voxels, {"units": units, "long_name": words})
            for name, (voxels, units, words) in columns.items()
        }
    )
    return volumes.assign_attrs(particle=particle, **row_of(levels, number, row), **counted)


def _place(store: xr.DataTree, particle: int, state: str) -> tuple[int, int]:
    """Return the number of a state, and the row of a particle."""
    particles = table_of(store, "particles")
    if "volumes" not in store.children:
        raise AnalysisError("the store has no volumes to look for cracks in, only tables")
    names = state_names(particles)
    if state not in names:
        raise AnalysisError(f"no state {state!r}; there are {', '.join(names)}")
    if particle not in particles.particle.values:
        raise AnalysisError(f"no particle {particle}; labels go from 1 to {particles.sizes['particle']}")
    return names.index(state), int(np.flatnonzero(particles.particle.values == particle)[0])


def _window(store: xr.DataTree, state: int, row: int) -> xr.Dataset:
    """Return `grey` and `label` of the box that holds a particle."""
    here = table_of(store, "particles").isel(state=state, particle=row).load()
    box = {axis: slice(int(here[f"bbox_{axis}0"]), int(here[f"bbox_{axis}1"])) for axis in "zyx"}
    return store["volumes"].to_dataset()[["grey", "label"]].isel(state=state).isel(box).load()


def row_of(levels: xr.Dataset, state: int, row: int) -> Mapping[str, float]:
    """Return what the tables tell of a particle's cracks."""
    names = ("solid_grey", "core_volume_um3", "crack_volume_partial_um3", "crack_volume_partial_error_um3")
    return {name: float(levels[name].values[state, row]) for name in names}


def is_bright(levels: xr.Dataset) -> bool:
    """Tell whether the solid is brighter than a void."""
    return bool(np.nanmedian(levels.solid_grey.values) > levels.attrs["void_grey"])


def table(store: xr.DataTree) -> xr.Dataset:
    """Return the table `cracks` of a store, lazily, if it fits what the store holds now.

    Raises
    ------
    AnalysisError
        If there is none, or the store was run again since.
    """
    table_of(store, "particles")
    if "cracks" not in store.children:
        raise AnalysisError("the store has no table of cracks yet: `crackdask cracks STORE` makes it")
    cracks = store["cracks"].to_dataset()
    if cracks.attrs.get("of") != origin(store) or not bool(cracks.computed.any()):
        raise AnalysisError(
            "the table of cracks was not finished, or the store was run again since: `crackdask cracks STORE` makes it"
        )
    return cracks


def levels_of_table(store: xr.DataTree, particle: int) -> xr.Dataset:
    """Return the levels of one particle that the table `cracks` was made with: what `limits` needs, in a single row.

    Raises
    ------
    AnalysisError
        If there is no such table, or it does not fit the store.
    """
    made = table(store)
    told = json.loads(made.attrs["parameters"])
    row, edges = particle - 1, voxel_edges(store)
    rings = table_of(store, "shells").isel(particle=[row]).load()
    sums = [shell_sums(rings, state, prod(edges), min(edges)) for state in range(rings.sizes["state"])]
    dims = ("state", "particle")
    columns = {
        "solid_grey": made.solid_grey.isel(particle=[row]).values,
        "deepest": np.array([each.deepest for each in sums]),
        "radius": np.array([each.radius for each in sums]),
    }
    return xr.Dataset({name: (dims, values) for name, values in columns.items()}).assign_attrs(
        {name: told[name] for name in ("void_grey", "rim_height", "rim_spread")},
        analyse=json.dumps({"crack_threshold": told["crack_threshold"]}),
    )


def origin(store: xr.DataTree) -> str:
    """Return what the tables of a store were made from, as one name."""
    return origin_of(store.attrs)
