"""How tomograms were made of projections: where the axis was found, what ring removal did, pixels that tell nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    figure,
    key,
    plain,
    ramp,
    short,
    styled,
)
from crackdask.figures.volume_slices import bare

#: The group of the store that all of these draw.
GROUP = "reconstruction"
_MEASURES = (
    ("spread", "candidate", "spread of edges\n(share of the largest)"),
    ("mismatch", "mirrored", "mismatch of opposite views\n(share of the largest)"),
    ("likeness", "overlaid", "correlation of the first\nand the opposite view (1)"),
)
_PIXELS = {"saturated": VERMILION, "starved": BLUE, "zingers": ORANGE, "missing": GREY}
_COLUMNS = {"dead": PINK, "stuck": GREEN, "lost": SKY}
_ACROSS = 5


def rotation_center(store: xr.DataTree) -> Figure:
    """Draw what was tried as the center of rotation in each state, and what two methods found row by row.

    Raises
    ------
    AnalysisError
        If no state was reconstructed from projections, or the recipe gave all centers.
    """
    return draw_rotation_center(collect_rotation_center(store))


def center_strip(store: xr.DataTree, state: str | None = None) -> Figure:
    """Draw one slice about the found center and others beside it, to be judged by eye.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    state
        Of which state; the first whose center was searched unless told.

    Raises
    ------
    AnalysisError
        If there is none.
    """
    return draw_center_strip(collect_center_strip(store, state))


def ring_removal(store: xr.DataTree, state: str | None = None) -> Figure:
    """Draw a sinogram and its slice before and after ring removal.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    state
        Of which state; the first that has them unless told.

    Raises
    ------
    AnalysisError
        If there is none.
    """
    return draw_ring_removal(collect_ring_removal(store, state))


def detector_flaws(store: xr.DataTree) -> Figure:
    """Draw how many pixels and columns of the detector told nothing, row by row.

    Raises
    ------
    AnalysisError
        If no state was reconstructed from projections.
    """
    return draw_detector_flaws(collect_detector_flaws(store))


def _made(store: xr.DataTree, names: Sequence[str], there: str, why: str) -> xr.Dataset:
    """Return variables of the states that have one of them."""
    if GROUP not in store.children:
        raise AnalysisError("no state was reconstructed from projections")
    table = table_of(store, GROUP)
    values = table[there]
    has = np.isfinite(values.values).any(axis=tuple(range(1, values.ndim))) if values.size else np.zeros(0, bool)
    if not has.any():
        raise AnalysisError(why)
    kept = np.flatnonzero(has)
    return table[list(names)].isel(state=kept).load()


def _one(made: xr.Dataset, state: str | None) -> xr.Dataset:
    names = state_names(made)
    if state is not None and state not in names:
        raise AnalysisError(f"state {state!r} has none; those that have are {', '.join(map(repr, names))}")
    number = names.index(state) if state else 0
    return made.isel(state=[number])


def collect_rotation_center(store: xr.DataTree) -> xr.Dataset:
    """Return the measures over the centers that were tried, and what was found in each row that was searched."""
    names = ("center", "searched_row", "sweep", "opposite", *dict.fromkeys(v for pair in _MEASURES for v in pair[:2]))
    return _made(store, names, "sweep", "the recipe gives the center of each state, and none was searched")


@styled
def draw_rotation_center(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_rotation_center` returned."""
    names = state_names(numbers)
    page = figure(height=5.2 + 0.05 * len(names))
    panes = page.subplots(2, 2).ravel()
    shades = ramp(len(names))
    for axes, (measure, tried, words) in zip(panes, _MEASURES, strict=False):
        for k, name in enumerate(names):
            here = numbers.isel(state=k)
            axes.plot(here[tried].values, here[measure].values, color=shades[k], label=short(name, 24, 1))
            axes.axvline(float(np.nanmedian(here.center)), color=shades[k], lw=0.7, ls=":")
        axes.set(xlabel="center (detector column)", ylabel=words)
    rows = panes[3]
    for k in range(len(names)):
        here = numbers.isel(state=k)
        rows.plot(here.sweep.values, here.searched_row.values, "o", color=shades[k], ms=5)
        rows.plot(here.opposite.values, here.searched_row.values, "x", color=shades[k], ms=5)
        rows.plot(here.center.values, np.arange(here.sizes["row"]), color=shades[k], lw=0.8)
    rows.set(xlabel="center (detector column)", ylabel="row (of the tomogram)")
    rows.ticklabel_format(useOffset=False)
    rows.locator_params(axis="x", nbins=5)
    rows.invert_yaxis()
    key(page, panes[0])
    return page


