"""Measuring everything against the columns of GRAPES, the published toolkit, one thread each, on one packing of balls.

The toolkit's definitions are those of `tests.support.grapes`, written with the libraries that it uses and quicker than
its own loops. Both give volume, grey levels, radial layers, surface area and sphericity of every particle; ours gives
all other columns besides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.measure import regionprops

from crackdask.blocks.in_memory import compute
from crackdask.steps.measure import MeasureParams, passes_to_tables
from tests.support.grapes import Row, grapes, sphericity, surface_area

from .harness import Race, benchmark
from .test_measure import packing

Array = np.ndarray[Any, np.dtype[Any]]
Rows = dict[int, tuple[Row, float, float]]


def rows_of(label: Array, grey: Array) -> Rows:
    """Return of every particle its row, surface area and sphericity."""
    areas = {region.label: surface_area(region.image) for region in regionprops(label.astype(np.int64))}
    return {name: (row, areas[name], sphericity(row.volume, areas[name])) for name, row in grapes(label, grey).items()}


def remark(tables: dict[str, Array], rows: Rows) -> str:
    """Say in how many particles all numbers are equal, and how the surface areas compare."""
    equal, areas = 0, []
    for i, (row, area, _) in enumerate(rows.values()):
        voxels, sums = (tables[f"shells.{name}"][i][: len(row.layers)] for name in ("voxels", "grey_sum"))
        means = (sums / np.maximum(voxels, 1)).astype(np.float32)
        same = tables["particles.voxels"][i] == row.volume and tables["particles.grey_mean"][i] == row.grey_mean
        equal += int(same and np.array_equal(voxels, row.layers) and np.array_equal(means, row.layer_grey))
        areas.append(area / tables["particles.surface_area_um2"][i])
    return f"{equal} of {len(rows)} particles equal, peer's surface {np.mean(areas):.2f} times ours"


@benchmark(bar=5, aim=10, size=192, small=32, repeats=3)
def measure_against_grapes(size: int) -> Race:
    """Count and finish all tables in eight blocks, against the toolkit's columns."""
    grey, label = packing(size)
    names = np.unique(label[label > 0])
    counting = passes_to_tables(MeasureParams(), (1.0, 1.0, 1.0), 15, names)
    return Race(
        ours=lambda: compute(counting, {"grey": grey, "label": label}, block=(size // 2,) * 3),
        peer=lambda: rows_of(label, grey),
        note=lambda ours, peer: remark(ours[1], peer),
    )


def test_both_measure_the_same() -> None:
    _, rows, said = measure_against_grapes.once()
    assert len(rows) >= 5
    assert said.startswith(f"{len(rows)} of {len(rows)} particles equal")
