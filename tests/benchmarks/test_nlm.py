"""Non-local means against scikit-image's fast mode, one thread each, on a blurred packing of balls.

Each side takes the h that serves it best on this phantom. scikit-image's fast patches are smaller
than their name (offsets -(p // 2) + 1 to p // 2), so its best h is lower.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means

from crackdask.kernels.nlm import margin, nlm

from .harness import Race, benchmark
from .machine import Work

SIGMA = 12.0


def scan(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise-free grey values of balls, blurred by a voxel, and a noisy scan of them."""
    rng = np.random.default_rng(0)
    clean = np.full((size,) * 3, 60, np.float32)
    at = np.ogrid[:size, :size, :size]
    for _ in range(size**3 // 3000 + 1):
        centre, radius, grey = rng.uniform(0, size, 3), rng.uniform(4, 14), rng.uniform(120, 200)
        clean[sum((a - c) ** 2 for a, c in zip(at, centre, strict=True)) < radius**2] = grey
    clean = gaussian_filter(clean, 1.0)
    noisy = np.rint(clean + rng.normal(0, SIGMA, clean.shape)).clip(0, 255)
    return clean, noisy.astype(np.uint8)


def race(size: int, patch: int, distance: int, h: float, peer_h: float) -> Race:
    """Return both denoisers on one scan; the remark gives the noise that is left."""
    clean, noisy = scan(size)
    padded = np.pad(noisy, margin(patch, distance), mode="reflect")
    unit, level = noisy.astype(np.float32) / 255, SIGMA / 255
    shape = {"patch_size": patch, "patch_distance": distance}

    def psnr(result: np.ndarray) -> float:
        return 10 * np.log10(255**2 / np.mean((result.astype(np.float64) - clean) ** 2))

    return Race(
        ours=lambda: nlm(padded, **shape, h=h, sigma=SIGMA),
        peer=lambda: denoise_nl_means(unit, **shape, h=peer_h / 255, sigma=level, fast_mode=True),
        note=lambda ours, peer: f"PSNR {psnr(ours):.2f} dB, peer {psnr(peer * 255):.2f} dB",
    )


def work(size: int, patch: int, distance: int) -> Work:
    """Return what there is to compare: each pair once, each of its voxels weighed.

    A pair's planes of the patch are subtracted, squared and added up, then lines and columns, and a weight is made of
    the sum by a product, a difference and a limit, all of it in lanes of 16 bits, which count half. A voxel's weight
    is multiplied by the other's grey level, and both are added up, the weight in 16 bits.
    """
    shifts = (2 * distance + 1) ** 3 - 1
    return Work(
        operations=size**3 * (shifts / 2 * (3 * patch + 2 * (patch - 1) + 3) / 2 + 2.5 * shifts), bytes=2 * size**3
    )


@benchmark(bar=8, aim=12, size=128, small=16, repeats=3, work=partial(work, patch=3, distance=5))
def nlm_patch_3_distance_5(size: int) -> Race:
    return race(size, 3, 5, h=0.9 * SIGMA, peer_h=0.4 * SIGMA)


@benchmark(bar=8, aim=12, size=128, small=16, repeats=3, work=partial(work, patch=5, distance=6))
def nlm_patch_5_distance_6(size: int) -> Race:
    return race(size, 5, 6, h=0.85 * SIGMA, peer_h=0.55 * SIGMA)


@pytest.mark.parametrize("bench", [nlm_patch_3_distance_5, nlm_patch_5_distance_6])
def test_both_take_noise_away(bench):
    clean, noisy = scan(bench.small)
    ours, peer, _ = bench.once()

    def noise(result):
        return np.sqrt(np.mean((result.astype(np.float64) - clean) ** 2))

    assert noise(noisy) == pytest.approx(SIGMA, rel=0.1)
    assert noise(ours) < 0.7 * SIGMA
    assert noise(255 * peer) < 0.7 * SIGMA
