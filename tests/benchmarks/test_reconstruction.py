"""Slices and sinograms against algotom, one thread each: gridding against its back-projection, stripes against its own.

The peer's back-projection is compiled by numba too. Both sides take four slices, which gridding computes side by side.
"""

from __future__ import annotations

import algotom.prep.removal as peer_stripes
import algotom.rec.reconstruction as peer
import numba
import numpy as np

from crackdask.kernels.gridding import gridded
from crackdask.kernels.sorting_stripes import without_all_stripes
from crackdask.phantom.ellipsoids import packed

from .harness import Race, benchmark

SLICES = 4


def scan(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return line integrals of packed ellipsoids, their slices, the angles and the center."""
    degrees, center = np.linspace(0, 180, max(30, 900 * size // 512), endpoint=False), size / 2 + 3.87
    balls = packed(0, max(8, size - 47), 0.45 * size, 12, (0.012 * size, 0.024 * size), 0.1)
    rows = np.arange(float(SLICES))
    return balls.projections(degrees, rows, size, center, fine=2), balls.slices(rows, size), degrees, center


def error(image: np.ndarray, truth: np.ndarray) -> float:
    at = np.arange(len(truth)) - (len(truth) - 1) / 2
    field = np.hypot(at[:, None], at) < 0.45 * len(truth)
    return float(np.sqrt(((image - truth)[field].astype(float) ** 2).mean()))


@benchmark(bar=20, aim=40, size=512, small=64, repeats=3)
def gridding_of_four_slices(size: int) -> Race:
    lines, truth, degrees, center = scan(size)

    def theirs() -> np.ndarray:
        numba.set_num_threads(1)
        turns = np.radians(degrees)
        options = {"ratio": None, "filter_name": None, "apply_log": False, "gpu": False, "ncore": 1}
        images = [peer.fbp_reconstruction(row, center, angles=turns, **options) for row in lines]
        return np.stack(images)[:, ::-1]  # its y runs the other way

    return Race(
        ours=lambda: gridded(lines, degrees, center),
        peer=theirs,
        note=lambda ours, peer: f"error {error(ours[0], truth[0]):.3f}, peer {error(peer[0], truth[0]):.3f}",
    )


@benchmark(bar=10, aim=25, size=2560, small=128, repeats=1)
def all_stripes_of_a_sinogram(size: int) -> Race:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.sin(np.linspace(0, 9, size * 75 // 64)), np.cos(np.linspace(-4, 4, size)))
    drawn = smooth + rng.normal(0, 0.02, smooth.shape) + rng.normal(0, 0.01, size)
    drawn[:, rng.integers(9, size - 9, 4)] = 0.3
    lines = (drawn + 3).astype(np.float32)
    return Race(
        ours=lambda: without_all_stripes(lines),
        peer=lambda: peer_stripes.remove_all_stripe(lines),
        note=lambda ours, peer: f"largest difference {np.abs(ours - peer).max():.1g}",
    )


def test_both_reconstruct_the_same_slice():
    bench = gridding_of_four_slices
    _, truth, _, _ = scan(bench.small)
    ours, peer, _ = bench.once()
    for k in range(SLICES):
        assert error(ours[k], truth[k]) < 1.1 * error(peer[k], truth[k]) < 0.2


def test_both_take_the_same_stripes_away():
    ours, peer, _ = all_stripes_of_a_sinogram.once()
    np.testing.assert_allclose(ours, peer, atol=1e-5)
