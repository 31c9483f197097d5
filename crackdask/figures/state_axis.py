"""An axis of states in electrochemical order: names, discharge and ageing marked, series along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names
from crackdask.figures.style import short


def along_states(
    axes: Axes, names: Sequence[str], label: str = "state, in electrochemical order (V vs Li/Li⁺)"
) -> None:
    """Make the horizontal axis one of states."""
    many = len(names) > 8
    axes.set_xticks(range(len(names)), [short(name) for name in names], rotation=45 if many else 0)
    if many:
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel(label)


def discharged(numbers: xr.Dataset) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each state whether it is on discharge."""
    if "step" not in numbers.coords:
        return np.zeros(numbers.sizes["state"], bool)
    return np.array([str(step) in ("discharge", "aged") for step in numbers.step.values])


def shade_aged(axes: Axes, numbers: xr.Dataset) -> None:
    """Shade the states after cycling on an axis of states, and say so."""
    steps = numbers.step.values if "step" in numbers.coords else np.full(numbers.sizes["state"], "")
    for k in np.flatnonzero(steps == "aged"):
        axes.axvspan(k - 0.5, k + 0.5, color="#F6E7C4", lw=0, zorder=0)
        axes.text(float(k), 0.99, "aged", ha="center", va="top", fontsize=8, transform=axes.get_xaxis_transform())


def telling(table: xr.Dataset, reference: str, states: Sequence[str] | None = None) -> list[str]:
    """Return these states, or the reference, the charged one of the highest voltage and the last, in their order.

    Raises
    ------
    AnalysisError
        If there is no state of some name, or none is named.
    """
    names = state_names(table)
    if states is not None:
        unknown = [name for name in states if name not in names]
        if unknown or not states:
            raise AnalysisError(f"no state is named {', '.join(map(repr, unknown))}; there are {', '.join(names)}")
        return list(states)
    charged = np.flatnonzero(table.step.values == "charge")
    top = [names[charged[int(np.argmax(table.voltage.values[charged]))]]] if charged.size else []
    wanted = {reference, *top, names[-1]}
    return [name for name in names if name in wanted]


def series(
    axes: Axes,
    numbers: xr.Dataset,
    label: str,
    colour: Any,
    marker: str,
    shift: float = 0.0,
) -> None:
    """Draw `mean` with `error_bar` state by state; hollow on discharge."""
    mean, bar, x = numbers["mean"].values, numbers.error_bar.values, np.arange(numbers.sizes["state"]) + shift
    axes.errorbar(x, mean, np.nan_to_num(bar), fmt="-", color=colour, lw=1, elinewidth=1.2, capsize=2.5, zorder=2)
    for hollow in (False, True):
        some = discharged(numbers) == hollow
        axes.plot(x[some], mean[some], marker, color=colour, mfc="white" if hollow else colour, mew=1.2, zorder=3)
    axes.plot([], [], marker + "-", color=colour, lw=1, label=label)
