"""The cracks inside one particle in 3D: their surface, and their skeleton (paper, Fig. 4i and j)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, Normalize, to_rgba
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from crackdask.analysis.cracks import cracks_of
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.solid_grey import solid
from crackdask.analysis.tables import state_names, table_of, tracked_rows, voxel_edges
from crackdask.figures.panel import Panel
from crackdask.figures.style import GREY, VERMILION, WIDTH, figure, plain, short, styled
from crackdask.kernels.crack_skeleton import STEPS

_MOST_STATES = 12
_SIDE = 2.35  # inches of a state's picture
_NUMBERS = (
    "crack_voxels", "crack_volume_um3", "crack_volume_partial_um3", "crack_volume_partial_error_um3",
    "skeleton_voxels", "skeleton_length_um", "branch_points", "end_points", "thickness_mean_um", "thickness_max_um",
)  # fmt: skip


def crack_surface(
    store: xr.DataTree, particle: int | None = None, states: Sequence[str] | None = None, **parameters: Any
) -> Figure:
    """Draw the surface of the cracks inside one particle, state by state (paper, Fig. 4i).

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    particle
        Its label; by default the tracked one whose void volume changes most.
    states
        Names; by default the reference, that of this particle's most void, and the last one.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_crack_surface(collect_cracks(store, particle, states, **parameters))


def crack_skeleton(
    store: xr.DataTree, particle: int | None = None, states: Sequence[str] | None = None, **parameters: Any
) -> Figure:
    """Draw the skeleton of the cracks, coloured by their local thickness (paper, Fig. 4j).

    Arguments and errors are those of :func:`crack_surface`.
    """
    return draw_crack_skeleton(collect_cracks(store, particle, states, **parameters))


def collect_cracks(
    store: xr.DataTree, particle: int | None = None, states: Sequence[str] | None = None, **parameters: Any
) -> xr.Dataset:
    """Return `inside`, `crack`, `thickness_um` (on the skeleton) of one particle, (state, z, y, x), and its numbers."""
    levels = solid(store, **parameters)
    number = _most_changed(store, levels) if particle is None else particle
    if number not in levels.particle.values:
        raise AnalysisError(f"no particle {number}; labels go from 1 to {levels.sizes['particle']}")
    names = _telling(levels, number) if states is None else list(states)
    if not 1 <= len(names) <= _MOST_STATES:
        raise AnalysisError(f"{len(names)} states were asked for; a page has room for 1 to {_MOST_STATES}")
    windows = [cracks_of(store, number, name, levels) for name in names]
    if not all(one.inside.values.any() for one in windows):
        raise AnalysisError(f"the labels of the store do not hold particle {number} where its tables say")
    edges = np.array(voxel_edges(store))
    first = [np.array([int(np.rint(float(one[a][0]) / e - 0.5)) for a, e in zip("zyx", edges, strict=True)])
             for one in windows]  # fmt: skip
    low = np.min(first, axis=0)
    shape = np.max([place + one.crack.shape for place, one in zip(first, windows, strict=True)], axis=0) - low
    dims = ("state", "z", "y", "x")
    numbers = xr.Dataset(
        {
            "inside": (dims, np.zeros((len(windows), *shape), bool)),
            "crack": (dims, np.zeros((len(windows), *shape), bool)),
            "thickness_um": (dims, np.zeros((len(windows), *shape))),
            **{name: ("state", [one.attrs[name] for one in windows]) for name in _NUMBERS},
        },
        {"state": names, **{a: (low[k] + np.arange(shape[k]) + 0.5) * edges[k] for k, a in enumerate("zyx")}},
    )
    for k, (place, one) in enumerate(zip(first - low, windows, strict=True)):
        z, y, x = (slice(p, p + n) for p, n in zip(place.tolist(), one.crack.shape, strict=True))
        for name in ("inside", "crack", "thickness_um"):
            numbers[name].values[k, z, y, x] = one[name].values
    return numbers.assign_attrs(particle=number, voxel_um=tuple(edges.tolist()))


