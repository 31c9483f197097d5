"""Particles to measure, and the tables that the step makes of them, for any blocks."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from crackdask.blocks.in_memory import MemoryBlock
from crackdask.blocks.passes import Array, Tally, reach
from crackdask.grid import Grid, Triple
from crackdask.steps.measure import MeasureParams, passes

#: Grey levels and labels.
Scan = tuple[Array, Array]


VOXEL = (0.325, 0.325, 0.325)


PARAMS = MeasureParams()


DEEPEST = 12


def scan(seed: int = 0, shape: Triple = (26, 30, 34), count: int = 16, outside: bool = True) -> Scan:
    """Touching spheres cut at their common planes, noisy grey levels, a corner outside the scan."""
    rng = np.random.default_rng(seed)
    centres = rng.random((count, 3)) * shape
    radii = rng.uniform(5, 9, count)
    points = np.argwhere(np.ones(shape, bool))
    reach = cdist(points, centres) / radii
    label = np.where(reach.min(axis=1) < 1, reach.argmin(axis=1) + 1, 0)
    label = label.reshape(shape).astype(np.uint32)
    grey = (rng.normal(60, 12, shape) + 80 * (label > 0)).clip(1, 255).astype(np.uint8)
    if outside:
        grey[:8, :12, :9] = 0
    return grey, label


def tallies_of(
    grey: Array, label: Array, block: Triple, voxel_um: tuple[float, float, float] = VOXEL, deepest: int = DEEPEST
) -> list[Tally]:
    (counting,) = passes(PARAMS, voxel_um, deepest)
    grid = Grid(label.shape, block)
    found = []
    for number, box in enumerate(grid):
        windows = {
            name: (halo, volume[reach(halo, box, grid.shape).slices])
            for (name, halo), volume in zip(counting.reads.items(), (grey, label), strict=True)
        }
        found.append(counting.kernel(MemoryBlock(grid, number, windows, {})).tally)
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def ball(radius, centre, stretch=(1.0, 1.0, 1.0), voxel_um=(1.0, 1.0, 1.0)):
    size = [int(2 * radius * s / v) + 6 for s, v in zip(stretch, voxel_um, strict=True)]
    axes = (
        ((np.arange(n) - n // 2 - c) * v / s) ** 2 for n, c, s, v in zip(size, centre, stretch, voxel_um, strict=True)
    )
    z, y, x = np.ix_(*axes)
    return (z + y + x <= radius**2).astype(np.uint32)
