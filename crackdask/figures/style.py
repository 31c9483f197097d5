"""How all figures look: sizes, colours that survive printing and colour blindness, and words that fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure

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


def key(page: Figure | SubFigure, axes: Axes) -> None:
    """Draw the legend of some axes below the figure, in as many columns as have room, at most 7."""
    handles, labels = axes.get_legend_handles_labels()
    widest = max(len(label) for label in labels)
    room = int((WIDTH - 0.2) / (0.07 * widest + 0.42))
    page.legend(handles, labels, loc="outside lower center", ncols=max(1, min(len(labels), room, 7)))


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
