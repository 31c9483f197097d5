"""Grey levels of every state, with the window and the threshold: whether scans drift, and what was cut off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import discharged
from crackdask.figures.style import GREY, VERMILION, figure, key, plain, ramp, short, styled
from crackdask.figures.volume_slices import volumes_of
from crackdask.schema import GREY_LEVELS

#: What the numbers above the grey levels are, and their unit.
_RAW = {"counts": ("raw value of the scans", "counts"), "attenuation": ("attenuation in the scans", "1 / voxel")}
_BOX, _BOXES = 64, 2  # the histogram is taken from cubes of this edge, at most so many along each axis


def grey_histogram(store: xr.DataTree) -> Figure:
    """Draw the histogram of grey levels of every state, with the grey window and the threshold.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_grey_histogram(collect_grey_histogram(store))


def collect_grey_histogram(store: xr.DataTree) -> xr.Dataset:
    """Return the grey levels of cubes spread over each state: `voxels`, and those `outside` of particles.

    Along (state, grey), without voxels outside the scan; `smooth_share`, the share of `voxels` as it is drawn;
    `background` and `inside`, (state,), are the peaks of grey levels outside of and within the particles, NaN where
    there is none. Attributes: `window`, `threshold`, `solid`, where the store tells them; `raw` tells whether the ends
    of the window are "counts" or "attenuation".
    """
    volumes = volumes_of(store)[["grey", "label"]]
    counts = np.zeros((2, volumes.sizes["state"], GREY_LEVELS), np.int64)
    for k in range(volumes.sizes["state"]):
        places = product(*(_cubes(volumes.sizes[axis]) for axis in "zyx"))
        cubes = [volumes.isel(state=k).isel(dict(zip("zyx", place, strict=True))) for place in places]
        for cut in dask.compute(*cubes):
            counts[0, k] += np.bincount(cut.grey.values.ravel(), minlength=GREY_LEVELS)
            counts[1, k] += np.bincount(cut.grey.values[cut.label.values == 0], minlength=GREY_LEVELS)
    counts[..., 0] = 0
    if not counts.any():
        raise AnalysisError("the parts that were looked at hold no voxel inside the scan")
    along = {name: volumes[name] for name in ("state", "voltage", "step", "cycle") if name in volumes.coords}
    histograms = xr.Dataset(
        {
            "voxels": (("state", "grey"), counts[0]),
            "smooth_share": (("state", "grey"), _smooth(counts[0])),
            "outside": (("state", "grey"), counts[1]),
            "background": ("state", [_peak(row) for row in counts[1]]),
            "inside": ("state", [_peak(row) for row in counts[0] - counts[1]]),
        },
        {**along, "grey": np.arange(GREY_LEVELS)},
    ).compute()
    measured = store.attrs.get("found", {})
    told = {name: measured[name] for name in ("window", "threshold", "solid") if name in measured}
    if "window" in told:
        told["window"], told["raw"] = _raw_window(store, told["window"])
    return histograms.assign_attrs(told)


def _raw_window(store: xr.DataTree, window: Sequence[float]) -> tuple[list[float], str]:
    """Return the ends of the grey window as what voxels of the scans were, and what that is.

    Of scans that were reconstructed in the run it is attenuation, also where their tomograms were 16-bit levels.
    """
    made = store["reconstruction"].to_dataset() if "reconstruction" in store.children else None
    if made is None or made.center.isnull().all("row").any():
        return list(window), "counts"
    if "window" in made and made.window.notnull().all():
        low, high = made.window.values[0].tolist()
        window = [low + end * (high - low) / np.iinfo(np.uint16).max for end in window]
    return list(window), "attenuation"


def _cubes(size: int) -> list[slice]:
    """Return edges of cubes along an axis: all of it, or some spread over it; each is within few chunks of the store.

    >>> _cubes(100)
    [slice(0, 64, None), slice(64, 100, None)]
    >>> [place.start for place in _cubes(640)]
    [128, 448]
    """
    number = -(-size // _BOX)
    wanted = range(number) if number <= _BOXES else [int((k + 0.5) * number / _BOXES) for k in range(_BOXES)]
    return [slice(k * _BOX, min((k + 1) * _BOX, size)) for k in wanted]


def _peak(counts: Any) -> float:
    """Return the middle of a histogram's highest peak, down to half of its height; steadier than its highest level.

    >>> _peak(np.array([0] * 20 + [1, 5, 9, 5, 1] + [0] * 20))
    22.0
    """
    smooth = np.convolve(counts, np.ones(11), mode="same")
    if not smooth.any():
        return float("nan")
    top = int(np.argmax(smooth))
    low = smooth < smooth[top] / 2
    below, above = np.flatnonzero(low[:top]), np.flatnonzero(low[top:])
    peak = slice(below[-1] + 1 if below.size else 0, top + above[0] if above.size else None)
    return float(np.average(np.arange(counts.size)[peak], weights=smooth[peak]))


def _smooth(counts: Any) -> Any:
    """Return the share of each grey level, blurred by two levels: scans of few raw values leave a comb of gaps."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    weights = np.exp(-(np.arange(-8, 9) ** 2) / 8)
    return np.array([np.convolve(row, weights / weights.sum(), mode="same") for row in share])


@styled
def draw_grey_histogram(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_grey_histogram` returned."""
    page = figure(height=3.3 + 0.1 * numbers.sizes["state"])
    axes = page.add_subplot()
    names, hollow = state_names(numbers), discharged(numbers)
    for k, colour in enumerate(ramp(len(names))):
        axes.plot(numbers.grey.values[1:], 100 * numbers.smooth_share.values[k, 1:], color=colour,
                  ls="--" if hollow[k] else "-", label=short(names[k], 24, 1))  # fmt: skip
    levels = sorted(set(numbers.attrs.get("threshold", {}).values()))
    for k, level in enumerate(levels):
        words = "threshold" if len(levels) == 1 else "thresholds"
        axes.axvline(level, color=VERMILION, lw=1.2, ls=":", label=words if k == 0 else None)
    axes.set(xlim=(0, GREY_LEVELS), xlabel="grey level (of 255)", ylabel="voxels (% per grey level)")
    axes.set_ylim(0, None)
    if "window" in numbers.attrs:
        low, high = numbers.attrs["window"]
        _window(axes, low, high, numbers.attrs["raw"])
    key(page, axes)
    return page


def _window(axes: Axes, low: float, high: float, what: str) -> None:
    """Mark the window's ends, and put raw values above the grey levels that they became."""
    step = (high - low) / (GREY_LEVELS - 2)

    def to_raw(level: Any) -> Any:
        return low + (level - 1) * step

    def to_grey(value: Any) -> Any:
        return (value - low) / step + 1

    for level in (1, GREY_LEVELS - 1):
        axes.axvline(level, color=GREY, lw=1, label="window" if level == 1 else None)
    raw = axes.secondary_xaxis("top", functions=(to_raw, to_grey))
    name, unit = _RAW[what]
    raw.set_xlabel(f"{name} ({unit}; window {low:.6g} to {high:.6g})")
    axes.spines["top"].set_visible(True)


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


PANELS = (
    Panel(
        "grey_histogram",
        "Grey levels, window and threshold",
        f"Voxels of each grey level, in all of each state or {_BOXES**3} cubes spread over it, voxels outside the scan "
        "left out; blurred by two levels. The window maps raw values to 1 and 255 in all states alike. "
        "Dashed curves are discharge and aged.",
        collect_grey_histogram,
        draw_grey_histogram,
        _frame,
    ),
)
