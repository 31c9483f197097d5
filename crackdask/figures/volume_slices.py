"""Parts of volumes on a page: windows that are quick to read, images with a scale, outlines of particles."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from crackdask.analysis.parameters import AnalysisError
from crackdask.figures.style import ORANGE, SKY


def volumes_of(store: xr.DataTree) -> xr.Dataset:
    """Return the volumes of a store."""
    if "volumes" not in store.children:
        raise AnalysisError("the store has no volumes to cut a slice from, only tables")
    return store["volumes"].to_dataset()


def middle(volumes: xr.Dataset, most: int, axes: str = "yx") -> dict[str, slice]:
    """Return the middle of some axes, at most so many voxels long.

    A slice of the whole field would need every chunk that it cuts: of a large store, that is gigabytes.

    >>> middle(xr.Dataset(coords={"y": np.arange(10), "x": np.arange(4)}), 6)
    {'y': slice(2, 8, None), 'x': slice(0, 4, None)}
    """
    place = {}
    for axis in axes:
        size = volumes.sizes[axis]
        length = min(size, most)
        place[axis] = slice((size - length) // 2, (size - length) // 2 + length)
    return place


def extent(grey: xr.DataArray) -> tuple[float, float, float, float]:
    """Return the ends of an image in um: left, right, bottom, top."""
    (y0, y1), (x0, x1) = (_ends(grey[axis].values) for axis in "yx")
    return x0, x1, y1, y0


def _ends(centres: Any) -> tuple[float, float]:
    half = (centres[1] - centres[0]) / 2 if centres.size > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def image(axes: Axes, grey: xr.DataArray, low: float, high: float) -> Any:
    """Draw an image in grey, its pixels as they are, and return it."""
    drawn = axes.imshow(
        grey.values, cmap="gray", vmin=low, vmax=max(high, low + 1), extent=extent(grey), interpolation="nearest"
    )
    bare(axes)
    return drawn


def bare(axes: Axes) -> None:
    """Leave out ticks and the frame: a scale bar says more."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def edges(label: Any) -> Any:
    """Tell which pixels of particles lie beside another label.

    >>> edges(np.array([[0, 7, 7, 7], [0, 7, 7, 7]])).astype(int).tolist()
    [[0, 1, 0, 0], [0, 1, 0, 0]]
    """
    edge = np.zeros(label.shape, bool)
    edge[:-1] |= label[:-1] != label[1:]
    edge[1:] |= label[1:] != label[:-1]
    edge[:, :-1] |= label[:, :-1] != label[:, 1:]
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    return edge & (label > 0)


def outline(axes: Axes, cut: xr.Dataset) -> None:
    """Colour the edges of particles (variable `label`), those `tracked` in orange and the others in blue."""
    edge = edges(cut.label.values)
    paint = np.zeros((*edge.shape, 4))
    paint[edge] = (*to_rgb(SKY), 1.0)
    paint[edge & cut.tracked.values] = (*to_rgb(ORANGE), 1.0)
    axes.imshow(paint, extent=extent(cut.label), interpolation="nearest")


def scale_bar(axes: Axes, grey: xr.DataArray) -> None:
    """Draw a bar of a round length in um, about a quarter of the image."""
    x0, x1, y1, y0 = extent(grey)
    wanted = (x1 - x0) / 3
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step for step in (1, 2, 5) if step * power <= wanted) * power
    left, level = x0 + 0.05 * (x1 - x0), y1 - 0.07 * (y1 - y0)
    axes.plot([left, left + length], [level, level], color="black", lw=5, solid_capstyle="butt")
    axes.plot([left, left + length], [level, level], color="white", lw=2.5, solid_capstyle="butt")
    axes.text(
        left + length / 2, level - 0.035 * (y1 - y0), f"{length:g} µm", ha="center", va="bottom", color="black",
        bbox={"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1}, fontsize=7,
    )  # fmt: skip
