"""A pie with a key that can be read without its colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from crackdask.figures.style import readable_on

_LEAST_WEDGE = 0.05  # share from which a wedge has room for its percentage


def pie(axes: Axes, counts: Any, names: list[str], colours: list[Any], hatched: Any = None) -> None:
    """Draw a pie from the top, clockwise, with a key of counts and percentages below.

    Parameters
    ----------
    axes
        Where to.
    counts
        Of each part, not all 0; parts of 0 are left out of the pie, not of the key.
    names, colours
        Of each part.
    hatched
        Which parts are hatched, to be told apart in grey; none if not given.
    """
    share = counts / counts.sum()
    lines = np.where(np.zeros(len(names), bool) if hatched is None else hatched, "////", "")
    some = np.flatnonzero(counts)
    wedges = axes.pie(
        counts[some], colors=[colours[k] for k in some], startangle=90, counterclock=False,
        wedgeprops={"edgecolor": "white", "linewidth": 1}, radius=1.0,
    )[0]  # fmt: skip
    for k, wedge in zip(some, wedges, strict=True):
        wedge.set_hatch(str(lines[k]))
        if share[k] >= _LEAST_WEDGE:
            angle = np.deg2rad((wedge.theta1 + wedge.theta2) / 2)
            reach = 0.0 if some.size == 1 else 0.68
            axes.text(
                reach * np.cos(angle), reach * np.sin(angle), f"{share[k]:.0%}", ha="center", va="center",
                color=readable_on(colours[k]),
                bbox={"fc": colours[k], "ec": "none", "pad": 1} if lines[k] else None,
            )  # fmt: skip
    handles = [
        Patch(facecolor=colour, edgecolor="white", linewidth=0, hatch=str(line))
        for colour, line in zip(colours, lines, strict=False)
    ]
    labels = [f"{name}: {n} ({part:.1%})" for name, n, part in zip(names, counts, share, strict=True)]
    axes.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), handlelength=1.3, handleheight=1.1)