def _most_changed(store: xr.DataTree, levels: xr.Dataset) -> int:
    """Return the tracked particle whose void volume changes most."""
    rows = tracked_rows(table_of(store, "particles"))
    if not rows.size:
        raise AnalysisError(f"no particles of {levels.sizes['particle']} tracked, so none is chosen; name a particle")
    rows = rows[np.isfinite(levels.crack_volume_partial_um3.values[:, rows]).all(axis=0)]
    if not rows.size:
        raise AnalysisError("every tracked particle lies beside a region outside the scan; name a particle")
    volume = levels.crack_volume_partial_um3.values[:, rows]
    return int(levels.particle.values[rows[int((volume.max(axis=0) - volume.min(axis=0)).argmax())]])


def _telling(levels: xr.Dataset, particle: int) -> list[str]:
    """Return the reference, the state of most void, and the last, in their order."""
    names = state_names(levels)
    volume = levels.crack_volume_partial_um3.sel(particle=particle).values
    there = np.flatnonzero(np.isfinite(volume))
    if not there.size:
        raise AnalysisError(f"particle {particle} lies beside a region outside the scan in every state")
    wanted = {names.index(levels.attrs["reference"]), int(there[volume[there].argmax()]), int(there[-1])}
    return [names[k] for k in sorted(wanted & set(there.tolist()))]


