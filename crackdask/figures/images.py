"""Slices through the volumes: one particle in every state (paper, Fig. 1), and the whole field with its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import table_of
from crackdask.figures.pixels import image, middle, outline, scale_bar, volumes_of
from crackdask.figures.style import (
    ORANGE,
    SKY,
    WIDTH,
    Panel,
    discharged,
    figure,
    key,
    plain,
    ramp,
    short,
    state_names,
    styled,
)

_MARGIN = 4  # voxels around a particle
_MOST_PIXELS = 480  # along a side of a slice: what a third of the page has room for


def line_profiles(store: xr.DataTree, particle: int | None = None, **parameters: Any) -> Figure:
    """Draw slices of one particle in every state, and its grey level along x and y (paper, Fig. 1).

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    particle
        Its label; by default the one, among the larger half of the tracked particles, whose damage changes most.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_line_profiles(collect_line_profiles(store, particle, **parameters))


def collect_line_profiles(store: xr.DataTree, particle: int | None = None, **parameters: Any) -> xr.Dataset:
    """Return the `grey` of one particle's central plane (state, y, x), and the `line_y`, `line_x` of the profiles."""
    volumes, table = volumes_of(store), table_of(store, "particles")
    number = _exemplar(store, parameters) if particle is None else particle
    if number not in table.particle.values:
        raise AnalysisError(f"no particle {number}; labels go from 1 to {table.sizes['particle']}")
    row = table.sel(particle=number)[["voxels", *(f"bbox_{axis}{end}" for axis in "zyx" for end in "01")]].load()
    seen = row.isel(state=np.flatnonzero(row.voxels.values))
    if seen.sizes["state"] < row.sizes["state"]:
        raise AnalysisError(f"particle {number} is absent in some states")
    first = seen.isel(state=0)
    z, y, x = ((int(first[f"bbox_{axis}0"]) + int(first[f"bbox_{axis}1"])) // 2 for axis in "zyx")
    place = {
        axis: slice(max(0, int(seen[f"bbox_{axis}0"].min()) - _MARGIN), int(seen[f"bbox_{axis}1"].max()) + _MARGIN)
        for axis in "yx"
    }
    grey = volumes.grey.isel(z=z).isel(place).load()
    lines = {"line_y": int(y - place["y"].start), "line_x": int(x - place["x"].start), "particle": number}
    return xr.Dataset({"grey": grey}).assign_attrs(lines, z_um=float(grey.z))


def _exemplar(store: xr.DataTree, parameters: dict[str, Any]) -> int:
    """Return the particle whose damage changes most, or the largest where damage cannot be told of any."""
    try:
        found = analyse.damage(store, **parameters)
    except AnalysisError:
        table = table_of(store, "particles")
        known = np.flatnonzero(table.tracked.isel(state=0).values)
        if not known.size:
            raise
        return int(table.particle.values[known[int(np.argmax(table.voxels.isel(state=0).values[known]))]])
    larger = found.isel(particle=np.argsort(found.radius_um.values, kind="stable")[found.sizes["particle"] // 2 :])
    change = larger.damage.max("state") - larger.damage.min("state")
    return int(larger.particle.values[int(change.values.argmax())])


@styled
def draw_line_profiles(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_line_profiles` returned."""
    names, grey = state_names(numbers), numbers.grey
    across = min(len(names), 6)
    down = -(-len(names) // across)
    side = WIDTH / max(across, 4)
    shape = grey.sizes["y"] / grey.sizes["x"]
    tall = down * (side * shape + 0.25)
    below = 2.5 + 0.1 * len(names)
    made = figure(height=tall + below)
    top, bottom = made.subfigures(2, 1, squeeze=False, height_ratios=[tall, below]).ravel()
    panes = top.subplots(down, across, squeeze=False).ravel()
    low, high = np.percentile(grey.values, [0.5, 99.8])
    y, x = (float(grey[axis].values[numbers.attrs[f"line_{axis}"]]) for axis in "yx")
    for k, axes in enumerate(panes):
        if k >= len(names):
            axes.remove()
            continue
        image(axes, grey.isel(state=k), low, high)
        axes.set_title(short(names[k]))
        axes.axhline(y, color=ORANGE, lw=0.8, ls="--")
        axes.axvline(x, color=SKY, lw=0.8, ls="--")
    scale_bar(panes[0], grey)
    plots = bottom.subplots(1, 2, sharey=True)
    hollow = discharged(numbers)
    for axis, other, axes in zip("xy", "yx", plots, strict=True):
        along = grey.isel({other: numbers.attrs[f"line_{other}"]})
        for k, colour in enumerate(ramp(len(names))):
            axes.plot(along[axis].values, along.isel(state=k).values, color=colour, ls="--" if hollow[k] else "-",
                      label=short(names[k], 24, 1))  # fmt: skip
        axes.set_xlabel(f"{axis} (µm)")
        axes.set_title(f"along {axis} ({'orange' if axis == 'x' else 'blue'} line)")
        axes.margins(x=0)
    plots[0].set_ylabel("grey level (of 255)")
    key(bottom, plots[0])
    return made


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
    return cut.assign_attrs(plane=plane, z_um=float(cut.z))


@styled
def draw_slices(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_slices` returned."""
    names, grey = state_names(numbers), numbers.grey
    across = min(len(names), 3 if len(names) != 4 else 2)
    down = -(-len(names) // across)
    shape = grey.sizes["y"] / grey.sizes["x"]
    made = figure(height=min(11.0, down * (WIDTH / max(across, 2) * shape + 0.25) + 0.35))
    panes = made.subplots(down, across, squeeze=False).ravel()
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
    made.legend(handles=keys, loc="outside lower center", ncols=2)
    return made


def _lines(numbers: xr.Dataset) -> pd.DataFrame:
    rows = []
    for axis, other in zip("xy", "yx", strict=True):
        along = numbers.grey.isel({other: numbers.attrs[f"line_{other}"]}).drop_vars(["z", other])
        frame = along.to_dataframe().reset_index().rename(columns={axis: "position_um"})
        rows.append(frame[["state", "position_um", "grey"]].assign(axis=axis, particle=numbers.attrs["particle"]))
    return plain(pd.concat(rows, ignore_index=True))


def _in_plane(numbers: xr.Dataset) -> pd.DataFrame:
    rows = []
    for k, name in enumerate(state_names(numbers)):
        cut = numbers.isel(state=k)
        label = cut.label.values
        found = {"state": name, "plane": numbers.attrs["plane"], "z_um": numbers.attrs["z_um"]}
        found["particles"] = np.setdiff1d(label, [0]).size
        found["tracked"] = np.setdiff1d(label[cut.tracked.values], [0]).size
        rows.append({**found, "labelled_share": float((label > 0).mean())})
    return plain(pd.DataFrame(rows))


PANELS = (
    Panel(
        "1a_line_profiles",
        "One particle, state by state",
        "Central slice of one particle in every state, and its grey level along the dashed lines; dashed curves are "
        "discharge and aged. The particle is the one, among the larger half of those tracked, whose damage factor "
        "changes most (or the largest, where damage cannot be told): an example, not an average.",
        collect_line_profiles,
        draw_line_profiles,
        _lines,
    ),
    Panel(
        "slices",
        "Slices with outlines of the particles",
        "The middle slice of every state, after registration, with the outline of each particle; of a field wider than "
        f"{_MOST_PIXELS} voxels, its middle.",
        collect_slices,
        draw_slices,
        _in_plane,
    ),
)
