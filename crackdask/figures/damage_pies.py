"""Which particles are damaged when, and which heal, as pies (paper, Fig. 3a to d)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from crackdask import analyse
from crackdask.analysis.damage import StoreOrDamage
from crackdask.figures.panel import Panel
from crackdask.figures.pie_chart import pie
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import BLUE, ORANGE, SKY, WIDTH, figure, plain, ramp, short, styled


def extreme_states(source: StoreOrDamage, **parameters: Any) -> Figure:
    """Draw the states in which particles are least and most damaged, as two pies (paper, Fig. 3a and b).

    Parameters
    ----------
    source
        What ``crackdask.open`` or :func:`crackdask.analyse.damage` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_extreme_states(analyse.extremes(source, **parameters))


def damaged_on_charge(source: StoreOrDamage, **parameters: Any) -> Figure:
    """Draw which particles were damaged on charge, as a pie (paper, Fig. 3c).

    Arguments and errors are those of :func:`extreme_states`.
    """
    return draw_damaged_on_charge(collect_damaged_on_charge(source, **parameters))


def collect_damaged_on_charge(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return the particles damaged at the top of charge, at another charged state only, and never."""
    damaged = analyse.damaged_on_charge(source, **parameters)
    top, anywhere = damaged.at_top.values, damaged.anywhere.values
    words = [f"damaged at {damaged.attrs['top']}", "damaged in another charged state only", "not damaged on charge"]
    return _parts(words, [int(top.sum()), int((anywhere & ~top).sum()), int((~anywhere).sum())])


def healed_on_discharge(source: StoreOrDamage, **parameters: Any) -> Figure:
    """Draw which particles healed between the top of charge and the last discharge, as a pie (paper, Fig. 3d).

    Arguments and errors are those of :func:`extreme_states`.
    """
    return draw_healed_on_discharge(collect_healed_on_discharge(source, **parameters))


def collect_healed_on_discharge(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return the particles less damaged after the last discharge than at the top of charge, and the others."""
    healing = analyse.healed_on_discharge(source, **parameters)
    words = [f"healed: less damaged at {healing.attrs['last']} than at {healing.attrs['top']}", "not healed"]
    return _parts(words, [int(healing.healed.values.sum()), int((~healing.healed.values).sum())])


def _parts(words: list[str], count: list[int]) -> xr.Dataset:
    number = np.array(count)
    return xr.Dataset(
        {"count": ("part", number), "share": ("part", number / number.sum())},
        {"part": np.array(words, dtype=object)},
    )


@styled
def draw_extreme_states(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`crackdask.analyse.extremes` returned."""
    names = [short(str(name), 24, 1) for name in numbers.state.values]
    page = figure(height=max(3.0, 0.2 * len(names) + 2.6))
    colours = ramp(len(names))
    for axes, word in zip(page.subplots(1, 2), ("least", "most"), strict=True):
        pie(axes, numbers[f"{word}_count"].values, names, colours, discharged(numbers))
        axes.set_title(f"state of {word} damage")
    return page


@styled
def draw_damaged_on_charge(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_damaged_on_charge` returned."""
    return _single(numbers, [BLUE, SKY, "#D9D9D9"])


@styled
def draw_healed_on_discharge(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_healed_on_discharge` returned."""
    return _single(numbers, [ORANGE, "#D9D9D9"])


def _single(numbers: xr.Dataset, colours: list[Any]) -> Figure:
    page = figure(WIDTH / 2, 3.1)
    pie(page.add_subplot(), numbers["count"].values, [short(str(p), 42) for p in numbers.part.values], colours)
    return page


def _states(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["least_count", "least_share", "most_count", "most_share"]
    return plain(numbers[names].to_dataframe().reset_index())


def _part_rows(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


PANELS = (
    Panel(
        "3ab_extreme_states",
        "States of least and of most damage",
        "The state in which each tracked particle has its lowest and its highest damage factor; the earlier one of "
        "equals. Discharge and aged are hatched.",
        analyse.extremes,
        draw_extreme_states,
        _states,
        from_damage=True,
    ),
    Panel(
        "3c_damaged_on_charge",
        "Damaged on charge",
        "Tracked particles with a higher damage factor on charge than in the reference state. Without any real change "
        "noise alone would call about half of them damaged at the top of charge.",
        collect_damaged_on_charge,
        draw_damaged_on_charge,
        _part_rows,
        from_damage=True,
    ),
    Panel(
        "3d_healed_on_discharge",
        "Healed on discharge",
        "Tracked particles with a lower damage factor after the last discharge than at the top of charge. Without any "
        "real change noise alone would call about half of them healed.",
        collect_healed_on_discharge,
        draw_healed_on_discharge,
        _part_rows,
        from_damage=True,
    ),
)
