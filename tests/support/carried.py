"""Labels that are carried from a state to the next, for any blocks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from crackdask.blocks.in_memory import compute
from crackdask.steps.carried_seeds import CARRIED
from crackdask.steps.labels import LabelsParams
from crackdask.steps.labels import passes as labels_passes
from crackdask.steps.transfer import TransferParams, passes

CUBE = (1.0, 1.0, 1.0)


LABELS = LabelsParams(smoothing=0.7, min_depth=0.3, max_radius=12)


def blobs(noise, level):
    smooth = ndimage.gaussian_filter(noise, 1.8, mode="wrap")
    return smooth > level * smooth.std()


def balls(shape, *spheres):
    """Return the union of (centre, radius) spheres."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    mask = np.zeros(shape, bool)
    for centre, radius in spheres:
        mask |= sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return mask


def reference(mask, params=LABELS, voxel_um=CUBE, block=None):
    return compute(labels_passes(params, voxel_um), {"mask": mask}, block=block)


def carry(mask, state, params=None, voxel_um=CUBE, block=None, labels_params=LABELS):
    """Label the next state from (volumes, tables) of the one before."""
    volumes, tables = state
    return compute(
        passes(params or TransferParams(), labels_params, voxel_um),
        {"mask": mask, "previous_label": volumes["label"], "previous_depth": volumes["depth"]},
        {name: tables[name] for name in CARRIED},
        block=block,
    )


def same(found, wanted):
    for name in ("depth", "label"):
        assert found[0][name].dtype == wanted[0][name].dtype
        np.testing.assert_array_equal(found[0][name], wanted[0][name])
    # (not cut_rim, which may hold more voxels at the walls of blocks than a cut needs)
    for name in (*CARRIED, "lost_labels", "cut_basin", "label_of_node"):
        assert found[1][name].dtype == wanted[1][name].dtype
        np.testing.assert_array_equal(found[1][name], wanted[1][name])


def noisy_states(seed, shape, level, change, count=3):
    """Return masks of a volume that changes from state to state."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    for _ in range(count):
        yield blobs(noise, level)
        noise = noise + change * rng.normal(size=shape)


def pair(gap):
    """Return two spheres of radius 7 whose centres are `gap` apart."""
    return balls((24, 24, 48), ((11, 11, 14), 7), ((11, 11, 14 + gap), 7))
