"""One particle in every state: slices, and its grey level along two lines (paper, Fig. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of, tracked_rows
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import ORANGE, SKY, WIDTH, figure, key, plain, ramp, short, styled
from crackdask.figures.volume_slices import image, scale_bar, volumes_of

_MARGIN = 4  # voxels around a particle


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
    return xr.Dataset({"grey": grey}).assign_attrs(lines, z_um=float(grey.z), place=(z, y, x))


def _exemplar(store: xr.DataTree, parameters: dict[str, Any]) -> int:
    """Return the particle whose damage changes most, or the largest where damage cannot be told of any."""
    try:
        damages = analyse.damage(store, **parameters)
    except AnalysisError:
        table = table_of(store, "particles")
        known = tracked_rows(table)
        if not known.size:
            raise
        return int(table.particle.values[known[int(np.argmax(table.voxels.isel(state=0).values[known]))]])
    larger = damages.isel(
        particle=np.argsort(damages.radius_um.values, kind="stable")[damages.sizes["particle"] // 2 :]
    )
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
    page = figure(height=tall + below)
    top, bottom = page.subfigures(2, 1, squeeze=False, height_ratios=[tall, below]).ravel()
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
    return page


def _lines(numbers: xr.Dataset) -> pd.DataFrame:
    rows = []
    for axis, other in zip("xy", "yx", strict=True):
        along = numbers.grey.isel({other: numbers.attrs[f"line_{other}"]}).drop_vars(["z", other])
        frame = along.to_dataframe().reset_index().rename(columns={axis: "position_um"})
        rows.append(frame[["state", "position_um", "grey"]].assign(axis=axis, particle=numbers.attrs["particle"]))
    return plain(pd.concat(rows, ignore_index=True))


def _explored(numbers: xr.Dataset) -> str:
    z, y, x = numbers.attrs["place"]
    return f"particle={numbers.attrs['particle']}&at=[{z + 0.5},{y + 0.5},{x + 0.5}]&zoom=8"


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
        explored=_explored,
    ),
)
