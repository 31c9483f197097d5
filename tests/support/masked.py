"""Grey levels to threshold, and the mask that the step makes of them, for any blocks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from crackdask.blocks.in_memory import compute
from crackdask.steps.mask import passes

FULL = np.ones((3, 3, 3))


FACES = ndimage.generate_binary_structure(3, 1)


def grey(shape, seed=0, sd=1.2, noise=12.0, outside=True):
    """Two phases with noise, and a corner outside the scan."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), sd, mode="wrap")
    levels = np.where(smooth > 0.2 * smooth.std(), 170.0, 80.0) + rng.normal(scale=noise, size=shape)
    voxels = np.clip(np.rint(levels), 1, 255).astype(np.uint8)
    if outside:
        voxels[: shape[0] // 3, : shape[1] // 3, : shape[2] // 3] = 0
    return voxels


def found(voxels, params, threshold=125.0, block=None):
    volumes, tables = compute(passes(params), {"denoised": voxels}, {"threshold": np.array(threshold)}, block)
    assert volumes["mask"].dtype == bool
    assert tables["mask_voxels"] == volumes["mask"].sum()
    assert tables["scan_voxels"] == np.count_nonzero(voxels)
    return volumes["mask"]


def cut(phase, block, structure=FULL):
    """Return whether a wall between blocks runs through a component."""
    labels, _ = ndimage.label(phase, structure)
    return any(
        ((a == b) & (a > 0)).any()
        for axis, size in enumerate(block)
        for at in range(size, phase.shape[axis], size)
        for a, b in [(np.take(labels, at - 1, axis), np.take(labels, at, axis))]
    )
