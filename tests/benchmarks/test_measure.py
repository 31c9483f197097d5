"""Measuring everything against the one distance transform that GRAPES's layers start from."""

from __future__ import annotations

from functools import partial

import edt
import numpy as np
import pytest

from crackdask.blocks.in_memory import compute
from crackdask.steps.measure import MeasureParams, passes, passes_to_tables

from .harness import Race, benchmark
from .machine import Work


def packing(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Touching balls of radius 6 to 14, each voxel in the ball whose centre is nearest by radius."""
    rng = np.random.default_rng(seed)
    count = round(3700 * (size / 256) ** 3)
    nearest = np.full((size,) * 3, 1.0, np.float32)
    label = np.zeros((size,) * 3, np.uint32)
    radii = rng.uniform(6, 14, count)
    centres = rng.random((count, 3)) * size
    for name, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        low = np.maximum(0, np.floor(centre - radius)).astype(int)
        high = np.minimum(size, np.ceil(centre + radius) + 1).astype(int)
        at = tuple(map(slice, low, high))
        distance = sum(((g - c) / radius) ** 2 for g, c in zip(np.ogrid[at], centre, strict=True))
        mine = distance < nearest[at]
        nearest[at][mine] = distance[mine]
        label[at][mine] = name
    grey = rng.normal(140, 25, label.shape).clip(1, 255).astype(np.uint8)
    return grey, label


def race(size: int, block: int) -> Race:
    """Return the counting of everything, and edt's call alone."""
    grey, label = packing(size)
    deepest = int(np.ceil(edt.edt(label, black_border=True, parallel=1).max()))
    counting = passes(MeasureParams(), (0.325, 0.325, 0.325), deepest)
    return Race(
        ours=lambda: compute(counting, {"grey": grey, "label": label}, block=(block,) * 3),
        peer=lambda: edt.edt(label, black_border=True, parallel=1),
        note=lambda ours, peer: f"deepest particle {peer.max():.1f} voxels",
    )


def work(size: int) -> Work:
    """Return the volumes that are read and written: labels to depth, and those with grey levels to counts."""
    return Work(bytes=size**3 * ((4 + 2) + (4 + 2 + 1)))


@benchmark(bar=1 / 1.5, aim=1 / 1.3, size=256, small=32, work=work)
def measure_in_one_block(size: int) -> Race:
    return race(size, size)


@benchmark(bar=1 / 3, aim=1 / 2, size=256, small=32, work=work)
def measure_in_eight_blocks(size: int) -> Race:
    return race(size, size // 2)


@pytest.mark.parametrize("bench", [measure_in_one_block, measure_in_eight_blocks])
def test_both_see_the_same_particles(bench, monkeypatch):
    """What is counted is counted right, and the peer's deepest distance is that of the deepest shell."""
    _, label = packing(bench.small)
    names, voxels = np.unique(label[label > 0], return_counts=True)
    # The race leaves out the reduction to tables; here it tells what was counted.
    monkeypatch.setitem(race.__globals__, "passes", partial(passes_to_tables, ids=names))
    (_, tables), depth, remark = bench.once()
    assert tables["particles.voxels"].tolist() == voxels.tolist()
    assert remark == f"deepest particle {depth.max():.1f} voxels"
    deepest = [int((row > 0).nonzero()[0].max()) + 1 for row in tables["shells.voxels"]]
    assert deepest == pytest.approx([depth[label == name].max() for name in names], abs=1)
