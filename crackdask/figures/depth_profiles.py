"""Grey level by depth below the surface, by size of the particles (GRAPES; paper, SI)."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from crackdask import analyse
from crackdask.analyse import By
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, voxel_edges
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import figure, key, plain, ramp, short, styled

_MOST_PANES = 12
_WORDS = {
    "none": "mean grey level (of 255)",
    "surface": "of the outermost shell (1)",
    "maximum": "of the brightest (1)",
}


def radial_profiles(
    store: xr.DataTree,
    by: By = "quartile",
    *,
    start: Literal["edge", "centre"] = "edge",
    normalise: Literal["none", "surface", "maximum"] = "none",
    **parameters: Any,
) -> Figure:
    """Draw radial profiles of the grey level in every state, a pane for each group of particles.

    Arguments and errors are those of :func:`crackdask.analyse.profiles`; `by` may also be "decile", a column of
    `particles`, or None for one pane of all.
    """
    return draw_radial_profiles(collect_radial_profiles(store, by, start=start, normalise=normalise, **parameters))


def collect_radial_profiles(store: xr.DataTree, by: By = "quartile", **options: Any) -> xr.Dataset:
    """Return the profiles by group, as :func:`crackdask.analyse.profiles`, with `depth_um` of each shell."""
    profiles = analyse.profiles(store, by, **options).compute()
    shell = "shell" if "shell" in profiles.dims else "from_centre"
    grouped = [str(dim) for dim in profiles.dims if dim not in ("state", shell)]
    if grouped and profiles.sizes[grouped[0]] > _MOST_PANES:
        raise AnalysisError(f"{profiles.sizes[grouped[0]]} groups have no room on a page; make {_MOST_PANES} or fewer")
    edge = min(voxel_edges(store))
    profiles = profiles.assign_coords(depth_um=(shell, profiles[shell].values * edge, {"units": "um"}))
    return profiles.assign_attrs(
        shell=shell, by=grouped[0] if grouped else "", normalise=options.get("normalise", "none")
    )


@styled
def draw_radial_profiles(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_radial_profiles` returned."""
    by, shell, names = numbers.attrs["by"], numbers.attrs["shell"], state_names(numbers)
    groups = [numbers.isel({by: k}) for k in range(numbers.sizes[by])] if by else [numbers]
    across = min(len(groups), 4 if len(groups) != 6 else 3)
    down = -(-len(groups) // across)
    page = figure(height=down * (2.1 if across > 2 else 2.8) + 0.9 + 0.05 * len(names))
    panes = page.subplots(down, across, squeeze=False, sharey=True).ravel()
    hollow = discharged(numbers)
    for pane in panes[len(groups) :]:
        pane.remove()
    for axes, here in zip(panes, groups, strict=False):
        # Deeper, too few of the group's particles are left to stand for it.
        reached = (here.particles >= 0.5 * here.particles.max()) & (here.particles > 0)
        for k, colour in enumerate(ramp(len(names))):
            row = here.isel(state=k)
            axes.plot(row.depth_um.values, row["mean"].where(reached.isel(state=k)).values, color=colour,
                      ls="--" if hollow[k] else "-", marker=".", ms=3, label=short(names[k], 24, 1))  # fmt: skip
        count = int(here.particles.max())
        axes.set_title(f"{short(by, 16, 1)} {here[by].item()}, n = {count}" if by else f"n = {count}")
        axes.set_xlabel("depth (µm)" if shell == "shell" else "from the centre (µm)")
    for axes in panes[: len(groups) : across]:
        axes.set_ylabel(_WORDS[numbers.attrs["normalise"]])
    key(page, panes[0])
    return page


def _rows(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["mean", "standard_error", "error_bar", "particles"]
    frame = numbers[names].to_dataframe().reset_index()
    return plain(frame[frame["particles"] > 0])


PANELS = (
    Panel(
        "radial_profiles",
        "Radial profiles, by size",
        "Mean grey level of each shell of the tracked particles, by quartile of their radius in the reference state "
        "(4: the largest), as deep below the surface as half of the quartile's particles reach. The bright rim is "
        "phase contrast. Dashed: discharge and aged.",
        collect_radial_profiles,
        draw_radial_profiles,
        _rows,
    ),
)
