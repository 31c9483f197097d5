"""The cell beside its particles: voltage and current over time, capacity, and damage against both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crackdask import analyse
from crackdask.analysis.tables import state_names
from crackdask.clocks import spoken_of
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import BLUE, GREY, VERMILION, figure, key, plain, ramp, short, styled

_MOST_POINTS = 4000  # of a drawn curve


def cell_over_time(store: xr.DataTree) -> Figure:
    """Draw voltage and current of the cell over time, with the scans as bars.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If the recipe named no files of a cycler.
    """
    return draw_cell_over_time(analyse.cell_record(store))


@styled
def draw_cell_over_time(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`crackdask.analyse.cell_record` returned."""
    page = figure(height=4.2)
    above, below = page.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    kept = _few(numbers)
    hours = kept.time.values / 3600
    above.plot(hours, kept.cell_voltage.values, color=BLUE)
    below.plot(hours, kept.current.values, color=GREY)
    below.axhline(0, color="black", lw=0.6)
    high = float(numbers.cell_voltage.max())
    for state, hollow in zip(state_names(numbers), discharged(numbers), strict=True):
        here = numbers.sel(state=state)
        if not str(here.linked_by.values):
            continue
        begin, end = float(here.scan_begin) / 3600, float(here.scan_end) / 3600
        least = (hours[-1] - hours[0]) / 300
        for axes in (above, below):
            axes.axvspan(begin, max(end, begin + least), color=VERMILION, alpha=0.12 if hollow else 0.25, lw=0)
        above.annotate(
            short(state, 14, 1), ((begin + end) / 2, high), xytext=(0, 4), textcoords="offset points",
            ha="left", va="bottom", rotation=45, fontsize=7,
        )  # fmt: skip
    above.set(ylabel="voltage (V vs Li/Li⁺)")
    below.set(ylabel="current (mA)", xlabel=_since(numbers))
    return page


def _since(numbers: xr.Dataset) -> str:
    start = spoken_of(str(numbers.attrs.get("start") or ""))
    return f"time since {start} (h)" if start else "time (h)"


def _few(numbers: xr.Dataset) -> xr.Dataset:
    """Return as many rows of the record as can be seen, the first and the last among them."""
    rows = np.linspace(0, numbers.sizes["record"] - 1, min(_MOST_POINTS, numbers.sizes["record"])).astype(int)
    return numbers.isel(record=np.unique(rows))


def cell_capacity(store: xr.DataTree) -> Figure:
    """Draw voltage against capacity with the states, and the incremental capacity of each half cycle.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If the recipe named no files of a cycler.
    """
    return draw_cell_capacity(collect_cell_capacity(store))


def collect_cell_capacity(store: xr.DataTree) -> xr.Dataset:
    """Return the record of the cell with its incremental capacity along `interval`."""
    steps = analyse.incremental_capacity(store)
    return analyse.cell_record(store).merge(steps.rename(voltage="interval_voltage"), combine_attrs="override")


