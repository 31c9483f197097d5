"""One slice of every state, with the outlines of the particles, tracked and not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.style import ORANGE, SKY, WIDTH, figure, plain, short, styled
from crackdask.figures.volume_slices import image, middle, outline, scale_bar, volumes_of

_MOST_PIXELS = 480  # along a side of a slice: what a third of the page has room for


def slices(store: xr.DataTree, z: int | None = None) -> Figure:
    """Draw one slice of every state with the outlines of its particles, tracked and not.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    z
        The plane, in voxels; by default the middle one.
    """
    return draw_slices(collect_slices(store, z))


def collect_slices(store: xr.DataTree, z: int | None = None) -> xr.Dataset:
    """Return `grey` and `label` of the middle of one plane (state, y, x), and which labels are `tracked`."""
    volumes, table = volumes_of(store), table_of(store, "particles")
    depth = volumes.sizes["z"]
    plane = depth // 2 if z is None else z
    if not 0 <= plane < depth:
        raise AnalysisError(f"there is no plane {plane}; they go from 0 to {depth - 1}")
    cut = volumes[["grey", "label"]].isel(z=plane).isel(middle(volumes, _MOST_PIXELS)).load()
    known = table.particle.values[table.tracked.isel(state=0).values]
    cut["tracked"] = (cut.label.dims, np.isin(cut.label.values, known))
    place = (plane, *(n // 2 for n in (volumes.sizes["y"], volumes.sizes["x"])))
    return cut.assign_attrs(plane=plane, z_um=float(cut.z), place=place)


@styled
def draw_slices(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_slices` returned."""
    names, grey = state_names(numbers), numbers.grey
    across = min(len(names), 3 if len(names) != 4 else 2)
    down = -(-len(names) // across)
    shape = grey.sizes["y"] / grey.sizes["x"]
    page = figure(height=min(11.0, down * (WIDTH / max(across, 2) * shape + 0.25) + 0.35))
    panes = page.subplots(down, across, squeeze=False).ravel()
    inside = grey.values[grey.values > 0]
    low, high = np.percentile(inside if inside.size else grey.values, [0.5, 99.8])
    for k, axes in enumerate(panes):
        if k >= len(names):
            axes.remove()
            continue
        image(axes, grey.isel(state=k), low, high)
        outline(axes, numbers.isel(state=k))
        axes.set_title(short(names[k], 24))
    scale_bar(panes[0], grey)
    keys = [Line2D([], [], color=ORANGE, label="tracked"), Line2D([], [], color=SKY, label="found, not tracked")]
    page.legend(handles=keys, loc="outside lower center", ncols=2)
    return page


def _in_plane(numbers: xr.Dataset) -> pd.DataFrame:
    rows = []
    for k, name in enumerate(state_names(numbers)):
        cut = numbers.isel(state=k)
        label = cut.label.values
        row = {"state": name, "plane": numbers.attrs["plane"], "z_um": numbers.attrs["z_um"]}
        row["particles"] = np.setdiff1d(label, [0]).size
        row["tracked"] = np.setdiff1d(label[cut.tracked.values], [0]).size
        rows.append({**row, "labelled_share": float((label > 0).mean())})
    return plain(pd.DataFrame(rows))


def _explored(numbers: xr.Dataset) -> str:
    z, y, x = numbers.attrs["place"]
    return f"at=[{z + 0.5},{y},{x}]&labels=outline"


PANELS = (
    Panel(
        "slices",
        "Slices with outlines of the particles",
        "The middle slice of every state, after registration, with the outline of each particle; of a field wider than "
        f"{_MOST_PIXELS} voxels, its middle.",
        collect_slices,
        draw_slices,
        _in_plane,
        explored=_explored,
    ),
)
