"""From mask to labels against scikit-image's flood with its usual markers, one thread each, on touching spheres.

Ours is all of it: distance, smoothing, basins, saddles, merge, relabelling. The peer smooths the distance with the same
Gaussian, takes the peaks at least 5 voxels apart as markers and floods.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import KDTree
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from crackdask.blocks.in_memory import compute
from crackdask.steps.labels import LabelsParams, passes
from tests.support.scoring import f1

from .harness import Race, benchmark
from .machine import Work

VOXELS_PER_SPHERE = 256**3 / 3714


def touching_spheres(size: int, seed: int = 0) -> np.ndarray:
    """Return labels of spheres with radius 4 to 14 that have grown until each meets another."""
    rng = np.random.default_rng(seed)
    count = max(2, round(size**3 / VOXELS_PER_SPHERE))
    centres = np.zeros((0, 3))
    while len(centres) < count:
        more = np.vstack([centres, rng.uniform(0, size, (count, 3))])
        near = KDTree(more).query_pairs(12.0, output_type="ndarray")
        taken = np.ones(len(more), bool)
        for _, late in near[np.argsort(near[:, 1], kind="stable")]:
            taken[late] = False
        centres = more[taken][:count]
    far, other = KDTree(centres).query(centres, k=min(24, count))
    radii = far[:, 1] / 2
    for i in rng.permutation(count):
        radii[i] = min(14.0, (far[i, 1:] - radii[other[i, 1:]]).min())
    truth = np.zeros((size,) * 3, np.uint32)
    for name, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        low = np.maximum(0, np.floor(centre - radius - 1)).astype(int)
        high = np.minimum(size, np.ceil(centre + radius) + 2).astype(int)
        part = tuple(map(slice, low, high))
        squares = sum((g - c) ** 2 for g, c in zip(np.ogrid[part], centre, strict=True))
        truth[part][squares <= (radius + 0.5) ** 2] = name
    return truth


def flood(mask: np.ndarray) -> np.ndarray:
    depth = gaussian_filter(distance_transform_edt(mask).astype(np.float32), 1.0)
    peaks = peak_local_max(depth, min_distance=5, labels=mask.astype(np.int32), exclude_border=False)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=mask)


def race(size: int, block: int | None) -> Race:
    truth = touching_spheres(size)
    mask = truth > 0
    steps = passes(LabelsParams(), (1.0, 1.0, 1.0))
    blocks = None if block is None else (min(block, size),) * 3
    return Race(
        ours=lambda: compute(steps, {"mask": mask}, block=blocks)[0]["label"],
        peer=lambda: flood(mask),
        note=lambda ours, peer: f"F1 {f1(ours, truth):.3f}, peer {f1(peer, truth):.3f}",
    )


def work(size: int) -> Work:
    """Return the volumes that are read and written: mask to depth and basin, those to saddles and labels."""
    return Work(bytes=size**3 * ((1 + 2 + 4) + (2 + 4) + (4 + 4)))


@benchmark(bar=7, aim=10, size=256, small=32, repeats=3, work=work)
def labels_whole(size: int) -> Race:
    return race(size, None)


@benchmark(bar=4, aim=6, size=256, small=32, repeats=3, work=work)
def labels_in_blocks_of_128(size: int) -> Race:
    return race(size, 128)


@pytest.mark.parametrize("bench", [labels_whole, labels_in_blocks_of_128])
def test_both_find_the_spheres(bench):
    ours, peer, _ = bench.once()
    truth = touching_spheres(bench.small)
    assert f1(ours, truth) > 0.7
    assert f1(peer, truth) > 0.5
