"""How all figures look: sizes, colours that survive printing and colour blindness, and the axis of states."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure

from crackdask.analysis.parameters import AnalysisError

P = ParamSpec("P")

WIDTH = 7.2  # inches; two columns of a journal
#: Okabe and Ito's colours.
BLUE, ORANGE, GREEN, VERMILION, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY = "#5F6368"
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 6,
    "text.parse_math": False,  # a state's name may hold a dollar
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "crackdask",
}


@dataclass(frozen=True)
class Panel:
    """A figure and the numbers behind it.

    Attributes
    ----------
    name
        Of its files.
    title
        A few words.
    caption
        What it shows, with the definitions that a reader needs.
    collect
        Takes the store and returns the numbers that are drawn.
    draw
        Takes these numbers and returns the figure.
    frame
        Takes these numbers and returns them as a table.
    from_damage
        Whether `collect` also takes what :func:`crackdask.analyse.damage` returned.
    """

    name: str
    title: str
    caption: str
    collect: Callable[[Any], xr.Dataset]
    draw: Callable[[xr.Dataset], Figure]
    frame: Callable[[xr.Dataset], pd.DataFrame]
    from_damage: bool = False


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in this style, whatever the settings of the user's matplotlib are."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return drawn


@contextmanager
def style() -> Iterator[None]:
    """Have matplotlib's own settings and the style of the figures, for a while."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in _STYLE.items():
            mpl.rcParams[name] = value
        yield


def figure(width: float = WIDTH, height: float = 3.4) -> Figure:
    """Return an empty figure, in inches, whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts are Python's, so that each library can write it."""
    texts = {
        str(name): frame[name].astype(str).astype(object) for name in frame.select_dtypes(exclude=["number", "bool"])
    }
    return frame.assign(**texts)


def state_names(numbers: xr.Dataset) -> list[str]:
    """Return the names of the states in their order."""
    return [str(name) for name in numbers.state.values]


def short(name: str, width: int = 12, lines: int = 2) -> str:
    r"""Return a name on a few short lines; of a longer one the beginning and the end, where names differ.

    >>> short("4.2 V"), short("discharged to 2.5 V after ten cycles", 14)
    ('4.2 V', 'discharged to\n…er ten cycles')
    >>> short("discharged to 2.5 V after ten cycles", 14, 1)
    'dischar…cycles'
    """
    wrapped = textwrap.wrap(name, width)
    if len(wrapped) <= lines:
        return "\n".join(wrapped) or name[:width]
    if lines == 1:
        return f"{name[: width // 2].rstrip()}…{name[-(width - width // 2 - 1) :].lstrip()}"
    return "\n".join([*wrapped[: lines - 1], f"…{name[1 - width :].lstrip()}"])


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


def key(made: Figure | SubFigure, axes: Axes) -> None:
    """Draw the legend of some axes below the figure, in as many columns as have room, at most 7."""
    handles, labels = axes.get_legend_handles_labels()
    widest = max(len(label) for label in labels)
    room = int((WIDTH - 0.2) / (0.07 * widest + 0.42))
    made.legend(handles, labels, loc="outside lower center", ncols=max(1, min(len(labels), room, 7)))


def ramp(count: int, name: str = "viridis") -> list[tuple[float, float, float]]:
    """Return colours that get lighter in steps, none too light for white paper."""
    shades = mpl.colormaps[name](np.linspace(0.0, 0.88, max(count, 1)))
    return [(float(r), float(g), float(b)) for r, g, b, _ in shades]


def readable_on(colour: Any) -> str:
    """Return the colour of text that can be read on a colour.

    >>> readable_on("#000000"), readable_on("#ffffff")
    ('white', 'black')
    """
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


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
