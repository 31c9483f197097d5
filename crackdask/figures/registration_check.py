"""Whether the states lie on each other: residuals, and slices before and after registration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from scipy import ndimage

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.state_axis import along_states
from crackdask.figures.style import BLUE, VERMILION, WIDTH, figure, plain, short, styled
from crackdask.figures.volume_slices import image, middle, scale_bar, volumes_of

_MOST_PIXELS = 160  # along a side of a slice before and after
_ACROSS = 6


def registration(store: xr.DataTree) -> Figure:
    """Draw the residual of the registration of each state, with the limit of the recipe.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_registration(collect_registration(store))


def collect_registration(store: xr.DataTree) -> xr.Dataset:
    """Return `residual_voxels` of each state; attributes: `limit`, and the `reference` they were registered to."""
    recipe = store.attrs.get("recipe", {}).get("register", {})
    if recipe.get("transform") == "none":
        raise AnalysisError("the states were not registered (transform is none), so there is no residual")
    table = table_of(store, "transforms")[["residual_voxels"]].load()
    names = state_names(table)
    if len(names) < 2:
        raise AnalysisError("there is a single state, and nothing to register it to")
    attrs = {"limit": float(recipe.get("max_residual_voxels", 1.0)), "reference": recipe.get("reference") or names[0]}
    return table.assign_attrs(attrs)


