"""Grey levels from state to state (paper, Fig. 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import along_states, series, shade_aged
from crackdask.figures.style import BLUE, GREY, VERMILION, figure, plain, ramp, styled

_WORDS = {
    "full": "whole particle",
    "core": "core (deeper half of the shells)",
    "phase_removed": "without the bright rim",
}
_COLUMNS = ["mean", "standard_error", "error_bar", "particles"]
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CAPTION_BARS = "Bars are two standard errors over particles."
_NOT_DRAWN = "no tracked particle is large enough for"


def mean_intensity(store: xr.DataTree, **parameters: Any) -> Figure:
    """Draw the mean pixel intensity in every state, of whole particles and of their cores (paper, Fig. 2a).

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
    return draw_mean_intensity(collect_mean_intensity(store, **parameters))


def collect_mean_intensity(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the mean pixel intensity of whole particles and cores, in the states before ageing."""
    return some(_young(analyse.intensity(store, **parameters).sel(region=["full", "core"])).compute())


def relative_intensity(store: xr.DataTree, **parameters: Any) -> Figure:
    """Draw the relative mean pixel intensity, of whole particles and without their bright rims (paper, Fig. 2b).

    Arguments and errors are those of :func:`mean_intensity`.
    """
    return draw_relative_intensity(collect_relative_intensity(store, **parameters))


def collect_relative_intensity(store: xr.DataTree, aged: bool = False, **parameters: Any) -> xr.Dataset:
    """Return the relative mean pixel intensity of whole particles and without their rims."""
    averages = analyse.rmpi(store, **parameters).sel(region=["full", "phase_removed"])
    return some((averages if aged else _young(averages)).compute())


def _young(numbers: xr.Dataset) -> xr.Dataset:
    """Leave out the aged states, as the paper's Fig. 2 does; not where fewer than two would stay."""
    kept = np.flatnonzero(numbers.step.values != "aged")
    return numbers.isel(state=kept) if kept.size > 1 else numbers


def intensity_by_size(store: xr.DataTree, smallest: int = 5, **parameters: Any) -> Figure:
    """Draw the relative mean pixel intensity per volume, decile by decile (paper, Fig. 2c).

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    smallest
        Deciles that are left out, the smallest particles: they have too few voxels.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.
    """
    return draw_intensity_by_size(collect_intensity_by_size(store, smallest, **parameters))


def collect_intensity_by_size(
    store: xr.DataTree, smallest: int = 5, aged: bool = False, **parameters: Any
) -> xr.Dataset:
    """Return the relative mean pixel intensity per volume of the larger deciles."""
    if not 0 <= smallest < 10:
        raise AnalysisError(f"of ten deciles 0 to 9 can be left out, not {smallest}")
    averages = analyse.rmpi_per_volume(store, **parameters).isel(decile=slice(smallest, None))
    averages = (averages if aged else _young(averages)).compute()
    if not np.isfinite(averages["mean"].values).any():
        raise AnalysisError(f"{_NOT_DRAWN} the region without the bright rim; lower rim_shells")
    return averages


def some(numbers: xr.Dataset) -> xr.Dataset:
    """Return averages, if every region has one."""
    for region in numbers.region.values:
        if not np.isfinite(numbers["mean"].sel(region=region).values).any():
            raise AnalysisError(f"{_NOT_DRAWN} the region {_WORDS[str(region)]!r}")
    return numbers


@styled
def draw_mean_intensity(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_mean_intensity` returned."""
    return _regions(numbers, "mean grey level (of 255)", zero=False)


@styled
def draw_relative_intensity(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_relative_intensity` returned."""
    return _regions(numbers, "RMPI (grey levels of 255)", zero=True)


def _regions(numbers: xr.Dataset, label: str, zero: bool) -> Figure:
    page = figure()
    axes = page.add_subplot()
    if zero:
        axes.axhline(0, color=GREY, lw=0.8, ls=":")
    for name, colour, marker, shift in zip(
        numbers.region.values, (BLUE, VERMILION), ("o", "s"), (-0.06, 0.06), strict=True
    ):
        here = numbers.sel(region=name)
        count = int(here.particles.values.min())
        series(axes, here, f"{_WORDS[str(name)]}, {count} particles", colour, marker, shift)
    along_states(axes, state_names(numbers))
    shade_aged(axes, numbers)
    axes.set_ylabel(label)
    axes.margins(y=0.1)
    page.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return page


@styled
def draw_intensity_by_size(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_intensity_by_size` returned."""
    page = figure(height=3.8)
    axes = page.add_subplot()
    axes.axhline(0, color=GREY, lw=0.8, ls=":")
    deciles = numbers.decile.values
    power, prefix = _thousands(float(np.nanmax(np.abs(numbers["mean"].values))))
    scaled = numbers.assign({name: numbers[name] / power for name in ("mean", "error_bar")})
    shifts = np.linspace(-0.25, 0.25, deciles.size) if deciles.size > 1 else [0.0]
    for decile, colour, marker, shift in zip(deciles, ramp(deciles.size), "osD^vP<>Xh", shifts, strict=False):
        here = scaled.sel(decile=decile)
        series(axes, here, f"decile {decile}", colour, marker, float(shift))
    along_states(axes, state_names(numbers))
    shade_aged(axes, numbers)
    axes.set_ylabel(f"RMPI per volume ({prefix}grey levels mm⁻³)")
    axes.margins(y=0.1)
    page.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return page


def _thousands(largest: float) -> tuple[float, str]:
    """Return a power of 1000 that leaves short numbers, and how to write it.

    >>> _thousands(3.2e8), _thousands(40.0)
    ((1000000.0, '10⁶ '), (1.0, ''))
    """
    exponent = int(np.floor(np.log10(largest) / 3)) * 3 if largest > 0 else 0
    return 10.0**exponent, f"10{str(exponent).translate(_RAISED)} " if exponent else ""


def frame_of(numbers: xr.Dataset) -> pd.DataFrame:
    """Return averages as a table."""
    kept = [*_COLUMNS, *(["volume_mm3"] if "volume_mm3" in numbers else [])]
    return plain(numbers[kept].to_dataframe().reset_index())


PANELS = (
    Panel(
        "2a_mean_intensity",
        "Mean pixel intensity",
        "Mean grey level of the tracked particles: whole, and in the core. Filled: pristine and charge; hollow: "
        f"discharge. {CAPTION_BARS}",
        collect_mean_intensity,
        draw_mean_intensity,
        frame_of,
    ),
    Panel(
        "2b_relative_intensity",
        "Relative mean pixel intensity (RMPI)",
        "Each particle's mean grey level minus its own in the reference state, averaged; below 0 is darker, so more "
        f"damaged. {CAPTION_BARS} Filled: pristine and charge; hollow: discharge.",
        collect_relative_intensity,
        draw_relative_intensity,
        frame_of,
    ),
    Panel(
        "2c_intensity_by_size",
        "RMPI per volume, by size",
        "RMPI without the bright rim, over the mean rim-free volume of the decile's particles; decile 10 has the "
        "largest. The smallest five have too few voxels and are left out. Bars are two standard errors. States are "
        "drawn side by side only to keep the bars apart.",
        collect_intensity_by_size,
        draw_intensity_by_size,
        frame_of,
    ),
)
