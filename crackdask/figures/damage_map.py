"""Particles where they are, coloured by their damage, with pies of their classes (paper, Fig. 4g and h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import ndimage

from crackdask import analyse
from crackdask.analysis.changes import SEVERITIES
from crackdask.analysis.parameters import params_of
from crackdask.analysis.tables import reference_of, state_names, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.pie_chart import pie
from crackdask.figures.state_axis import telling
from crackdask.figures.style import SKY, WIDTH, figure, plain, short, styled
from crackdask.figures.volume_slices import bare, edges, extent, middle, scale_bar, volumes_of

_MOST_PIXELS = 320  # along a side: a third of the page
_DEEPEST = 64  # voxels that are looked into
_NOT_TRACKED = "#E4E5E8"
_LIGHT = np.array([-0.45, -0.45, 0.77])  # from the upper left
#: Light to dark, so that damage is dark on paper too.
_COLOURS = LinearSegmentedColormap.from_list("damage", colormaps["inferno_r"](np.linspace(0.12, 0.85, 64)))


def damage_in_place(store: xr.DataTree, states: Sequence[str] | None = None, **parameters: Any) -> Figure:
    """Draw a part of the electrode in some states, each particle coloured by its damage factor, with class pies.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    states
        Names; by default the reference, the top of charge and the last state.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe; `class_limits`.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_damage_in_place(collect_damage_in_place(store, states, **parameters))


def collect_damage_in_place(store: xr.DataTree, states: Sequence[str] | None = None, **parameters: Any) -> xr.Dataset:
    """Return what is seen from above the middle of the volume, and the damage of all tracked particles.

    Looking along z from the middle plane, each pixel shows the first tracked particle within 64 voxels, and where there
    is none the first other one: `label` and `shade`, how much light its surface returns, (state, y, x). `damage` and
    `severity_number` are (state, particle), `count` and `share` (state, severity).
    """
    volumes, table = volumes_of(store), table_of(store, "particles")
    damages = analyse.damage(store, **parameters)
    chosen = telling(table, reference_of(table, params_of(store, parameters)), states)
    start = volumes.sizes["z"] // 2 if volumes.sizes["z"] > _DEEPEST else 0
    place = {"z": slice(start, start + _DEEPEST), **middle(volumes, _MOST_PIXELS)}
    seen = []
    for name in chosen:
        slab = volumes.label.sel(state=name).isel(place).load()
        seen.append(_look(slab.values, damages.particle.values))
    classes = analyse.classes(damages, **_limits(parameters)).sel(state=chosen)
    dims, coords = ("state", "y", "x"), {axis: volumes[axis].isel({axis: place[axis]}).values for axis in "yx"}
    view = xr.Dataset(
        {"label": (dims, np.array([one for one, _ in seen])), "shade": (dims, np.array([one for _, one in seen]))},
        {"state": np.array(chosen, dtype=object), **coords},
    )
    for column in (damages.damage.sel(state=chosen), *classes.data_vars.values()):
        view[column.name] = column.drop_vars([c for c in column.coords if c not in column.dims])
    limits = params_of(store, parameters).class_limits
    return view.assign_attrs(class_limits=list(limits), definition=damages.attrs["definition"])


def _limits(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name == "class_limits"}


def _look(slab: Any, known: Any) -> tuple[Any, Any]:
    """Return the labels seen along z, and their shade: those known before all others, which are flat."""
    label, depth = _first(np.where(np.isin(slab, known), slab, 0))
    others, _ = _first(slab)
    return np.where(label > 0, label, others), np.where(label > 0, _shade(label, depth), 1.0)


def _first(slab: Any) -> tuple[Any, Any]:
    """Return the first label along z, and how deep it lies; 0 and the slab's depth where there is none.

    >>> label, depth = _first(np.array([[[0, 5, 0]], [[3, 6, 0]]]))
    >>> label.tolist(), depth.tolist()
    ([[3, 5, 0]], [[1.0, 0.0, 2.0]])
    """
    there = slab > 0
    depth = np.argmax(there, axis=0)
    label = np.take_along_axis(slab, depth[None], axis=0)[0]
    return label, np.where(label > 0, depth, slab.shape[0]).astype(float)


