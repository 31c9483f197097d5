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

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from crackdask.analysis.parameters import AnalyseParams, AnalysisError
from crackdask.analysis.solid_grey import Rim, solid
from crackdask.analysis.tables import named, state_names, table_of
from crackdask.kernels import crack_skeleton
from crackdask.kernels.distance import square_weights
from crackdask.schema import UnitKey

Array = NDArray[Any]
Edges = tuple[float, float, float]

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
    level, deepest = here.solid_grey.values[rows], here.deepest.values[rows]
    shell = np.arange(int(deepest.max(initial=0)) + 1)
    rim = Rim(levels.attrs["rim_height"], levels.attrs["rim_spread"])
    share = AnalyseParams.model_validate_json(levels.attrs["analyse"]).crack_threshold
    expected = level[:, None] + rim.excess(shell.size, here.radius.values[rows])
    made = expected - share * (level - levels.attrs["void_grey"])[:, None]
    return np.where(2 * shell > deepest[:, None], made, np.nan)


def trace(
    grey: Array, mine: Array, limit: Array, bright: bool, voxel_um: Edges
) -> tuple[dict[str, float], crack_skeleton.Cracks]:
    """Return a particle's row of the columns :data:`TRACED`, and its cracks, from the box that holds it."""
    weights, unit = square_weights(voxel_um)
    found = crack_skeleton.cracks(grey, mine, limit, bright, weights, unit)
    thickness = thickness_um(found, voxel_um)[found.skeleton]
    count = int(np.count_nonzero(found.crack))
    lengths = np.sqrt(((crack_skeleton.STEPS * np.array(voxel_um)) ** 2).sum(axis=1))
    row = {
        "crack_voxels": count,
        "crack_volume_um3": count * prod(voxel_um),
        "skeleton_voxels": thickness.size,
        "skeleton_length_um": float((found.steps * lengths).sum()),
        "branch_points": found.branches,
        "end_points": found.ends,
        "thickness_mean_um": float(thickness.mean()) if thickness.size else np.nan,
        "thickness_max_um": float(thickness.max()) if thickness.size else np.nan,
    }
    return row, found


def thickness_um(found: crack_skeleton.Cracks, voxel_um: Edges) -> Array:
    """Return twice the distance to the nearest voxel that is no crack, less a voxel edge; 0 outside the cracks."""
    unit = square_weights(voxel_um)[1]
    depth = np.sqrt(found.squared / unit)
    return np.asarray(np.where(found.crack, (2 * depth - 1) * min(voxel_um), 0.0))


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
    table = table_of(store, "particles")
    if "volumes" not in store.children:
        raise AnalysisError("the store has no volumes to look for cracks in, only tables")
    names = state_names(table)
    if state not in names:
        raise AnalysisError(f"no state {state!r}; there are {', '.join(names)}")
    if particle not in table.particle.values:
        raise AnalysisError(f"no particle {particle}; labels go from 1 to {table.sizes['particle']}")
    levels = solid(store, **parameters) if levels is None else levels
    number, row = names.index(state), int(np.flatnonzero(table.particle.values == particle)[0])
    if not np.isfinite(levels.solid_grey.values[number, row]):
        raise AnalysisError(f"particle {particle} is absent in state {state!r}, or beside a region outside the scan")
    here = table.isel(state=number, particle=row).load()
    box = {axis: slice(int(here[f"bbox_{axis}0"]), int(here[f"bbox_{axis}1"])) for axis in "zyx"}
    cut = store["volumes"].to_dataset()[["grey", "label"]].isel(state=number).isel(box).load()
    voxel_um = edges_of(store)
    limit = limits(levels, number, np.array([row]))[0]
    inside = cut.label == particle
    counted, found = trace(cut.grey.values, inside.values, limit, is_bright(levels), voxel_um)
    place = ("z", "y", "x")
    made = xr.Dataset(
        {
            "grey": cut.grey,
            "inside": named(inside, "1", "voxels of the particle"),
            "crack": (place, found.crack, {"units": "1", "long_name": "crack voxels"}),
            "skeleton": (place, found.skeleton, {"units": "1", "long_name": "skeleton of the cracks"}),
            "thickness_um": (
                place,
                np.where(found.skeleton, thickness_um(found, voxel_um), 0.0),
                {"units": "um", "long_name": "local thickness of the cracks, on the skeleton"},
            ),
        }
    )
    return made.assign_attrs(particle=particle, **row_of(levels, number, row), **counted)


def row_of(levels: xr.Dataset, state: int, row: int) -> Mapping[str, float]:
    """Return what the tables tell of a particle's cracks."""
    names = ("solid_grey", "core_volume_um3", "crack_volume_partial_um3", "crack_volume_partial_error_um3")
    return {name: float(levels[name].values[state, row]) for name in names}


def is_bright(levels: xr.Dataset) -> bool:
    """Tell whether the solid is brighter than a void."""
    return bool(np.nanmedian(levels.solid_grey.values) > levels.attrs["void_grey"])


def edges_of(store: xr.DataTree) -> Edges:
    """Return a voxel's edges in um."""
    z, y, x = (float(edge) for edge in store.attrs["recipe"]["experiment"]["voxel_um"])
    return (z, y, x)


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
    found = store["cracks"].to_dataset()
    if found.attrs.get("of") != origin(store) or not bool(found.computed.any()):
        raise AnalysisError(
            "the table of cracks was not finished, or the store was run again since: `crackdask cracks STORE` makes it"
        )
    return found


def origin(store: xr.DataTree) -> str:
    """Return what the tables of a store were made from, as one name.

    The step that writes them is done once, for the state of reference, whichever that is.
    """
    steps = store.attrs.get("steps", {})
    made_by = [facts for name, facts in steps.items() if UnitKey.parse(name).step == "track"]
    return " ".join(str(facts.get("fingerprint", "")) for facts in made_by)
