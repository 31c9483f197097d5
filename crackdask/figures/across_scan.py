"""Grey levels across each scan: slow trends, and what flattening left of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import GREY, figure, key, plain, ramp, short, styled

_ROUNDS = ("before", "after")


def levels_across_scan(store: xr.DataTree) -> Figure:
    """Draw the solid's level along z, y and x of each scan, before and after flattening.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If the store does not tell it, or no scan shows two phases.
    """
    return draw_levels_across_scan(collect_levels_across_scan(store))


def collect_levels_across_scan(store: xr.DataTree) -> xr.Dataset:
    """Return `level`, (state, round, axis, place): off its mean, as a share of the contrast.

    Rounds are "before" and "after" flattening, NaN where it was not asked for; `place` is the middle of each quarter of
    a scan, from 0 to 1.
    """
    told = store.attrs.get("found", {}).get("across_scan")
    if not told:
        raise AnalysisError("the store is of before levels across scans were kept: run it again")
    table = table_of(store, "particles")
    names = state_names(table)
    places = max(len(row) for rounds in told.values() for axes in rounds.values() for row in axes.values())
    level = np.full((len(names), 2, 3, places), np.nan)
    for s, name in enumerate(names):
        for r, when in enumerate(_ROUNDS):
            for k, axis in enumerate("zyx"):
                row = told.get(name, {}).get(when, {}).get(axis, [])
                level[s, r, k, : len(row)] = [np.nan if each is None else each for each in row]
    if not np.isfinite(level).any():
        raise AnalysisError("no scan shows two phases in enough places to tell levels across it")
    along = {name: table[name] for name in ("state", "voltage", "step", "cycle") if name in table.coords}
    return xr.Dataset(
        {"level": (("state", "round", "axis", "place"), level)},
        {**along, "round": list(_ROUNDS), "axis": list("zyx"), "place": (np.arange(places) + 0.5) / places},
    )


@styled
def draw_levels_across_scan(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_levels_across_scan` returned: a row for each round, a column for each axis."""
    shown = [when for when in _ROUNDS if np.isfinite(numbers.level.sel(round=when)).any()]
    page = figure(height=0.9 + 2.1 * len(shown) + 0.1 * numbers.sizes["state"])
    panes = page.subplots(len(shown), 3, squeeze=False, sharex=True, sharey=True)
    for row, when in zip(panes, shown, strict=True):
        for axes, axis in zip(row, "zyx", strict=True):
            _lines(axes, numbers.level.sel(round=when, axis=axis), numbers)
            axes.set_xlabel(f"along {axis} (share of the scan)")
        row[0].set_ylabel(f"{when + ' flattening: ' if len(shown) > 1 else ''}solid\n(% of the contrast)")
    panes[0, 0].set(xlim=(0, 1), xticks=[0.25, 0.5, 0.75])
    key(page, panes[0, 0])
    return page


def _lines(axes: Axes, levels: xr.DataArray, numbers: xr.Dataset) -> None:
    axes.axhline(0, color=GREY, lw=0.8)
    names, hollow = state_names(numbers), discharged(numbers)
    for s, colour in enumerate(ramp(len(names))):
        line: Any = {"ls": "--" if hollow[s] else "-", "mfc": "white" if hollow[s] else colour}
        values = 100 * levels.isel(state=s).values
        axes.plot(numbers.place.values, values, "o", color=colour, ms=3.5, label=short(names[s], 24, 1), **line)


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


PANELS = (
    Panel(
        "levels_across_scan",
        "Grey levels across each scan",
        "The level of the brightest phase in quarters of each scan along z, y and x, off its mean, as a share of the "
        "contrast of solid and background. What all states share cancels in changes; what one alone has does not. "
        "With flatten = true the second row is what is left. Dashed lines are discharge and aged.",
        collect_levels_across_scan,
        draw_levels_across_scan,
        _frame,
    ),
)