def _found(numbers: xr.Dataset) -> pd.DataFrame:
    parts = [numbers[["searched_row", "sweep", "opposite"]].to_dataframe().reset_index()]
    parts += [numbers[[tried, *those]].to_dataframe().reset_index() for tried, those in (
        ("candidate", ["spread"]), ("mirrored", ["mismatch"]), ("overlaid", ["likeness"]),
    ) if numbers[tried].size]  # fmt: skip
    frame = pd.concat(parts, ignore_index=True)
    return plain(
        frame.drop(columns=["searched", "tried", "mirror", "overlay", "voltage", "step", "cycle"], errors="ignore")
    )


def collect_center_strip(store: xr.DataTree, state: str | None = None) -> xr.Dataset:
    """Return the middle of one slice about some centers, `strip`, of one state."""
    why = "the recipe gives the center of each state, and none was searched"
    return _one(_made(store, ("strip", "strip_center", "center", "sweep"), "strip", why), state)


@styled
def draw_center_strip(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_center_strip` returned."""
    here = numbers.isel(state=0)
    there = np.flatnonzero(np.isfinite(here.strip_center.values))
    down = -(-len(there) // _ACROSS)
    page = figure(height=1.65 * down + 0.3)
    panes = page.subplots(down, _ACROSS, squeeze=False).ravel()
    low, high = np.nanpercentile(here.strip.values[there], [0.5, 99.5])
    found = float(np.nanmedian(here.center))
    nearest = there[int(np.argmin(np.abs(here.strip_center.values[there] - found)))]
    for axes, k in zip(panes, there, strict=False):
        axes.imshow(here.strip.values[k], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        bare(axes)
        axes.set_title(f"{float(here.strip_center[k]):.2f}", weight="bold" if k == nearest else "normal")
    for axes in panes[len(there) :]:
        axes.remove()
    page.supxlabel(f"center (detector column), {short(state_names(numbers)[0], 24, 1)}; bold: found", fontsize=8)
    return page


def _strip_rows(numbers: xr.Dataset) -> pd.DataFrame:
    here = numbers.isel(state=0)
    contrast = here.strip.std(("strip_y", "strip_x"))
    frame = pd.DataFrame({"center": here.strip_center.values, "standard_deviation": contrast.values})
    return plain(frame.dropna().assign(state=state_names(numbers)[0]))


def collect_ring_removal(store: xr.DataTree, state: str | None = None) -> xr.Dataset:
    """Return `sinogram` and `slice` of one row before and after ring removal, of one state."""
    why = "the recipe leaves rings as they are"
    return _one(_made(store, ("sinogram", "slice", "example_row"), "example_row", why), state)


@styled
def draw_ring_removal(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_ring_removal` returned."""
    here = numbers.isel(state=0)
    page = figure(height=6.2)
    panes = page.subplots(2, 2, height_ratios=[2, 3])
    for row, name in enumerate(("sinogram", "slice")):
        values = _whole(here[name].values)
        low, high = np.percentile(values[1], [0.5, 99.5])
        for axes, image, when in zip(panes[row], values, here.rings.values, strict=True):
            shown = axes.imshow(
                image, cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect="equal" if row else "auto"
            )
            axes.set_title(f"{name} {when}")
            if row:
                bare(axes)
            else:
                axes.set(xticks=[], yticks=[], xlabel="column (of the middle)", ylabel="angle (in order)")
        words = "attenuation (1 / voxel)" if row else "attenuation (1)"
        page.colorbar(shown, ax=panes[row].tolist(), label=words, aspect=25 if row else 15)
    return page


def _whole(images: np.ndarray) -> np.ndarray:
    """Return images without the NaN that another state's larger ones leave at their ends."""
    rows, columns = (np.isfinite(images[0]).any(axis=axis) for axis in (1, 0))
    return images[:, rows][:, :, columns]


def _ring_rows(numbers: xr.Dataset) -> pd.DataFrame:
    """Return what the mean of each column tells before and after: stripes are in it."""
    here = numbers.isel(state=0)
    means = _whole(here.sinogram.values).mean(axis=1)
    frame = pd.DataFrame({"column": np.arange(means.shape[1]), "mean_before": means[0], "mean_after": means[1]})
    return plain(frame.assign(state=state_names(numbers)[0], row=int(here.example_row)))


def collect_detector_flaws(store: xr.DataTree) -> xr.Dataset:
    """Return `flaws` (state, row, flaw): pixels of the kept projections, or columns."""
    return _made(store, ("flaws",), "flaws", "no state was reconstructed from projections")


@styled
def draw_detector_flaws(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_detector_flaws` returned, means over the states."""
    page = figure(height=3.2)
    mean = numbers.flaws.mean("state")
    for axes, colours, unit in zip(page.subplots(1, 2), (_PIXELS, _COLUMNS), ("pixels", "columns"), strict=True):
        _by_row(axes, mean, colours)
        axes.set(xlabel="row (of the tomogram)", ylabel=f"{unit} (mean of the states)")
    return page


def _by_row(axes: Axes, mean: xr.DataArray, colours: dict[str, str]) -> None:
    for name, colour in colours.items():
        values = mean.sel(flaw=name).values
        axes.plot(np.arange(len(values)), values, color=colour, label=f"{name}, {values.sum():.4g} in all")
    axes.set_ylim(bottom=0, top=1.5 * max(1.0, float(mean.sel(flaw=list(colours)).max())))
    axes.legend(loc="upper left", ncols=1)


def _flaw_rows(numbers: xr.Dataset) -> pd.DataFrame:
    frame = numbers.flaws.to_series().unstack("flaw").reset_index()
    return plain(frame.rename(columns=str))


PANELS = (
    Panel(
        "rotation_center",
        "Reconstruction: the center of rotation",
        "What was tried as the center, before a slice was believed. Above: how evenly the edges of slices about it are "
        "spread, and the mismatch of half a turn with its mirror image; both are least at the true center. Below left: "
        "the correlation of the first view with the opposite one, mirrored, which is greatest there. Dotted: "
        "the center that was taken. Below right: what reconstructions (dots) and opposite views (crosses) found "
        "in each row, and the center that was taken (line).",
        collect_rotation_center,
        draw_rotation_center,
        _found,
        group=GROUP,
    ),
    Panel(
        "center_strip",
        "Reconstruction: slices beside the found center",
        "The middle of one slice about the center that was found (bold) and about others. Off the center, points "
        "become arcs; if another of these is sharper, give its number as center under [reconstruct].",
        collect_center_strip,
        draw_center_strip,
        _strip_rows,
        group=GROUP,
    ),
    Panel(
        "ring_removal",
        "Reconstruction: what ring removal did",
        "The middle columns of one sinogram, and the middle of its slice, before and after. What is gone besides "
        "straight stripes and rings is harm: choose another of rings under [reconstruct].",
        collect_ring_removal,
        draw_ring_removal,
        _ring_rows,
        group=GROUP,
    ),
    Panel(
        "detector_flaws",
        "Reconstruction: pixels that tell nothing",
        "Left: pixels of the kept projections that were full (saturated), where no photon came through (starved), that "
        "a stray photon hit (zingers), or that are no number (missing). Right: columns that are dead, stuck at one "
        "count, or mostly full or missing (lost); they are interpolated.",
        collect_detector_flaws,
        draw_detector_flaws,
        _flaw_rows,
        group=GROUP,
    ),
)