@styled
def draw_crack_surface(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_cracks` returned as surfaces."""
    page, panes = _panes(numbers, 0.15)
    for k, axes in enumerate(panes):
        here = numbers.isel(state=k)
        _title(axes, here, f"crack voxels {float(here.crack_volume_um3):.2f} µm³\nvoid {_void(here)} µm³")
        if here.crack.values.any():
            _surface(axes, numbers, here.crack.values, 0.5, 0.35, VERMILION, 1.0)
        else:
            axes.text2D(0.5, 0.5, "no crack voxel", transform=axes.transAxes, ha="center", va="center")
        _particle(axes, numbers, here)
    return page


@styled
def draw_crack_skeleton(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_cracks` returned as skeletons."""
    thickness = numbers.thickness_um.values
    low, high = (min(numbers.voxel_um), thickness.max()) if thickness.any() else (0.0, 1.0)
    scale = ScalarMappable(Normalize(low, max(high, low * 1.01)), "viridis_r")
    page, panes = _panes(numbers, 0.75)
    for k, axes in enumerate(panes):
        here = numbers.isel(state=k)
        forks = int(here.branch_points)
        words = f"length {float(here.skeleton_length_um):.3g} µm\n{forks} branch point{'s' * (forks != 1)}"
        _title(axes, here, words)
        if thickness[k].any():
            _skeleton(axes, numbers, thickness[k], scale)
        else:
            axes.text2D(0.5, 0.5, "no crack voxel", transform=axes.transAxes, ha="center", va="center")
        _particle(axes, numbers, here)
    page.colorbar(scale, ax=panes, label="local thickness of the cracks (µm)", location="bottom", shrink=0.5, aspect=40)
    return page


def _panes(numbers: xr.Dataset, below: float) -> tuple[Figure, list[Axes3D]]:
    count = numbers.sizes["state"]
    across = min(count, 3)
    down = -(-count // across)
    page = figure(max(WIDTH * across / 3, WIDTH / 2), down * (_SIDE + 0.75) + below)
    ends = _ends(numbers)
    panes = []
    for k in range(count):
        axes = page.add_subplot(down, across, k + 1, projection="3d", computed_zorder=False)
        if not isinstance(axes, Axes3D):
            raise TypeError(f"wanted axes in 3-D, got {type(axes).__name__}")
        axes.set(xlim=ends[0], ylim=ends[1], zlim=ends[2])
        axes.set_box_aspect([b - a for a, b in ends], zoom=1.15)
        axes.set(xticks=[], yticks=[], zticks=[])
        axes.set_axis_off()
        axes.view_init(elev=22, azim=-55)
        panes.append(axes)
    return page, panes


def _ends(numbers: xr.Dataset) -> list[tuple[float, float]]:
    """Return where the box begins and ends along x, y and z, in um: the faces of its outer voxels."""
    return [
        (float(numbers[a][0]) - edge / 2, float(numbers[a][-1]) + edge / 2)
        for a, edge in zip("xyz", numbers.voxel_um[::-1], strict=True)
    ]


def _title(axes: Axes3D, here: xr.Dataset, words: str) -> None:
    axes.set_title(f"{short(str(here.state.values), 24, 1)}\n{words}")


def _void(here: xr.Dataset) -> str:
    return f"{float(here.crack_volume_partial_um3):.2f} ± {2 * float(here.crack_volume_partial_error_um3):.2f}"


def _particle(axes: Axes3D, numbers: xr.Dataset, here: xr.Dataset) -> None:
    """Draw the particle around its cracks, translucent, and a bar of a round length below it."""
    _surface(axes, numbers, here.inside.values, 1.0, 0.5, "#9AA0A6", 0.13)
    (x0, x1), (y0, _), (z0, _) = _ends(numbers)
    power = 10.0 ** np.floor(np.log10((x1 - x0) / 2))
    length = max(step for step in (1, 2, 5) if step * power <= (x1 - x0) / 2) * power
    middle = (x0 + x1) / 2
    axes.plot([middle - length / 2, middle + length / 2], [y0, y0], [z0, z0], color="black", lw=2)
    axes.text2D(0.5, -0.02, f"bar: {length:g} µm along x", transform=axes.transAxes, ha="center", va="top", fontsize=7)


def _surface(
    axes: Axes3D, numbers: xr.Dataset, mask: Any, smooth: float, level: float, colour: str, alpha: float
) -> None:
    """Draw the surface of a mask, lightly smoothed, with light from above left."""
    pad = 3
    field = gaussian_filter(np.pad(mask, pad).astype(float), smooth)
    corners, faces = marching_cubes(field, min(level, 0.8 * float(field.max())), allow_degenerate=False)[:2]
    origin = np.array([float(numbers[a][0]) for a in "zyx"])
    places = (origin + (corners - pad) * np.array(numbers.voxel_um))[:, ::-1]
    body = Poly3DCollection(
        places[faces], facecolors=to_rgba(colour, alpha), shade=True, lightsource=LightSource(225, 45), rasterized=True
    )
    body.set_edgecolor((0.0, 0.0, 0.0, 0.0))
    axes.add_collection3d(body)


def _skeleton(axes: Axes3D, numbers: xr.Dataset, thickness: Any, scale: ScalarMappable) -> None:
    """Draw the steps between neighbouring voxels of a skeleton, and the voxels."""
    padded = np.pad(thickness, 1)
    place = np.argwhere(padded > 0)
    where = {tuple(p): k for k, p in enumerate(place.tolist())}
    origin, edges = np.array([float(numbers[a][0]) for a in "zyx"]), np.array(numbers.voxel_um)
    points = (origin + (place - 1) * edges)[:, ::-1]
    value = padded[padded > 0]
    pairs = [
        (k, where[other]) for p, k in where.items() for step in STEPS
        if (other := tuple(int(a) for a in np.add(p, step))) in where
    ]  # fmt: skip
    if pairs:
        a, b = np.array(pairs).T
        lines = Line3DCollection(np.stack([points[a], points[b]], axis=1), lw=2.5, zorder=5)
        lines.set_color(scale.to_rgba((value[a] + value[b]) / 2))
        axes.add_collection3d(lines)
    axes.scatter(*points.T, c=scale.to_rgba(value), s=14, depthshade=False, edgecolors=GREY, linewidths=0.3, zorder=6)


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    frame = numbers[list(_NUMBERS)].to_dataframe().reset_index()
    return plain(frame.assign(particle=numbers.attrs["particle"]))


def _explored(numbers: xr.Dataset) -> str:
    return f"particle={numbers.attrs['particle']}&solid=all"


_WHICH = (
    "inside the tracked particle whose void volume changes most, in the reference, in its state of most void and in "
    "the last: an example, not an average. A voxel of the core counts as crack from the threshold of void fraction "
    "in the recipe"
)
PANELS = (
    Panel(
        "4i_crack_surface",
        "Cracks inside one particle",
        f"Surface of the crack voxels {_WHICH}. Void: by partial volume over the core, with 2 standard errors.",
        collect_cracks,
        draw_crack_surface,
        _frame,
        explored=_explored,
    ),
    Panel(
        "4j_crack_skeleton",
        "Skeleton of the cracks",
        f"Skeleton of the crack voxels {_WHICH}. Colour: local thickness.",
        collect_cracks,
        draw_crack_skeleton,
        _frame,
        explored=_explored,
    ),
)
