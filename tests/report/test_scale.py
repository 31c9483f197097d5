"""What a report of a large store reads: parts of its volumes that do not grow with it."""

from __future__ import annotations

import math
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from crackdask import figures
from tests.support.pictured import electrode
from tests.support.tabled import replaced

CHUNK = 64
#: Voxels of each state, of grey and label together, that a figure may have read to be drawn in seconds.
MOST_VOXELS = 70e6


def large(shape: tuple[int, int, int]) -> tuple[xr.DataTree, list[int]]:
    """Return a store with lazy volumes of a shape, and a list that grows by the voxels that are read."""
    small, read = electrode(), []
    states = small["volumes"].sizes["state"]

    def block(what: str, block_info: Any = None) -> Any:
        place = block_info[None]
        read.append(math.prod(place["chunk-shape"]))
        z, y, x = np.ogrid[tuple(slice(*ends) for ends in place["array-location"][1:])]
        ball = ((z % 20 - 10) ** 2 + (y % 20 - 10) ** 2 + (x % 20 - 10) ** 2 < 64)[None]
        return np.where(ball, 40, 0).astype(np.uint32) if what == "label" else np.where(ball, 200, 60).astype(np.uint8)

    chunks = ((1,) * states, *da.core.normalize_chunks(CHUNK, shape))
    dims = ("state", "z", "y", "x")
    volumes = {
        name: (dims, da.map_blocks(block, name, chunks=chunks, dtype=dtype, meta=np.empty((0,) * 4, dtype)))
        for name, dtype in (("grey", np.uint8), ("label", np.uint32))
    }
    kept = {name: small["volumes"][name] for name in ("state", "voltage", "step", "cycle")}
    places = {axis: (np.arange(n) + 0.5) * 0.5 for axis, n in zip("zyx", shape, strict=True)}
    return replaced(small, volumes=xr.Dataset(volumes, {**kept, **places})), read


@pytest.mark.parametrize(
    "name", ["slices", "grey_histogram", "4gh_damage_in_place", "before_and_after", "1a_line_profiles"]
)
def test_figures_read_a_part_that_does_not_grow(name: str) -> None:
    (panel,) = [panel for panel in figures.PANELS if panel.name == name]
    counts = []
    for shape in ((192, 640, 640), (192, 1280, 1280)):
        store, read = large(shape)
        with dask.config.set(scheduler="synchronous"):
            numbers = panel.collect(store)
        assert numbers.sizes["state"] >= 3
        counts.append(sum(read) / store["volumes"].sizes["state"])
    assert 0 < counts[0] < MOST_VOXELS
    assert counts[1] <= 1.6 * counts[0]  # four times the volume; windows may cut one more chunk at each end
