"""Stores that have something to draw, and figures that are drawn once and looked at by many tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from crackdask import figures, schema
from crackdask.analysis.parameters import AnalysisError
from crackdask.phantom import FIVE_STATES, State
from crackdask.phantom.cell_record import cell_record
from tests.support.tabled import balls, replaced, tables

SIX_STATES = (*FIVE_STATES, State("2.5 V 10 cycles", 2.5, "aged", 10))
PARTICLES = 40
#: Of all figures, in the order of the report.
NAMES = [panel.name for panel in figures.PANELS]
#: Those of the table of cracks, which the invented store has none of.
CRACKS = {"4i_crack_surface", "4j_crack_skeleton"}
BOXES = (((1, 5), (4, 14), (4, 14)), ((1, 5), (15, 27), (15, 30)))  # of the last two particles


def electrode(states: Sequence[State] = SIX_STATES, tracked: Any = None, particles: int = PARTICLES) -> xr.DataTree:
    """Return a store of balls that darken and recover in their own ways, with a tiny volume of the last two of them."""
    rng, count = np.random.default_rng(5), len(states)
    voxels = balls(list(np.linspace(4, 11, particles)), count)
    change = np.cumsum(rng.normal(-2, 6, (count, particles)), axis=0)
    made = tables(voxels, 200 + 0 * voxels + (change - change[0])[..., None], states=states, tracked=tracked)
    made.attrs["found"] |= {"window": [10.0, 500.0], "threshold": {"any": 120.0}, "solid": 200.0}
    levels: dict[str, list[float | None]] = {
        "z": [0.01, 0.0, None, -0.01],
        "y": [0.02, -0.02, -0.02, 0.02],
        "x": [0.0, 0.0, 0.0, 0.0],
    }
    left = {axis: [each and each / 10 for each in row] for axis, row in levels.items()}
    names = [str(name) for name in made["particles"].state.values]
    made.attrs["found"]["across_scan"] = {name: {"before": levels, "after": left} for name in names}
    made.attrs["recipe"]["register"] = {"transform": "rigid", "max_residual_voxels": 1.0}
    table = made["particles"].to_dataset()
    label = np.zeros((count, 6, 30, 34), np.uint32)
    bounds = np.zeros((3, 2, particles), int)
    bounds[:, 1] = 1
    for number, box in zip((particles, particles - 1), BOXES[::-1], strict=True):
        if number:
            label[(slice(None), *(slice(*ends) for ends in box))] = number
            bounds[..., number - 1] = box
    for axis, ends in zip("zyx", bounds, strict=True):
        for end, column in zip("01", ends, strict=True):
            table[f"bbox_{axis}{end}"] = (("state", "particle"), np.broadcast_to(column, (count, particles)))
    # No cracks are looked for in particles that are not in the volume.
    beyond = np.arange(1, particles + 1) < particles - 1
    table["touches_invalid"] = (("state", "particle"), np.broadcast_to(beyond, (count, particles)))
    table["voxels"] = (("state", "particle"), voxels.sum(axis=2).astype(np.uint32))
    along = {name: table[name] for name in ("state", "voltage", "step", "cycle")}
    places = {axis: (np.arange(n) + 0.5) * 0.5 for axis, n in zip("zyx", label.shape[1:], strict=True)}
    grey = np.where(label > 0, 200, 60) + rng.integers(-9, 10, label.shape)
    dims = ("state", "z", "y", "x")
    volumes = xr.Dataset({"grey": (dims, grey.astype(np.uint8)), "label": (dims, label)}, {**along, **places})
    motion = np.tile(np.eye(4), (count, 1, 1))
    motion[:, 2, 3] = 2 * np.arange(count)  # along x
    transforms = {
        "residual_voxels": ("state", np.linspace(0, 0.2, count)),
        "matrix": (("state", "row", "col"), motion),
    }
    return replaced(
        made,
        particles=table,
        volumes=volumes,
        transforms=xr.Dataset(transforms, along).merge(_uneven(count, rng)),
        reconstruction=_reconstruction(along, rng),
        electrochemistry=_electrochemistry(along, states),
    )


def _electrochemistry(along: dict[str, Any], states: Sequence[State]) -> xr.Dataset:
    """Return the record of the phantom's cell; the last state is linked to no moment of it."""
    true = cell_record(states)
    columns = {"time": "time", "cell_voltage": "voltage", "current": "current", "charge": "charge"}
    linked = np.arange(len(states)) < len(states) - 1
    begin, end = (np.where(linked, [scan[k] for scan in true.scans], np.nan) for k in (0, 1))
    where = {
        "linked_by": np.where(linked, "rest", "").astype(object),
        "link_reason": np.where(linked, "the only rest", "no rest").astype(object),
        "scan_begin": begin, "scan_end": end,
        "scan_voltage": np.where(linked, [state.voltage for state in states], np.nan),
        "scan_charge": np.where(linked, true.charges, np.nan),
    }  # fmt: skip
    record = {name: ("record", true.table[column].to_numpy()) for name, column in columns.items()}
    told = xr.Dataset(record | {name: ("state", values) for name, values in where.items()}, along)
    return told.assign_attrs(start="2026-03-14T08:00:00", active_mass_mg=10.0)


