"""Measuring everything against the one distance transform that GRAPES's layers start from."""

from __future__ import annotations

import time

import edt
import numpy as np
import pytest

from crackdask.blocks import compute
from crackdask.measure import MeasureParams, passes

SIZE, PARTICLES = 256, 3700


@pytest.fixture(scope="module")
def volumes():
    grey, label = packing()
    return {"grey": grey, "label": label}


def packing(size=SIZE, count=PARTICLES, seed=0):
    """Touching balls of radius 6 to 14, each voxel in the ball whose centre is nearest by radius."""
    rng = np.random.default_rng(seed)
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


def seconds(work, repeats=3):
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.parametrize(("block", "bar"), [((256, 256, 256), 1.5), ((128, 128, 128), 3.0)])
def test_measuring_costs_little_more_than_edt_alone(volumes, block, bar):
    label = volumes["label"]
    deepest = int(np.ceil(edt.edt(label, black_border=True, parallel=1).max()))
    counting = passes(MeasureParams(), (0.325, 0.325, 0.325), deepest)
    compute(counting, {name: v[:40, :40, :40] for name, v in volumes.items()})
    ours = seconds(lambda: compute(counting, volumes, block=block))
    theirs = seconds(lambda: edt.edt(label, black_border=True, parallel=1))
    print(f"\nmeasure in blocks of {block[0]}: {ours / theirs:.2f} of edt's time")
    assert ours < bar * theirs
