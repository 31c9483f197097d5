"""One slice of a crop under each value that was tried, with the outlines of its particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crackdask.figures.style import ORANGE, SKY, VERMILION, WIDTH, figure, styled
from crackdask.figures.volume_slices import bare, edges


@dataclass(frozen=True)
class Picture:
    """What is shown of a value: a title, and a slice (y, x) of grey levels and labels, or why there is none."""

    title: str
    grey: NDArray[np.uint8] | None = None
    label: NDArray[np.uint32] | None = None
    error: str = ""


@styled
def draw_preview(pictures: Sequence[Picture], across: int, heading: str) -> Figure:
    """Draw pictures row by row, all on one grey scale; outlines that differ from the first picture's stand out.

    Parameters
    ----------
    pictures
        At least one.
    across
        Of them in a row.
    heading
        Over all of them.
    """
    down = -(-len(pictures) // across)
    shown = [each.grey for each in pictures if each.grey is not None]
    shape = shown[0].shape[0] / shown[0].shape[1] if shown else 1.0
    width = max(WIDTH, 2.2 * across)
    page = figure(width=width, height=down * (width / across * shape + 0.3) + 0.4)
    panes = page.subplots(down, across, squeeze=False).ravel()
    inside = np.concatenate([grey[grey > 0] for grey in shown]) if shown else np.zeros(0)
    low, high = np.percentile(inside, [0.5, 99.8]) if inside.size else (0.0, 255.0)
    for k, axes in enumerate(panes):
        if k >= len(pictures):
            axes.remove()
            continue
        _draw(axes, pictures[k], pictures[0], float(low), float(high))
    page.suptitle(heading, fontsize=10)
    return page


def _draw(axes: Axes, picture: Picture, first: Picture, low: float, high: float) -> None:
    axes.set_title(picture.title, fontsize=8)
    bare(axes)
    if picture.grey is None or picture.label is None:
        axes.text(
            0.5, 0.5, picture.error, ha="center", va="center", fontsize=7, wrap=True, transform=axes.transAxes,
        )  # fmt: skip
        return
    axes.imshow(picture.grey, cmap="gray", vmin=low, vmax=max(high, low + 1), interpolation="nearest")
    paint, mine = np.zeros((*picture.label.shape, 4)), edges(picture.label)
    paint[mine] = (*to_rgb(ORANGE), 1.0)
    if first.label is not None:
        theirs = edges(first.label)
        paint[mine & ~theirs] = (*to_rgb(VERMILION), 1.0)
        paint[theirs & ~mine] = (*to_rgb(SKY), 1.0)
    axes.imshow(paint, interpolation="nearest")
