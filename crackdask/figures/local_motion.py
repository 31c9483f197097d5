"""How the sample moved unevenly: displacements and strain in the middle of the volume, and what each step left over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of, voxel_edges
from crackdask.figures.panel import Panel
from crackdask.figures.style import WIDTH, figure, plain, short, styled
from crackdask.figures.volume_slices import scale_bar

_MOST = 6  # states side by side


def uneven_motion(store: xr.DataTree) -> Figure:
    """Draw displacements and volumetric strain in the middle slice of each state that moved unevenly.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If no state has a field of displacements.
    """
    return draw_uneven_motion(collect_uneven_motion(store))


def collect_uneven_motion(store: xr.DataTree) -> xr.Dataset:
    """Return `displacement` (um, with its `size`) and `strain` at the lattice's middle slice of each such state.

    Besides `chain_residual_voxels`, what each step of the registration left over. Coordinates are in um.
    """
    table = table_of(store, "transforms")
    if "bent" not in table:
        raise AnalysisError("the store is of before local motion was measured: run it again")
    names = [name for name, bent in zip(state_names(table), table.bent.values, strict=True) if bent]
    if not names:
        raise AnalysisError("no state moved unevenly: a transform of the whole scan follows all of them")
    edges = np.array(voxel_edges(store))
    bent = table.sel(state=names).load()
    field = bent.displacement.values * edges
    along = [bent[f"lattice_{axis}"].values for axis in "zyx"]
    strain = sum(np.gradient(field[..., k], along[k], axis=k + 1) for k in range(3) if along[k].size > 1) + np.zeros(
        field.shape[:-1]
    )
    middle = along[0].size // 2
    plane = ("state", "lattice_y", "lattice_x")
    shown = xr.Dataset(
        {
            "displacement": ((*plane, "axis"), field[:, middle]),
            "size": (plane, np.sqrt((field[:, middle] ** 2).sum(axis=-1))),
            "strain": (plane, strain[:, middle]),
            "chain_residual_voxels": bent.chain_residual_voxels,
        },
        {"state": np.array(names, dtype=object), "lattice_y": along[1], "lattice_x": along[2], "axis": list("zyx")},
    )
    return shown.assign_attrs(z_um=float(along[0][middle]))


@styled
def draw_uneven_motion(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_uneven_motion` returned."""
    names = state_names(numbers)[:_MOST]
    side = 0.8 * WIDTH / max(len(names), 3)
    page = figure(height=2 * side + 1.7)
    panes = page.subplots(2, len(names), squeeze=False)
    far = float(numbers["size"].values.max())
    most = max(float(np.abs(numbers.strain.values).max()), 1e-6)
    y, x = numbers.lattice_y.values, numbers.lattice_x.values
    for k, name in enumerate(names):
        here = numbers.isel(state=k)
        moved = panes[0, k].pcolormesh(x, y, here["size"].values, vmin=0, vmax=far, cmap="viridis", shading="nearest")
        u = here.displacement.values
        panes[0, k].quiver(x, y, u[..., 2], u[..., 1], color="white", angles="xy")
        swollen = panes[1, k].pcolormesh(
            x, y, 100 * here.strain.values, vmin=-100 * most, vmax=100 * most, cmap="RdBu_r", shading="nearest"
        )
        panes[0, k].set_title(short(name))
        left = [
            f"{step} {value:.2g}"
            for step, value in zip(numbers.chain.values, here.chain_residual_voxels.values, strict=True)
            if np.isfinite(value)
        ]
        panes[1, k].set_xlabel("residual, voxels:\n" + "\n".join(left), fontsize=8)
        for axes in panes[:, k]:
            axes.set_aspect("equal")
            axes.invert_yaxis()
            axes.set_xticks([])
            axes.set_yticks([])
    scale_bar(panes[1, 0], numbers.strain.rename(lattice_y="y", lattice_x="x"))
    page.colorbar(moved, ax=panes[0].tolist(), label="displacement (µm)", aspect=15)
    page.colorbar(swollen, ax=panes[1].tolist(), label="volumetric strain (%)", aspect=15)
    return page


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    table = numbers[["size", "strain"]].to_dataframe().reset_index()
    for axis in "zyx":
        table[f"displacement_{axis}"] = numbers.displacement.sel(axis=axis).to_dataframe()["displacement"].to_numpy()
    return plain(table)


PANELS = (
    Panel(
        "uneven_motion",
        "Uneven motion",
        "What a transform of the whole scan leaves over, in the middle of the volume, of each state that moved "
        "unevenly: displacements against the reference (above; arrows along the slice), and the volumetric strain "
        "that follows from them (below; red swelled, blue shrank). Below each: how far sub-blocks are off after each "
        "step of the registration.",
        collect_uneven_motion,
        draw_uneven_motion,
        _frame,
    ),
)