def _uneven(count: int, rng: np.random.Generator) -> xr.Dataset:
    """Return a field of displacements in all states but the first."""
    lattice = ("state", "lattice_z", "lattice_y", "lattice_x")
    bent = np.arange(count) > 0
    chain = np.where(bent[:, None], [0.9, 0.5, 0.1], np.nan)
    field = rng.normal(0, 1, (count, 2, 4, 5, 3))
    field[0] = 0
    return xr.Dataset(
        {
            "transform": ("state", np.where(bent, "affine", "none").astype(object)),
            "bent": ("state", bent),
            "chain_residual_voxels": (("state", "chain"), chain),
            "displacement": ((*lattice, "axis"), field),
            "displacement_error": (lattice, np.full((count, 2, 4, 5), 0.05)),
        },
        {
            "lattice_z": [0.5, 2.5], "lattice_y": [2.0, 6.0, 10.0, 14.0], "lattice_x": [2.0, 5.0, 8.0, 11.0, 14.0],
            "axis": list("zyx"), "chain": ["rigid", "affine", "local"],
        },
    )  # fmt: skip


def _reconstruction(along: dict[str, Any], rng: np.random.Generator) -> xr.Dataset:
    """Return what a run tells of centers, rings and flaws; the last state was a tomogram already."""
    states, rows, tried, strip = len(along["state"]), 12, 9, 10
    sizes = {
        "state": states, "row": rows, "flaw": 7, "searched": 3, "tried": tried, "mirror": tried, "overlay": 2 * tried,
        "at": strip, "rings": 2, "level": 2, "strip_y": 16, "strip_x": 16,
        "angle": 14, "column": 20, "slice_y": 16, "slice_x": 16,
    }  # fmt: skip
    made = {}
    for name, variable in schema.RECONSTRUCTION.items():
        values = rng.uniform(0, 1, [sizes[dim] for dim in variable.dims]).astype(variable.dtype)
        made[name] = (variable.dims, values, variable.attributes)
    for name, spread in (("center", 0), ("sweep", 0.1), ("opposite", 0.3)):
        dims, values, attributes = made[name]
        made[name] = (dims, 63.4 + spread * (values - 0.5), attributes)
    for name, step in (("candidate", 1.0), ("mirrored", 1.0), ("overlaid", 0.5), ("strip_center", 2.0)):
        dims, values, attributes = made[name]
        beside = step * np.arange(values.shape[1]) - (8.0 if step > 1 else 4.0)
        made[name] = (dims, 63.4 + beside + 0 * values, attributes)
    for _, values, _ in made.values():
        values[1:][-1:] = np.nan
    flaws = ["saturated", "starved", "zingers", "missing", "dead", "stuck", "lost"]
    return xr.Dataset(made, {**along, "row": np.arange(rows), "flaw": flaws, "rings": ["before", "after"]})


def draw(panel: figures.Panel, numbers: xr.Dataset) -> Figure:
    """Draw a figure, and put everything in its place."""
    made = panel.draw(numbers)
    FigureCanvasAgg(made).draw()
    made.set_layout_engine("none")
    return made


def collect_all(store: xr.DataTree) -> tuple[dict[str, xr.Dataset], dict[str, str]]:
    """Return the numbers of the figures of a store by the name of their panels, and why there is none of the others."""
    numbers, missing = {}, {}
    for panel in figures.PANELS:
        try:
            numbers[panel.name] = panel.collect(store)
        except AnalysisError as error:
            missing[panel.name] = str(error)
    return numbers, missing


def draw_all(numbers: dict[str, xr.Dataset]) -> dict[str, Figure]:
    """Return the drawn figures of these numbers."""
    return {panel.name: draw(panel, numbers[panel.name]) for panel in figures.PANELS if panel.name in numbers}


def texts(made: Figure) -> list[Text]:
    """Return the texts of a figure that are seen."""
    return [text for text in made.findobj(Text) if text.get_text().strip() and text.get_visible()]


def faults(made: Figure) -> list[str]:
    """Return the texts of a drawn figure that are cut off, or lie on each other."""
    renderer, page = made.canvas.get_renderer(), made.bbox  # type: ignore[attr-defined]
    boxes, found, beyond = [], [], _ticks_out_of_view(made)
    for text in texts(made):
        if text in beyond:
            continue
        box = text.get_window_extent(renderer)
        if box.x0 < page.x0 - 1 or box.x1 > page.x1 + 1 or box.y0 < page.y0 - 1 or box.y1 > page.y1 + 1:
            found.append(f"cut off: {text.get_text()!r}")
        if text.get_rotation() % 90 == 0:  # the box around slanted words says nothing
            boxes.append((text.get_text(), box.shrunk(0.9, 0.9)))
    return found + [f"{a!r} on {b!r}" for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def _ticks_out_of_view(made: Figure) -> list[Any]:
    """Return labels of ticks that matplotlib keeps but does not draw."""
    found = []
    for axes in [*made.axes, *(child for parent in made.axes for child in parent.child_axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                if not low <= tick.get_loc() <= high:
                    found += [tick.label1, tick.label2]
    return found


def empty_panes(made: Figure) -> int:
    """Return how many axes of a figure show nothing."""
    return sum(not (axes.has_data() or axes.patches or axes.collections or axes.images) for axes in made.axes)