@styled
def draw_registration(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_registration` returned."""
    page = figure(height=3.0)
    axes = page.add_subplot()
    names, residual = state_names(numbers), numbers.residual_voxels.values
    limit, is_reference = numbers.attrs["limit"], np.array(state_names(numbers)) == numbers.attrs["reference"]
    seen = np.isfinite(residual) & (residual > 0)
    bottom, top = 0.3 * min([limit, *residual[seen]]), 3 * max([limit, *residual[seen]])
    axes.set_yscale("log")
    axes.plot(np.flatnonzero(seen), residual[seen], "o", color=BLUE)
    for k, value in enumerate(residual):
        words = "ref." if is_reference[k] else f"{value:.2g}" if np.isfinite(value) else "failed"
        height = value if seen[k] else bottom if is_reference[k] else top / 2
        axes.annotate(words, (k, height), (0, 5), textcoords="offset points", ha="center", va="bottom", fontsize=8)
    axes.axhline(
        limit, color=VERMILION, lw=1.2, ls="--", label=f"limit of the recipe, {limit:g} voxel{'s' * (limit != 1)}"
    )
    along_states(axes, names)
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_ylabel("residual (voxels)")
    page.legend(*axes.get_legend_handles_labels(), loc="outside upper center")
    return page


def before_and_after(store: xr.DataTree) -> Figure:
    """Draw each state minus the reference, as it was scanned and as it was registered.

    Arguments and errors are those of :func:`registration`.
    """
    return draw_before_and_after(collect_before_and_after(store))


def collect_before_and_after(store: xr.DataTree) -> xr.Dataset:
    """Return the differences to the reference, `before` and `after` registration, in the middle of the volume.

    `before` compares voxels of the same index in both scans: the registered state is moved back by its own transform,
    linearly interpolated. Along (state, y, x), NaN where one of the two is outside its scan; `motion_voxels`, how far
    the middle of the picture was moved, `residual_voxels`, and the root mean square differences `rms_before` and
    `rms_after`, along state, the reference left out.
    """
    known = collect_registration(store)
    matrices = table_of(store, "transforms").matrix.load()
    volumes, reference = volumes_of(store), known.attrs["reference"]
    place = middle(volumes, _MOST_PIXELS)
    z = volumes.sizes["z"] // 2
    fixed = volumes.grey.isel(z=z).isel(place).sel(state=reference).load()
    y, x = np.meshgrid(*(np.arange(place[a].start, place[a].stop) for a in "yx"), indexing="ij")
    points = np.stack([np.full(y.shape, z), y, x, np.ones(y.shape)]).astype(float)
    others = [name for name in state_names(known) if name != reference]
    back = {name: np.linalg.inv(matrices.sel(state=name).values) for name in others if _usable(matrices, name)}
    if not back:
        raise AnalysisError("no state has a transform that can be undone")
    rows = []
    for name, inverse in back.items():
        there = np.einsum("ij,jyx->iyx", inverse @ matrices.sel(state=reference).values, points)[:3]
        moving = volumes.grey.sel(state=name)
        here = moving.isel(z=z).isel(place).load().values.astype(float)
        before = _difference(*_sampled(moving, there), fixed.values)
        after = _difference(here, here > 0, fixed.values)
        middle_of = tuple(n // 2 for n in y.shape)
        motion = float(np.linalg.norm((there - points[:3])[(slice(None), *middle_of)]))
        rows.append((before, after, motion))
    dims, coords = ("state", "y", "x"), {a: fixed[a].values for a in "yx"}
    differences = xr.Dataset(
        {"before": (dims, np.array([row[0] for row in rows])), "after": (dims, np.array([row[1] for row in rows]))},
        {"state": np.array(list(back), dtype=object), **coords},
    )
    differences["motion_voxels"] = ("state", [row[2] for row in rows])
    differences["residual_voxels"] = ("state", known.residual_voxels.sel(state=list(back)).values)
    for name in ("before", "after"):
        differences[f"rms_{name}"] = np.sqrt((differences[name] ** 2).mean(["y", "x"]))
    return differences.assign_attrs(reference=reference, z_um=float(fixed.z))


def _usable(matrices: xr.DataArray, name: str) -> bool:
    matrix = matrices.sel(state=name).values
    return bool(np.isfinite(matrix).all()) and abs(float(np.linalg.det(matrix[:3, :3]))) > 1e-6


def _sampled(moving: xr.DataArray, there: Any) -> tuple[Any, Any]:
    """Return the grey at some places (3, y, x) of a volume, and which are inside its scan; reads their box only."""
    first = [max(0, int(np.floor(axis.min()))) for axis in there]
    last = [min(size, int(np.floor(axis.max())) + 2) for axis, size in zip(there, moving.shape, strict=True)]
    if any(a >= b for a, b in zip(first, last, strict=True)):
        return np.zeros(there.shape[1:]), np.zeros(there.shape[1:], bool)
    box = moving[tuple(slice(a, b) for a, b in zip(first, last, strict=True))].load().values
    local = there - np.array(first)[:, None, None]
    grey = ndimage.map_coordinates(box.astype(float), local, order=1, cval=0.0)
    inside = ndimage.map_coordinates((box > 0).astype(float), local, order=1, cval=0.0) > 0.999
    return grey, inside


def _difference(grey: Any, inside: Any, fixed: Any) -> Any:
    return np.where(inside & (fixed > 0), grey - fixed, np.nan).astype(np.float32)


@styled
def draw_before_and_after(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_before_and_after` returned."""
    names = state_names(numbers)
    across, down = min(len(names), _ACROSS), -(-len(names) // _ACROSS)
    side = 0.8 * WIDTH / max(across, 3)
    page = figure(height=down * (2 * side * numbers.sizes["y"] / numbers.sizes["x"] + 1.05) + 0.1)
    panes = page.subplots(2 * down, across, squeeze=False)
    beyond = np.abs(numbers.before.values[np.isfinite(numbers.before.values)])
    largest = max(1.0, float(np.percentile(beyond, 99))) if beyond.size else 1.0
    for k in range(down * across):
        pair = panes[2 * (k // across) : 2 * (k // across) + 2, k % across]
        if k < len(names):
            drawn = _pair(pair, numbers.isel(state=k), largest, named=not k % across)
            pair[0].set_title(short(names[k]))
        else:
            for axes in pair:
                axes.remove()
    scale_bar(panes[0, 0], numbers.after)
    words = f"grey level minus that of {short(numbers.attrs['reference'], 20, 1)} (of 255)"
    kept = [axes for axes in panes.ravel() if axes.figure is not None]
    page.colorbar(drawn, ax=kept, label=words, shrink=0.8 / down, aspect=30, extend="both")
    return page


def _pair(panes: Any, here: xr.Dataset, largest: float, named: bool) -> Any:
    """Draw the differences of one state before and after, and return the last image."""
    for axes, when, far in zip(panes, ("before", "after"), ("motion", "residual"), strict=True):
        drawn = image(axes, here[when], -largest, largest)
        value = float(here[f"{far}_voxels"])
        axes.set_xlabel(f"{'moved' if far == 'motion' else 'residual'}\n{value:.2g} voxels", fontsize=8)
        if named:
            axes.set_ylabel(when)
    return drawn


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


def _states(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["motion_voxels", "residual_voxels", "rms_before", "rms_after"]
    return plain(numbers[names].to_dataframe().reset_index())


PANELS = (
    Panel(
        "registration",
        "Registration",
        "How far, as a root mean square, sub-blocks of each state lie from the reference state (ref.) after "
        "registration.",
        collect_registration,
        draw_registration,
        _frame,
    ),
    Panel(
        "before_and_after",
        "Before and after registration",
        "The middle of each state minus that of the reference: voxels of the same index as they were scanned (above), "
        "and as they were registered (below). Black and white rims are motion; a grey field is none. Outside a scan "
        "it is white. Below each: how far the middle of the picture was moved, and what is left of that.",
        collect_before_and_after,
        draw_before_and_after,
        _states,
    ),
)
