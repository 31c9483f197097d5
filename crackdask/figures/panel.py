"""What a figure consists of: numbers that are collected, a drawing, a table, and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure


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
    group
        Group of the store without which a report passes over it in silence; by default it says why it is not drawn.
    explored
        Takes the numbers and returns what shows the same in the explorer, as the address of its page tells it
        (``particle=17&solid=all``); by default nothing does.
    listed
        Takes the numbers and returns what stands below the figure: words, and what there is to say of each; by default
        nothing does.
    """

    name: str
    title: str
    caption: str
    collect: Callable[[Any], xr.Dataset]
    draw: Callable[[xr.Dataset], Figure]
    frame: Callable[[xr.Dataset], pd.DataFrame]
    from_damage: bool = False
    group: str = ""
    explored: Callable[[xr.Dataset], str] | None = None
    listed: Callable[[xr.Dataset], Sequence[tuple[str, str]]] | None = None