def _shade(label: Any, depth: Any) -> Any:
    """Return the light that a surface of these depths returns, 0 to 1; darker where another particle begins."""
    down, right = np.gradient(ndimage.gaussian_filter(depth, 1.0))
    height = np.sqrt(1 + down**2 + right**2)
    light = (_LIGHT[2] + _LIGHT[0] * down + _LIGHT[1] * right) / height
    shade = 0.5 + 0.5 * np.clip(light / _LIGHT[2], 0, 1)
    return np.where(edges(label), 0.75 * shade, shade).astype(np.float32)


@styled
def draw_damage_in_place(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_damage_in_place` returned."""
    names, label = state_names(numbers), numbers.label
    low, high = numbers.attrs["class_limits"]
    tall = 0.86 * WIDTH / max(len(names), 2) * label.sizes["y"] / label.sizes["x"] + 0.55
    page = figure(height=tall + 2.4)
    above, below = page.subfigures(2, 1, squeeze=False, height_ratios=[tall, 2.4]).ravel()
    seen, pies = (part.subplots(1, len(names), squeeze=False)[0] for part in (above, below))
    values = numbers.damage.values
    ends = min(0.0, float(np.percentile(values, 2))), max(1.5 * high, float(np.percentile(values, 98)))
    scale = ScalarMappable(Normalize(*ends), _COLOURS)
    middles = [(ends[0] + low) / 2, (low + high) / 2, (high + ends[1]) / 2]
    colours = [scale.to_rgba(np.array(value))[:3] for value in middles]
    for k, name in enumerate(names):
        here = numbers.isel(state=k)
        _paint(seen[k], here, scale)
        seen[k].set_title(short(name, 24))
        pie(pies[k], here["count"].values, list(SEVERITIES), colours)
    scale_bar(seen[0], label)
    units = numbers.damage.attrs.get("units", "1")
    bar = above.colorbar(scale, ax=seen.tolist(), label=f"damage factor ({units})", aspect=20, extend="both")
    for limit in (low, high):
        bar.ax.axhline(limit, color=SKY, lw=1.5)
    above.legend(handles=[Patch(facecolor=_NOT_TRACKED, edgecolor="#9AA0A6", label="found, not tracked")],
                 loc="outside lower center")  # fmt: skip
    below.suptitle(f"classes of all tracked particles: minimal below {low:g}, high from {high:g}", fontsize=9)
    return page


def _paint(axes: Axes, here: xr.Dataset, scale: ScalarMappable) -> None:
    """Draw the particles of one state: shaded, tracked ones in the colour of their damage."""
    label = here.label.values
    row = np.searchsorted(here.particle.values, label).clip(max=here.sizes["particle"] - 1)
    known = here.particle.values[row] == label
    paint = np.ones((*label.shape, 3))
    paint[label > 0] = to_rgb(_NOT_TRACKED)
    paint[known] = scale.to_rgba(here.damage.values[row[known]])[:, :3]
    paint *= here.shade.values[..., None]
    axes.imshow(paint, extent=extent(here.label), interpolation="nearest")
    bare(axes)


def _rows(numbers: xr.Dataset) -> pd.DataFrame:
    severity = numbers.severity.values.astype(object)[numbers.severity_number.values]
    frame = numbers[["damage"]].to_dataframe(dim_order=["state", "particle"]).reset_index()
    in_view = [np.isin(numbers.particle.values, here) for here in numbers.label.values]
    return plain(frame.assign(severity=severity.ravel(), in_view=np.ravel(in_view)))


PANELS = (
    Panel(
        "4gh_damage_in_place",
        "Damage in place",
        "A part of the electrode in the reference state, at the top of charge and in the last state: what is seen "
        f"along z, at most {_DEEPEST} voxels deep, each tracked particle in the colour of its damage "
        "factor; others are seen through. Blue lines on the scale are the limits "
        "of the classes; the pies count all tracked particles by class.",
        collect_damage_in_place,
        draw_damage_in_place,
        _rows,
        explored=lambda _: "colour=damage.damage&solid=field",
    ),
)
