"""What cycling did beyond the first charge and discharge (paper, Fig. 4d to f)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.tables import listed, reference_of, state_names, table_of
from crackdask.figures.intensity import (
    CAPTION_BARS,
    collect_intensity_by_size,
    collect_relative_intensity,
    draw_intensity_by_size,
    draw_relative_intensity,
    frame_of,
    some,
)
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged, telling
from crackdask.figures.style import figure, key, ramp, short, styled

_MARKERS = "osD^v"


def intensity_of_deciles(
    store: xr.DataTree, states: Sequence[str] | None = None, smallest: int = 4, **parameters: Any
) -> Figure:
    """Draw the mean pixel intensity decile by decile of size in some states (paper, Fig. 4d).

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    states
        Names; by default the reference, the top of charge and the last state.
    smallest
        Deciles that are left out, the smallest particles: they have too few voxels.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_intensity_of_deciles(collect_intensity_of_deciles(store, states, smallest, **parameters))


def collect_intensity_of_deciles(
    store: xr.DataTree, states: Sequence[str] | None = None, smallest: int = 4, **parameters: Any
) -> xr.Dataset:
    """Return the mean pixel intensity of whole particles and cores, by decile, in some states."""
    if not 0 <= smallest < 10:
        raise AnalysisError(f"of ten deciles 0 to 9 can be left out, not {smallest}")
    table = table_of(store, "particles")
    chosen = telling(table, reference_of(table, params_of(store, parameters)), states)
    averages = analyse.intensity(store, by="decile", **parameters).sel(region=["full", "core"], state=chosen)
    return some(averages.isel(decile=slice(smallest, None)).compute())


@styled
def draw_intensity_of_deciles(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_intensity_of_deciles` returned."""
    page = figure(height=3.4)
    names, hollow, deciles = state_names(numbers), discharged(numbers), numbers.decile.values
    shifts = np.linspace(-0.12, 0.12, len(names)) if len(names) > 1 else [0.0]
    panes = page.subplots(1, 2)
    for axes, region, title in zip(panes, ("full", "core"), ("whole particle", "core"), strict=True):
        for k, colour in enumerate(ramp(len(names))):
            here = numbers.sel(region=region).isel(state=k)
            axes.errorbar(
                deciles + shifts[k], here["mean"].values, np.nan_to_num(here.error_bar.values), color=colour,
                marker=_MARKERS[k % len(_MARKERS)], ls="--" if hollow[k] else "-",
                mfc="white" if hollow[k] else colour, capsize=2.5, label=short(names[k], 24, 1),
            )  # fmt: skip
        axes.set(title=title, xlabel="decile of radius (10: the largest)", ylabel="mean grey level (of 255)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    key(page, panes[0])
    return page


def aged_intensity(store: xr.DataTree, **parameters: Any) -> Figure:
    """Draw the relative mean pixel intensity with the states after cycling (paper, Fig. 4e).

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_relative_intensity(collect_aged_intensity(store, **parameters))


def collect_aged_intensity(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the relative mean pixel intensity in all states, if one of them is aged."""
    _needs_aged(store)
    return collect_relative_intensity(store, aged=True, **parameters)


def aged_by_size(store: xr.DataTree, smallest: int = 5, **parameters: Any) -> Figure:
    """Draw the relative mean pixel intensity per volume and decile with the states after cycling (paper, Fig. 4f).

    Arguments and errors are those of :func:`crackdask.figures.intensity_by_size`.
    """
    return draw_intensity_by_size(collect_aged_by_size(store, smallest, **parameters))


def collect_aged_by_size(store: xr.DataTree, smallest: int = 5, **parameters: Any) -> xr.Dataset:
    """Return the relative mean pixel intensity per volume in all states, if one of them is aged."""
    _needs_aged(store)
    return collect_intensity_by_size(store, smallest, aged=True, **parameters)


def _needs_aged(store: xr.DataTree) -> None:
    table = table_of(store, "particles")
    if "aged" not in table.step.values:
        raise AnalysisError(f"no state is of step aged; there are {listed(table)}")


PANELS = (
    Panel(
        "4d_intensity_of_deciles",
        "Mean pixel intensity by size",
        "Mean grey level of the tracked particles, by decile of their radius in the reference state; the smallest four "
        f"have too few voxels and are left out. {CAPTION_BARS} Dashed and hollow: discharge and aged.",
        collect_intensity_of_deciles,
        draw_intensity_of_deciles,
        frame_of,
    ),
    Panel(
        "4e_aged_intensity",
        "RMPI, with the states after cycling",
        "As RMPI above, with the states after further cycles, which are shaded.",
        collect_aged_intensity,
        draw_relative_intensity,
        frame_of,
    ),
    Panel(
        "4f_aged_by_size",
        "RMPI per volume, by size, with the states after cycling",
        "As RMPI per volume above, with the states after further cycles, which are shaded.",
        collect_aged_by_size,
        draw_intensity_by_size,
        frame_of,
    ),
)
