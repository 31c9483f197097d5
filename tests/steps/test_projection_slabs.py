"""What a slab of slices takes is planned, the plan is kept, and it grows with angles and columns but not with rows."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from crackdask.blocks.passes import Pass
from crackdask.engine.projection_costs import Projected
from crackdask.grid import Box, Grid
from crackdask.kernels.ramp_filter import LANES
from crackdask.steps import projection_slabs
from crackdask.steps.projection_slabs import frame_grid, search_bytes, sinogram_chunk, slab_bytes, slab_rows
from crackdask.steps.reconstruct import passes
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.steps.sinogram_rows import Geometry


@dataclass(frozen=True)
class FreshBlock:
    """A block whose counts are made when it reads them, as those of a disk are, and belong to nobody else."""

    grid: Grid
    number: int
    window: Box
    dtype: str
    tables: dict[str, np.ndarray]

    def read(self, volume: str, halo: Any = 0) -> np.ndarray:
        return np.random.default_rng(1).integers(20_000, 40_000, self.window.shape, np.uint16).astype(self.dtype)

    def read_box(self, volume: str, box: Box) -> np.ndarray:
        raise AssertionError(f"{box} of {volume} is not read")

    def table(self, name: str) -> np.ndarray:
        return self.tables[name]


def slices_of(frames: tuple[int, int, int], dtype: str, **keys: Any) -> tuple[Pass, FreshBlock]:
    """Return the pass that makes slices and the last whole slab of a scan."""
    projections, rows, columns = frames
    geometry = Geometry(frames, np.linspace(0, 180, projections), np.linspace(0, 1, projections), 65_535)
    centers = np.full(rows, (columns - 1) / 2)
    (made,) = (p for p in passes(geometry, np.dtype(dtype), ReconstructParams(**keys), centers) if p.name == "slices")
    grid = made.grid
    assert grid is not None
    window = made.reads["sinograms"](grid.box(len(grid) - 1))  # type: ignore[operator]
    beam = np.full((2, rows, columns), 50_000, np.float32)
    tables = {"flats": beam, "darks": 0 * beam, "centers": centers, "window": np.array([-0.1, 0.1])}
    return made, FreshBlock(grid, len(grid) - 1, window, dtype, tables)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile kernels and make the tables of windows, which stay."""
    for dtype, keys in (("uint16", {}), ("float32", {"rings": "vo"})):
        made, block = slices_of((60, 16, 64), dtype, **keys)
        made.kernel(block)
    made, block = search_of((60, 16, 64))
    made.kernel(block)


def peak(frames: tuple[int, int, int], dtype: str = "uint16", **keys: Any) -> int:
    return peak_of(*slices_of(frames, dtype, **keys))


def peak_of(made: Pass, block: FreshBlock) -> int:
    tracemalloc.start()
    try:
        made.kernel(block)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("dtype", "keys"),
    [
        ("uint16", {}),
        ("float32", {}),
        ("uint16", {"window": "none"}),
        ("uint16", {"angles": [30.0, 177.0]}),
        ("uint16", {"rings": "vo"}),
    ],
)
def test_the_planned_memory_of_a_slab_is_enough_and_not_far_too_much(dtype: str, keys: dict[str, Any]) -> None:
    frames = (500, 16, 256)
    found, planned = peak(frames, dtype, **keys), slab_bytes(frames, slab_rows(frames), np.dtype(dtype).itemsize)
    assert found <= 1.02 * planned
    assert planned <= 1.7 * found


def search_of(frames: tuple[int, int, int]) -> tuple[Pass, FreshBlock]:
    """Return the pass that searches the center and its first row."""
    projections, rows, columns = frames
    geometry = Geometry(frames, np.linspace(0, 180, projections), np.linspace(0, 1, projections), 65_535)
    made = passes(geometry, np.dtype("uint16"), ReconstructParams(), None)[1]
    assert made.name == "center"
    assert made.grid is not None
    window = made.reads["sinograms"](made.grid.box(0))  # type: ignore[operator]
    beam = np.full((2, rows, columns), 50_000, np.float32)
    return made, FreshBlock(made.grid, 0, window, "uint16", {"flats": beam, "darks": 0 * beam})


def test_the_planned_memory_of_the_search_is_enough_and_not_far_too_much() -> None:
    frames = (500, 16, 256)
    found, planned = peak_of(*search_of(frames)), search_bytes(frames)
    assert found <= 1.02 * planned
    assert planned <= 1.7 * found


def test_memory_grows_with_angles_and_columns_and_not_with_rows() -> None:
    base = peak((300, 32, 256))
    assert peak((300, 64, 256)) == pytest.approx(base, rel=0.02)
    assert 1.3 * base < peak((600, 32, 256)) < 2.1 * base
    assert 2 * base < peak((300, 32, 512)) < 4.1 * base


@pytest.mark.parametrize("frames", [(3000, 2160, 2560), (1500, 128, 2560), (3600, 2000, 4096), (180, 100, 128)])
def test_no_lane_is_wasted(frames: tuple[int, int, int]) -> None:
    """Fewer rows than lanes take as long as all lanes."""
    assert slab_rows(frames) % LANES == 0


def test_a_full_field_is_cut_into_files_that_a_disk_can_hold() -> None:
    frames = (3000, 2160, 2560)
    chunk = sinogram_chunk(frames, 2)
    assert np.prod([-(-n // c) for n, c in zip(frames, chunk, strict=True)]) < 100_000
    planned = Projected(frames, 2, 2450, "column")
    assert planned.pass_bytes["sort"] == 2 * np.prod(frame_grid(frames, 2).block) <= projection_slabs.FRAME_BYTES
    assert planned.pass_bytes["slices"] <= projection_slabs.SLAB_BYTES