@styled
def draw_cell_capacity(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_cell_capacity` returned."""
    page = figure(height=3.4)
    curve, steps = page.subplots(1, 2, width_ratios=[3, 2])
    factor, unit = _of_charge(numbers)
    kept = _few(numbers)
    curve.plot(factor * kept.charge.values, kept.cell_voltage.values, color=BLUE, lw=1)
    _mark_states(curve, numbers, factor * numbers.scan_charge.values, numbers.scan_voltage.values)
    curve.set(xlabel=f"charge ({unit})", ylabel="voltage (V vs Li/Li⁺)")
    if curve.get_legend_handles_labels()[1]:
        key(page, curve)
    for direction, colour, sign in (("charge", VERMILION, 1), ("discharge", BLUE, -1)):
        mine = numbers.direction.values == direction
        for number in np.unique(numbers.half_cycle.values[mine]):
            rows = mine & (numbers.half_cycle.values == number)
            steps.plot(
                numbers.interval_voltage.values[rows], sign * factor * numbers.dq_dv.values[rows], color=colour, lw=1
            )
        if mine.any():
            steps.plot([], [], color=colour, lw=1, label=direction)
    steps.axhline(0, color="black", lw=0.6)
    steps.set(xlabel="voltage (V vs Li/Li⁺)", ylabel=f"dQ/dV ({unit}/V)")
    if steps.get_legend_handles_labels()[1]:
        steps.legend(loc="best")
    return page


def _of_charge(numbers: xr.Dataset) -> tuple[float, str]:
    """Return what takes a charge in mAh to what is drawn, and the unit of that."""
    mass = numbers.attrs.get("active_mass_mg")
    return (1000 / mass, "mAh/g") if mass else (1.0, "mAh")


def _mark_states(axes: Axes, numbers: xr.Dataset, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Mark each state whose place is known, hollow on discharge, by a cross where it is linked to no moment."""
    hollow, colours = discharged(numbers), ramp(numbers.sizes["state"])
    linked = numbers.is_linked.values if "is_linked" in numbers else np.ones(len(colours), bool)
    for k, state in enumerate(state_names(numbers)):
        if np.isfinite(x[k]) and np.isfinite(y[k]):
            face = "white" if hollow[k] else colours[k]
            axes.plot(
                x[k], y[k], "o" if linked[k] else "x", color=colours[k], mfc=face, zorder=3, label=short(state, 24, 1)
            )


def damage_against_cell(store: xr.DataTree, **parameters: Any) -> Figure:
    """Draw the mean damage of the particles against the voltage and the charge of the cell.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the recipe named no files of a cycler, or there is no damage.
    """
    return draw_damage_against_cell(analyse.damage_of_cell(store, **parameters))


@styled
def draw_damage_against_cell(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`crackdask.analyse.damage_of_cell` returned."""
    page = figure(height=3.4)
    panes = page.subplots(1, 2, sharey=True)
    factor, unit = _of_charge(numbers)
    for axes, values, label in (
        (panes[0], numbers.cell_voltage.values, "voltage (V vs Li/Li⁺)"),
        (panes[1], factor * numbers.charge.values, f"charge ({unit})"),
    ):
        known = np.isfinite(values)
        axes.plot(values[known], numbers.damage.values[known], color=GREY, lw=0.8, zorder=1)
        axes.errorbar(
            values, numbers.damage.values, numbers.error_bar.values, fmt="none", color=GREY, capsize=2.5, zorder=2
        )
        _mark_states(axes, numbers, values, numbers.damage.values)
        axes.set_xlabel(label)
    panes[0].set_ylabel("damage factor (mean)")
    key(page, panes[0])
    return page


def _links(numbers: xr.Dataset) -> list[tuple[str, str]]:
    """Return to which moment each state is linked, and why, or why to none."""
    told = zip(state_names(numbers), numbers.linked_by.values, numbers.link_reason.values, strict=True)
    return [(name, f"{'linked' if by else 'not linked'}: {reason}") for name, by, reason in told]


def _record_frame(numbers: xr.Dataset) -> pd.DataFrame:
    """Return the drawn rows of the record."""
    return plain(_few(numbers).drop_dims("state").to_dataframe().reset_index(drop=True))


def _capacity_frame(numbers: xr.Dataset) -> pd.DataFrame:
    """Return the incremental capacity, interval by interval."""
    columns = ["half_cycle", "direction", "interval_voltage", "dq_dv"]
    return plain(pd.DataFrame({name: numbers[name].values for name in columns}))


def _damage_frame(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


PANELS = (
    Panel(
        "cell_over_time",
        "The cell over time",
        "Voltage and current of the cell; bars are the scans, or the rests of the scans (paler on discharge). "
        "States without a bar are linked to no moment of the record.",
        analyse.cell_record,
        draw_cell_over_time,
        _record_frame,
        group="electrochemistry",
        listed=_links,
    ),
    Panel(
        "cell_capacity",
        "Capacity",
        "Left: voltage against the charge put in since the record began, with the states (hollow on discharge). Right: "
        "the incremental capacity of each half cycle.",
        collect_cell_capacity,
        draw_cell_capacity,
        _capacity_frame,
        group="electrochemistry",
    ),
    Panel(
        "damage_against_cell",
        "Damage against what the cell did",
        "Mean damage factor of the tracked particles, with two standard errors over particles, against the measured "
        "voltage and charge of the cell; filled on charge, hollow on discharge. A cross is a state that is linked "
        "to no moment of the cell's record, at the recipe's voltage.",
        analyse.damage_of_cell,
        draw_damage_against_cell,
        _damage_frame,
        group="electrochemistry",
    ),
)
